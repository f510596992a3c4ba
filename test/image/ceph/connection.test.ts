// Getting to a cluster, and what is said when that fails.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type CephOptions, connectCeph } from '../../../src/image/ceph/index.ts';
import { rbd, rbdeltaProgram, run, succeed } from '../../kit/command.ts';
import { ceph, makePool, onCeph } from './pools.ts';

describe.skipIf(!onCeph)('a connection', () => {
  let folder: string;
  let pool: string;
  let removePool: () => Promise<void>;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'rbdelta-connection-'));
    ({ pool, removePool } = await makePool());
    await rbd(['create', `${pool}/image`, '--size', '8M']);
  });
  afterAll(async () => {
    await removePool();
    await rm(folder, { recursive: true });
  });

  const refused = (options: CephOptions, expected: object): Promise<void> =>
    expect(connectCeph(options)).rejects.toMatchObject(expected);

  /** Runs the built library in a process of its own, whose end and words can be seen. */
  const inChild = (body: string, env: Record<string, string> = {}) =>
    run(
      process.execPath,
      ['--input-type=module', '-e', `import { connectCeph } from './dist/image/ceph/index.js';\n${body}`],
      { env },
    );

  test('a monitor whose name cannot be resolved is not reachable, with a hint', async () => {
    await expect(connectCeph({ monHost: 'nosuch.invalid', timeoutMs: 2000 })).rejects.toMatchObject({
      code: 'unavailable',
      hint: expect.stringMatching(/mon_host/),
    });
  });

  test('monitors that do not answer are a timeout, in time', async () => {
    const started = performance.now();
    await refused(
      { monHost: '127.0.0.1:1', timeoutMs: 1000 },
      { code: 'timeout', hint: expect.stringMatching(/mon_host/) },
    );
    expect(performance.now() - started).toBeLessThan(10_000);
  });

  test('OSDs that do not answer are a timeout, and the connection still closes', async () => {
    const root = `rbdelta-nowhere-${process.pid}`;
    await ceph('osd', 'crush', 'add-bucket', root, 'root');
    await ceph('osd', 'crush', 'rule', 'create-simple', root, root, 'osd');
    const { pool: dead, removePool: removeDead } = await makePool('8', 'replicated', root);
    try {
      const cluster = await connectCeph({ timeoutMs: 1000 });
      const started = performance.now();
      const spec = { pool: dead, namespace: '', image: 'image', snap: null };
      await expect(cluster.open(spec)).rejects.toMatchObject({ code: 'timeout' });
      await expect(cluster.list(dead, '')).rejects.toMatchObject({ code: 'timeout' });
      await cluster.close();
      expect(performance.now() - started).toBeLessThan(20_000);
    } finally {
      await removeDead();
      await ceph('osd', 'crush', 'rule', 'rm', root);
      await ceph('osd', 'crush', 'rm', root);
    }
  });

  test('a keyring that is missing is unavailable, and the message names it and the user', () =>
    refused(
      { keyring: '/no/where', id: 'backup' },
      {
        code: 'unavailable',
        message: expect.stringMatching(/client\.backup.*\/no\/where/),
        hint: expect.stringMatching(/--keyring/),
      },
    ));

  test('an interrupt while the monitors do not answer ends the process at once', async () => {
    const started = performance.now();
    const child = spawn(process.execPath, [rbdeltaProgram, '-m', '127.0.0.1:1', '--timeout', '20', 'ls']);
    const ended = once(child, 'exit');
    await sleep(1500);
    child.kill('SIGTERM');
    const [status, signal] = (await ended) as [number | null, NodeJS.Signals | null];
    expect(status ?? signal).toBe('SIGTERM');
    expect(performance.now() - started).toBeLessThan(10_000);
  });

  test('a keyring with a wrong key is a matter of permission, one without a key of the user is unavailable', async () => {
    const keyring = join(folder, 'wrong.keyring');
    await succeed('ceph-authtool', ['--create-keyring', keyring, '--gen-key', '-n', 'client.admin']);
    const admin = { code: 'permission', message: expect.stringMatching('client.admin.*wrong.keyring') };
    await refused({ keyring, id: 'admin' }, admin);
    const backup = { code: 'unavailable', message: `no key of client.backup in ${keyring}` };
    await refused({ keyring, id: 'backup' }, backup);
  });

  test('a configuration that is missing is notFound; none at all is unavailable', async () => {
    await refused({ conf: '/no/where.conf' }, { code: 'notFound', message: expect.stringContaining('/no/where.conf') });
    const { stdout, stderr } = await inChild(
      `await connectCeph({ cluster: 'nobody' }).catch((error) => console.log(error.code, error.hint));`,
      { CEPH_CONF: '' },
    );
    expect(stdout.toString()).toMatch(/^unavailable .*--conf/);
    expect(stderr).toBe('');
  });

  test('options of Ceph are passed on, an unknown one is refused by name', async () => {
    const cluster = await connectCeph({ args: ['--rbd_op_threads', '3', '--id', 'admin'] });
    await cluster.close();
    await refused(
      { args: ['--rbd_op_threads', '3', '--no-such-thing', 'x'] },
      { code: 'usage', message: expect.stringContaining("'--no-such-thing'") },
    );
  });

  test('it is closed twice without harm, and closes what is open', async () => {
    const cluster = await connectCeph({});
    const image = await cluster.openToWrite({ pool, namespace: '', image: 'image', snap: null });
    const writing = image.write(0, Buffer.alloc(1 << 20, 1));
    await cluster.close();
    await expect(writing).resolves.toBeUndefined();
    await cluster.close();
    await expect(cluster.open({ pool, namespace: '', image: 'image', snap: null })).rejects.toThrow(/closed/);
  });

  test.each([
    ['closed', 'await image.close(); await cluster.close();'],
    ['left open', ''],
  ])('a process whose cluster was %s ends by itself and says nothing', async (_, end) => {
    const spec = JSON.stringify({ pool, namespace: '', image: 'image', snap: null });
    const { status, stdout, stderr } = await inChild(`
      const cluster = await connectCeph({});
      const image = await cluster.openToWrite(${spec});
      await image.write(0, Buffer.alloc(100, 1));
      await image.read(0, Buffer.alloc(100));
      ${end}`);
    expect({ status, stdout: stdout.toString(), stderr }).toEqual({ status: 0, stdout: '', stderr: '' });
  });

  test('doctor learns who we are and what we may do', async () => {
    const cluster = await connectCeph({});
    const facts = await cluster.facts();
    expect(cluster.defaultPool).toBe('rbd');
    await cluster.close();
    expect(facts).toMatchObject({ entity: 'client.admin', conf: null, caps: { mon: 'allow *', osd: 'allow *' } });
    expect(facts.fsid).toBe((await ceph('fsid')).toString().trim());
    expect(facts.librbd).toMatch(/^1\.\d+\.\d+$/);
    expect(facts.pools).toContain(pool);
    expect(facts.keyring).toMatch(/keyring/);
    expect(JSON.stringify(facts)).not.toMatch(/AQ[A-Za-z0-9+/]{30}/);
  });

  test('a user with the caps "profile rbd" of one pool reads there, and is refused elsewhere', async () => {
    const user = `client.rbdelta-${process.pid}`;
    const keyring = join(folder, 'user.keyring');
    await writeFile(
      keyring,
      await ceph('auth', 'get-or-create', user, 'mon', 'profile rbd', 'osd', `profile rbd-read-only pool=${pool}`),
    );
    const other = await makePool();
    try {
      await rbd(['create', `${other.pool}/image`, '--size', '8M']);
      const cluster = await connectCeph({ name: user, keyring });
      expect((await cluster.facts()).caps).toBeNull();
      const image = await cluster.open({ pool, namespace: '', image: 'image', snap: null });
      await image.read(0, Buffer.alloc(4096));
      expect((await image.info()).size).toBe(8 << 20);
      await image.close();
      await expect(cluster.open({ pool: other.pool, namespace: '', image: 'image', snap: null })).rejects.toMatchObject(
        { code: 'permission' },
      );
      const writable = await cluster
        .openToWrite({ pool, namespace: '', image: 'image', snap: null })
        .catch((error) => error);
      expect(writable).toMatchObject({ code: 'permission' });
      await cluster.close();
    } finally {
      await other.removePool();
      await ceph('auth', 'rm', user);
    }
  });
});
