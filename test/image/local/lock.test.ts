// One writer for each image, whatever became of the writers before it.

import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type LocalPool, openLocalPool } from '../../../src/image/local/index.ts';

const at = { pool: 'volumes', namespace: '', image: 'disk', snap: null };
const objectBytes = 4096;

let dir: string;
let pool: LocalPool;
let child: ChildProcess | undefined;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'rbdelta-lock-'));
  pool = await openLocalPool(dir);
  await pool.createPool('volumes');
  await pool.create(at, { size: 64 * objectBytes, order: 12 });
});
afterEach(async () => {
  child?.kill('SIGKILL');
  await pool.close();
  await rm(dir, { recursive: true });
});

test('a second writer in the same process is refused as busy, and comes in once the first has closed', async () => {
  const first = await pool.openToWrite(at);
  await expect(pool.openToWrite(at)).rejects.toMatchObject({
    code: 'busy',
    message: expect.stringContaining('this process'),
  });
  await first.close();
  await (await pool.openToWrite(at)).close();
});

test('a writer in another process is named, and its lock is taken over when it was killed', async () => {
  const writer = await otherWriter('hold');
  await expect(pool.openToWrite(at)).rejects.toMatchObject({
    code: 'busy',
    message: expect.stringContaining(`process ${writer.pid}`),
  });
  await expect(pool.remove(at)).rejects.toMatchObject({ code: 'busy' });
  writer.kill('SIGKILL');
  await once(writer, 'exit');
  const image = await pool.openToWrite(at);
  await image.write(0, Buffer.from('mine'));
  await image.close();
});

test('a reader sees what a writer in another process has written, and a snapshot stays as it was', async () => {
  const image = await pool.openToWrite(at);
  await image.write(0, Buffer.alloc(objectBytes, 'a'));
  await image.createSnapshot('s');
  await image.close();
  const [head, snapshot] = [await pool.open(at), await pool.open({ ...at, snap: 's' })];
  const writer = await otherWriter('write');
  const read = Buffer.alloc(2 * objectBytes);
  await head.read(0, read);
  expect(read.toString('latin1')).toBe('b'.repeat(2 * objectBytes));
  await snapshot.read(0, read);
  expect(read.toString('latin1')).toBe('a'.repeat(objectBytes) + '\0'.repeat(objectBytes));
  writer.kill('SIGKILL');
  await Promise.all([head.close(), snapshot.close()]);
});

test.each([1, 2, 3, 4])(
  'killed while it writes and snapshots (%i): what was flushed is there, snapshots are whole',
  async (round) => {
    const writer = await otherWriter('churn');
    const told: string[] = [];
    let rest = '';
    writer.stdout!.on('data', (bytes: Buffer) => {
      const lines = (rest + bytes.toString()).split('\n');
      rest = lines.pop() ?? '';
      told.push(...lines);
    });
    await new Promise((done) => setTimeout(done, 150 + 90 * round));
    writer.kill('SIGKILL');
    await once(writer, 'close');
    const flushed = Number(told.findLast((line) => line.startsWith('flushed '))?.slice(8) ?? 0);
    const image = await pool.openToWrite(at);
    const { size, snapshots } = await image.info();
    const read = Buffer.alloc(size);
    await image.read(0, read);
    // each pass writes its number into every object, in order: objects hold the flushed pass or a later one
    for (let object = 0; object < size / objectBytes; object += 1) {
      expect(read.readUInt32LE(object * objectBytes), `object ${object}`).toBeGreaterThanOrEqual(flushed);
    }
    for (const { name } of snapshots) {
      const snapshot = await pool.open({ ...at, snap: name });
      await snapshot.read(0, read);
      const pass = Buffer.alloc(4);
      pass.writeUInt32LE(Number(name));
      expect(read.equals(Buffer.alloc(size, pass)), `snapshot of pass ${name}`).toBe(true);
      await snapshot.close();
    }
    for (const { name } of snapshots) await image.removeSnapshot(name);
    await image.close();
    await pool.sweep();
    expect(await pool.sweep()).toEqual({ files: 0, bytes: 0 });
    const left = (await pool.objects('volumes')).filter(({ name }) => name.startsWith('rbd_data.'));
    expect(left.length).toBeLessThanOrEqual(size / objectBytes);
    await pool.remove(at);
  },
);

/** Another process that writes to the image; resolves when it has it open (and has done what it is to do). */
async function otherWriter(what: 'hold' | 'write' | 'churn'): Promise<ChildProcess> {
  const program = join(import.meta.dirname, 'other-writer.ts');
  child = spawn(process.execPath, ['--import', 'tsx', program, dir, what], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout!, 'readable');
  return child;
}
