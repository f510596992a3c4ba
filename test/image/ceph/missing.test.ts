// Machines without Ceph: a command says what to install.

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

describe('without its libraries', () => {
  beforeEach(() => vi.resetModules());
  afterEach(() => {
    vi.doUnmock('koffi');
    vi.doUnmock('../../../src/image/ceph/prototypes.ts');
  });

  test.each(['rados', 'rbd'])('%s missing is unavailable, with the name of the Debian package', async (library) => {
    vi.doMock('../../../src/image/ceph/prototypes.ts', async (original) => {
      const real = await original<typeof import('../../../src/image/ceph/prototypes.ts')>();
      const file = `lib${library}-that-is-nowhere.so.9`;
      const libc = { ...real.libraries.libc };
      const libraries: Record<string, { file: string; package: string }> = { rados: libc, rbd: libc, libc };
      libraries[library] = { ...real.libraries[library as 'rados'], file };
      return { ...real, libraries };
    });
    const { connectCeph } = await import('../../../src/image/ceph/index.ts');
    await expect(connectCeph({})).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining(`lib${library}-that-is-nowhere`),
      hint: `apt-get install lib${library}${library === 'rados' ? 2 : 1}`,
    });
  });

  test('koffi missing is unavailable, too', async () => {
    vi.doMock('koffi', () => {
      throw new Error('Cannot find package koffi');
    });
    const { connectCeph } = await import('../../../src/image/ceph/index.ts');
    await expect(connectCeph({})).rejects.toMatchObject({ code: 'unavailable', hint: 'npm install koffi' });
  });
});
