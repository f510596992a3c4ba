// Pools of their own for tests on a real Ceph, so that nobody else's images are in the way.

import { rbd, succeed } from '../../kit/command.ts';

export const onCeph = Boolean(process.env['RBDELTA_TEST_CEPH']);

let made = 0;

/** A new pool for images, and what removes it again. */
export async function makePool(...options: string[]): Promise<{ pool: string; removePool: () => Promise<void> }> {
  const pool = `rbdelta-test-${process.pid}-${++made}`;
  await ceph('osd', 'pool', 'create', pool, '8', ...options);
  await ceph('osd', 'pool', 'application', 'enable', pool, 'rbd');
  return {
    pool,
    removePool: async () => {
      await ceph('tell', 'mon.*', 'config', 'set', 'mon_allow_pool_delete', 'true');
      await ceph('osd', 'pool', 'rm', pool, pool, '--yes-i-really-really-mean-it');
    },
  };
}

export const ceph = (...args: string[]): Promise<Buffer> => succeed('ceph', args);

export async function rbdJson<T>(...args: string[]): Promise<T> {
  return JSON.parse((await rbd([...args, '--format', 'json'])).toString()) as T;
}
