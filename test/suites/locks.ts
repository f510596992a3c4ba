// What locks that clients take must be in every cluster. Written against src/image/port.ts alone.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Cluster } from '../../src/image/port.ts';
import type { ImageSpec } from '../../src/image/spec.ts';
import type { ClusterUnderTest } from './cluster.ts';

const size = 1 << 20;
const layering = 0x1;

export function locksSuite(name: string, make: () => Promise<ClusterUnderTest>): void {
  describe(`${name}, with locks`, () => {
    let under: ClusterUnderTest;
    let cluster: Cluster;
    let made = 0;
    let at: ImageSpec;

    beforeAll(async () => {
      under = await make();
      cluster = under.cluster;
    });
    afterAll(() => under?.dispose());
    beforeEach(async () => {
      at = { pool: under.pool, namespace: '', image: `locked-${++made}`, snap: null };
      await cluster.create(at, { size, order: 16 });
    });

    const write = async () => {
      const image = await cluster.openToWrite(at);
      try {
        await image.write(0, Buffer.from('written'));
      } finally {
        await image.close();
      }
    };
    const lockKind = async () => {
      const image = await cluster.open(at);
      try {
        return await image.lock?.();
      } finally {
        await image.close();
      }
    };
    const lockers = async () => (await cluster.locks(at)).lockers;
    const release = async (id: string) => {
      const found = (await lockers()).find((one) => one.id === id);
      await cluster.removeLock(at, id, found?.client ?? '');
    };

    test('an image has none until somebody takes one', async () => {
      expect(await lockers()).toEqual([]);
      await cluster.addLock(at, 'mine', null);
      expect(await cluster.locks(at)).toMatchObject({
        exclusive: true,
        tag: '',
        lockers: [{ id: 'mine', client: expect.stringMatching(/^client\.\d+$/u), address: expect.any(String) }],
      });
      expect(await lockKind()).toBe('exclusive');
      await release('mine');
      expect(await lockers()).toEqual([]);
      expect(await lockKind()).toBeNull();
    });

    test('an exclusive one is alone', async () => {
      await cluster.addLock(at, 'mine', null);
      await expect(cluster.addLock(at, 'mine', null)).rejects.toMatchObject({ code: 'exists' });
      await expect(cluster.addLock(at, 'other', null)).rejects.toMatchObject({ code: 'busy' });
      await expect(cluster.addLock(at, 'other', 'tag')).rejects.toMatchObject({ code: 'busy' });
      expect(await lockers()).toHaveLength(1);
    });

    test('shared ones agree on a tag', async () => {
      await cluster.addLock(at, 'b', 'tag');
      await cluster.addLock(at, 'a', 'tag');
      await expect(cluster.addLock(at, 'c', 'another')).rejects.toMatchObject({ code: 'busy' });
      await expect(cluster.addLock(at, 'c', null)).rejects.toMatchObject({ code: 'busy' });
      const { exclusive, tag, lockers: found } = await cluster.locks(at);
      expect([exclusive, tag, found.map(({ id }) => id)]).toEqual([false, 'tag', ['a', 'b']]);
      expect(await lockKind()).toBe('shared');
      await release('a');
      expect((await lockers()).map(({ id }) => id)).toEqual(['b']);
    });

    test('what is not there is not released', async () => {
      await expect(cluster.removeLock(at, 'none', 'client.1')).rejects.toMatchObject({ code: 'notFound' });
      await cluster.addLock(at, 'mine', null);
      await expect(cluster.removeLock(at, 'mine', 'client.1')).rejects.toMatchObject({ code: 'notFound' });
      await expect(cluster.removeLock(at, 'mine', 'somebody')).rejects.toMatchObject({ code: 'invalid' });
      const none = { ...at, image: 'none' };
      await expect(cluster.locks(none)).rejects.toMatchObject({ code: 'notFound' });
      await expect(cluster.addLock(none, 'mine', null)).rejects.toMatchObject({ code: 'notFound' });
      await expect(cluster.addLock({ ...at, snap: 's' }, 'mine', null)).rejects.toMatchObject({ code: 'invalid' });
    });

    test('an image that is written under an exclusive lock is not while somebody has it', async () => {
      await cluster.addLock(at, 'mine', null);
      await expect(write()).rejects.toMatchObject({ code: 'readOnly', message: expect.stringContaining("'mine'") });
      await expect(cluster.rename(at, 'other')).rejects.toMatchObject({ code: 'readOnly' });
      await expect(cluster.setMetadata(at, 'key', 'value')).rejects.toMatchObject({ code: 'readOnly' });
      await release('mine');
      await write();
    });

    test('an image without that feature is', async () => {
      at = { ...at, image: `${at.image}-plain` };
      await cluster.create(at, { size, order: 16, features: layering });
      await cluster.addLock(at, 'mine', null);
      await write();
      await cluster.remove(at);
      await cluster.create(at, { size, order: 16, features: layering });
      expect(await lockers()).toEqual([]);
    });

    test('who writes has a lock, and lets nobody else take one', async () => {
      const image = await cluster.openToWrite(at);
      try {
        await image.write(0, Buffer.from('written'));
        await image.flush();
        expect(await cluster.locks(at)).toMatchObject({
          exclusive: true,
          lockers: [{ id: expect.stringMatching(/^auto \d+$/u) }],
        });
        await expect(cluster.addLock(at, 'mine', null)).rejects.toMatchObject({ code: 'busy' });
      } finally {
        await image.close();
      }
      expect(await lockers()).toEqual([]);
    });
  });
}
