// A process that clones, copies up, flattens and removes is killed anywhere: parents and children still know each other.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type LocalPool, openLocalPool } from '../../../src/image/local/index.ts';
import { noise } from '../../kit/noise.ts';

const objectBytes = 4096;
const size = 32 * objectBytes;
const base = { pool: 'volumes', namespace: '', image: 'base', snap: null };
const bytes = noise(1, size);

let dir: string;
let pool: LocalPool;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'rbdelta-killed-'));
  pool = await openLocalPool(dir);
  await pool.createPool('volumes');
  await pool.create(base, { size, order: 12 });
  const image = await pool.openToWrite(base);
  await image.write(0, bytes);
  await image.createSnapshot('s');
  await image.protectSnapshot('s');
  await image.close();
});
afterAll(async () => {
  await pool.close();
  await rm(dir, { recursive: true });
});

test.each([1, 2, 3, 4, 5])(
  'killed (%i): clones read as they must, no snapshot is lost or kept for nobody',
  async (round) => {
    const program = join(import.meta.dirname, 'clone-writer.ts');
    const child = spawn(process.execPath, ['--import', 'tsx', program, dir], { stdio: ['ignore', 'pipe', 'inherit'] });
    let told = '';
    child.stdout.on('data', (text: Buffer) => (told += text.toString()));
    await once(child.stdout, 'readable');
    await new Promise((done) => setTimeout(done, 70 * round));
    child.kill('SIGKILL');
    await once(child, 'close');
    const flushed = Number(/flushed (\d+)\n(?!.*flushed)/su.exec(told)?.[1] ?? 0);

    const kids = (await pool.list('volumes', '')).filter((name) => name.startsWith('kid'));
    const children = (await pool.children(base)).map(({ image }) => image);
    for (const kid of kids) {
      const spec = { ...base, image: kid };
      const pass = Number(kid.slice(3));
      const image = await pool.openToWrite(spec);
      const { parent, snapshots } = await image.info();
      expect(children.includes(kid), `${kid} is a child as long as something of it shows the parent`).toBe(
        parent !== null || snapshots.some(({ parentOverlap }) => parentOverlap !== null),
      );
      checkBytes(await contentOf(spec), pass, pass === flushed && pass % 3 !== 0);
      for (const { name } of snapshots) {
        expect((await contentOf({ ...spec, snap: name })).equals(bytes), `${kid}@${name}`).toBe(true);
        await image.removeSnapshot(name);
      }
      await image.close();
      await pool.remove(spec);
    }
    expect(children.every((name) => kids.includes(name))).toBe(true);
    expect(await pool.children(base)).toEqual([]);
    await pool.sweep();
    expect(await pool.sweep()).toEqual({ files: 0, bytes: 0 });
  },
);

/** The parent's bytes, but for the first word of even objects, which may be the pass; `must`: it was flushed. */
function checkBytes(found: Buffer, pass: number, must: boolean): void {
  const expected = Buffer.from(bytes);
  for (let at = 0; at < size; at += 2 * objectBytes) {
    const isWritten = found.readUInt32LE(at) === pass;
    expect(isWritten || !must, `pass ${pass} at ${at}`).toBe(true);
    if (isWritten) expected.writeUInt32LE(pass, at);
  }
  expect(found.equals(expected)).toBe(true);
}

async function contentOf(spec: { pool: string; namespace: string; image: string; snap: string | null }) {
  const image = await pool.open(spec);
  const content = Buffer.alloc(size);
  await image.read(0, content);
  await image.close();
  return content;
}
