// The local pool holds what a real Ceph holds after the same steps: values byte for byte, maps bit for bit, clones.

import fc from 'fast-check';
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { geometryOf, objectCount } from '../../../src/diff/striping.ts';
import { decodeHeader, headerObjectName, objectMapName } from '../../../src/format/rbd-header.ts';
import { findImage } from '../../../src/image/local/header.ts';
import { type LocalPool, openLocalPool } from '../../../src/image/local/index.ts';
import { ObjectTable } from '../../../src/image/local/objects.ts';
import { openStore, type Store } from '../../../src/image/local/store.ts';
import type { WritableImage } from '../../../src/image/port.ts';
import { type Applied, Bytes, perform, steps } from './history.ts';

const KiB = 1024;
const objectBytes = 16 * KiB;
const most = 10 * objectBytes;
const realPool = 'volumes';
let name: string;
let at: { pool: string; namespace: string; image: string; snap: null };

/** In the order of a clone list; `snaps` by name, since ids are not the same in both. */
interface Listed {
  clones: { snaps: string[]; size: number; overlap: number[][] }[];
  head: number | null;
}

describe.skipIf(!process.env['RBDELTA_TEST_CEPH'])('beside a real Ceph', () => {
  let dir: string;
  let pool: LocalPool;
  let store: Store;

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'rbdelta-as-rados-'));
    pool = await openLocalPool(dir);
    await pool.createPool(realPool);
    store = await openStore(dir);
  });
  afterAll(async () => {
    await pool.close();
    await rm(dir, { recursive: true });
  });

  const fixed: Applied[] = [
    { do: 'write', at: 0, bytes: 512, value: 1 },
    { do: 'zero', at: 12 * KiB, bytes: 4 * KiB },
    { do: 'write', at: objectBytes, bytes: 3 * objectBytes, value: 2 },
    { do: 'snapshot', name: 's1' },
    { do: 'write', at: objectBytes + 4 * KiB, bytes: 4 * KiB, value: 3 },
    { do: 'zero', at: 2 * objectBytes, bytes: objectBytes },
    { do: 'zero', at: 3 * objectBytes + 8 * KiB, bytes: 8 * KiB },
    { do: 'snapshot', name: 's2' },
    { do: 'resize', size: 3 * objectBytes + 1000 },
    { do: 'snapshot', name: 's3' },
    { do: 'resize', size: most },
    { do: 'write', at: 3 * objectBytes, bytes: 100, value: 4 },
    { do: 'remove', name: 's2' },
  ];
  const anyHistories = fc.sample(steps(most, objectBytes), { numRuns: 2, seed: 16 }).map((history) => {
    const model = new Bytes(most);
    return history.flatMap((step) => (step.do === 'reopen' ? [] : (model.apply(step) ?? [])));
  });
  const shapes: Record<string, Shape> = {
    plain: {},
    striped: { stripeUnit: 4 * KiB, stripeCount: 2 },
    clone: { cloned: true },
    'striped clone': { stripeUnit: 4 * KiB, stripeCount: 2, cloned: true },
  };

  for (const [shape, { cloned = false, ...options }] of Object.entries(shapes)) {
    for (const [index, history] of [fixed, ...anyHistories].entries()) {
      test(`an image (${shape}) has the same header, maps and clones after history ${index}`, async () => {
        expect.hasAssertions();
        name = `rbdelta-local-${process.pid}-${shape.replace(' ', '-')}-${index}`;
        at = { pool: realPool, namespace: '', image: name, snap: null };
        if (!cloned) {
          await rbd('create', name, '--size', `${most}B`, '--object-size', `${objectBytes}B`, ...optionsOf(options));
          await pool.create(at, { size: most, order: 14, ...options });
        } else await makeClone(options);
        try {
          const image = await pool.openToWrite(at);
          for (const step of history) {
            if (step.do === 'reopen') continue;
            await perform(image, step);
            await performReal(step);
          }
          await compareHeaders();
          // a rollback: RBD gives the head the snapshot's map, which hides what changed between that snapshot and the
          // newest one from fast-diff; and RADOS clones objects that it rolls back to what they are
          if (!history.some((step) => step.do === 'rollback')) {
            await compareMaps();
            await compareClones();
          }
          await compareDiffs(image);
          for (const { name: snap } of (await image.info()).snapshots) await image.removeSnapshot(snap);
          await image.close();
          await pool.remove(at);
        } finally {
          await rbd('snap', 'purge', name, '--no-progress');
          await rbd('rm', name, '--no-progress');
          if (cloned) await removeParent();
        }
      });
    }
  }

  /** Of a parent with data in every other 24 KiB, none of it zero. */
  async function makeClone(options: Shape): Promise<void> {
    const parent = { ...at, image: `${name}-parent` };
    const bytes = Buffer.alloc(most);
    for (let from = 0; from < most; from += 48 * KiB) bytes.fill(7, from, Math.min(most, from + 24 * KiB));
    await run('rbd', ['import', '--object-size', '16K', '--no-progress', '-', `${realPool}/${parent.image}`], bytes);
    await rbd('snap', 'create', `${parent.image}@base`, '--no-progress');
    await rbd('snap', 'protect', `${parent.image}@base`);
    await rbd('clone', `${parent.image}@base`, `${realPool}/${name}`, ...optionsOf(options));
    await pool.create(parent, { size: most, order: 14 });
    const image = await pool.openToWrite(parent);
    for (let from = 0; from < most; from += 48 * KiB) {
      await image.write(from, bytes.subarray(from, Math.min(most, from + 24 * KiB)));
    }
    await image.createSnapshot('base');
    await image.protectSnapshot('base');
    await image.close();
    await pool.clone({ ...parent, snap: 'base' }, at, options);
  }

  async function removeParent(): Promise<void> {
    const parent = `${name}-parent`;
    await rbd('snap', 'unprotect', `${parent}@base`);
    await rbd('snap', 'purge', parent, '--no-progress');
    await rbd('rm', parent, '--no-progress');
  }

  /** Every value that holds no id and no time, and the shape of those that do. */
  async function compareHeaders(): Promise<void> {
    const real = await realHeader();
    const realId = await realImageId();
    const localImage = findImage(store, at);
    const local = await pool.omap(at.pool, '', headerObjectName(localImage.id));
    const plain = (omap: Map<string, Buffer>) =>
      [...omap]
        .filter(([key]) => !/^snap|timestamp|object_prefix|parent/.test(key))
        .map(([key, value]) => [key, value.toString('hex')]);
    expect(plain(local)).toEqual(plain(real));
    expect(decodeHeader(local).parent?.overlap).toEqual(decodeHeader(real).parent?.overlap);
    const timeless = (omap: Map<string, Buffer>) =>
      decodeHeader(omap).snapshots.map(({ id: _id, created: _created, ...rest }) => rest);
    expect(timeless(local)).toEqual(timeless(real));
    // an id of the real one is as long as the cluster has had clients
    const lengths = (omap: Map<string, Buffer>) =>
      [...omap].filter(([key]) => !['object_prefix', 'parent'].includes(key)).map(([, value]) => value.length);
    expect(lengths(local)).toEqual(lengths(real));
    expect(decodeHeader(local).objectPrefix.length - localImage.id.length).toBe(
      decodeHeader(real).objectPrefix.length - realId.length,
    );
  }

  async function compareMaps(): Promise<void> {
    const [realId, real] = [await realImageId(), decodeHeader(await realHeader())];
    const info = await opened(null, (image) => image.info());
    for (const snap of [null, ...real.snapshots]) {
      const theirs = await rados('get', objectMapName(realId, snap?.id ?? null), '-');
      const own = info.snapshots.find((candidate) => candidate.name === snap?.name)?.id ?? null;
      const ours = await opened(null, (image) => image.objectMap(own));
      expect(Buffer.from(ours ?? []).toString('hex'), `map of ${snap?.name ?? 'the head'}`).toBe(
        theirs.toString('hex'),
      );
    }
  }

  async function compareClones(): Promise<void> {
    const realId = await realImageId();
    const header = decodeHeader(await realHeader());
    const info = await opened(null, (image) => image.info());
    const nameOf = (snaps: { id: number; name: string }[], id: number) =>
      snaps.find((s) => s.id === id)?.name ?? 'removed';
    const image = findImage(store, at);
    const table = new ObjectTable(store, image);
    for (let object = 0; object < objectCount(geometryOf({ ...info, size: most })); object += 1) {
      const record = table.get(object);
      const ours: Listed = {
        clones: (record?.clones ?? []).map((clone) => ({
          snaps: clone.snaps.map((id) => nameOf(info.snapshots, id)),
          size: clone.size,
          overlap: pairs(clone.overlap),
        })),
        head: record?.head == null ? null : await sizeOf(image.prefix, object),
      };
      const suffix = object.toString(16).padStart(16, '0');
      // the OSD trims what belonged to removed snapshots in its own time
      await vi.waitFor(
        async () => {
          const theirs = await listed(`rbd_data.${realId}.${suffix}`, (id) => nameOf(header.snapshots, id));
          expect(ours, `object ${object}`).toEqual(theirs);
        },
        { timeout: 60_000, interval: 300 },
      );
    }
  }

  async function compareDiffs(image: WritableImage): Promise<void> {
    const names = (await image.info()).snapshots.map((snap) => snap.name);
    for (const from of names) {
      const extents: { offset: number; length: number; exists: string }[] = [];
      const size = (await image.info()).size;
      await image.changedExtents(from, { offset: 0, length: size }, (offset, length, exists) =>
        extents.push({ offset, length, exists: String(exists) }),
      );
      // while the OSD trims a removed snapshot, rbd reports the whole of an object that it shared
      await vi.waitFor(
        async () => {
          const theirs = await rbd('diff', name, '--from-snap', from, '--format', 'json');
          expect(extents, `${from} to the head`).toEqual(JSON.parse(theirs.toString()));
        },
        { timeout: 60_000, interval: 300 },
      );
    }
  }

  async function opened<T>(snap: string | null, use: (image: Awaited<ReturnType<LocalPool['open']>>) => Promise<T>) {
    const image = await pool.open({ ...at, snap });
    try {
      return await use(image);
    } finally {
      await image.close();
    }
  }

  async function sizeOf(prefix: string, object: number): Promise<number | null> {
    const found = (await pool.objects(at.pool)).find(
      (candidate) => candidate.name === `${prefix}.${object.toString(16).padStart(16, '0')}`,
    );
    return found?.bytes ?? null;
  }
});

interface Shape {
  stripeUnit?: number;
  stripeCount?: number;
  cloned?: boolean;
}

const optionsOf = (options: { stripeUnit?: number; stripeCount?: number }): string[] =>
  options.stripeUnit === undefined
    ? []
    : ['--stripe-unit', String(options.stripeUnit), '--stripe-count', String(options.stripeCount)];

/** Through a diff stream of one record, since `rbd` has no other command that writes zeroes. */
async function performReal(step: Applied): Promise<void> {
  switch (step.do) {
    case 'write':
    case 'zero': {
      const record = Buffer.alloc(17);
      record.write(step.do === 'write' ? 'w' : 'z');
      record.writeBigUInt64LE(BigInt(step.at), 1);
      record.writeBigUInt64LE(BigInt(step.bytes), 9);
      const data = step.do === 'write' ? Buffer.alloc(step.bytes, step.value) : Buffer.alloc(0);
      const stream = Buffer.concat([Buffer.from('rbd diff v1\n'), record, data, Buffer.from('e')]);
      await run('rbd', ['import-diff', '--no-progress', '--sparse-size', '0', '-', `${realPool}/${name}`], stream);
      return;
    }
    case 'resize':
      await rbd('resize', name, '--size', `${step.size}B`, '--allow-shrink', '--no-progress');
      return;
    case 'snapshot':
      await rbd('snap', 'create', `${name}@${step.name}`, '--no-progress');
      return;
    case 'remove':
      await rbd('snap', 'rm', `${name}@${step.name}`, '--no-progress');
      return;
    case 'rollback':
      await rbd('snap', 'rollback', `${name}@${step.name}`, '--no-progress');
      return;
    case 'reopen':
      return;
  }
  step satisfies never;
}

const realImageId = async (): Promise<string> => (await rados('get', `rbd_id.${name}`, '-')).subarray(4).toString();

async function realHeader(): Promise<Map<string, Buffer>> {
  const header = headerObjectName(await realImageId());
  const keys = (await rados('listomapkeys', header)).toString().split('\n').filter(Boolean);
  const values = new Map<string, Buffer>();
  for (const key of keys.toSorted()) {
    const file = join(tmpdir(), `${name}-value`);
    await rados('getomapval', header, key, file);
    values.set(key, await (await import('node:fs/promises')).readFile(file));
    await rm(file);
  }
  return values;
}

async function listed(object: string, nameOf: (id: number) => string): Promise<Listed> {
  // JSON leaves out the clones' overlaps when there are none, so this reads what is printed for people
  const text = await rados('listsnaps', object).catch(() => Buffer.alloc(0));
  const result: Listed = { clones: [], head: null };
  for (const line of text.toString().split('\n').slice(2)) {
    const [id, snaps, size, overlap] = line.split('\t');
    if (id === undefined || id === '') continue;
    if (id === 'head') result.head = Number(size);
    else {
      const ranges = [...(overlap ?? '').matchAll(/(\d+)~(\d+)/g)].map(([, from, length]) => [
        Number(from),
        Number(length),
      ]);
      result.clones.push({
        snaps: (snaps ?? '').split(',').map((snap) => nameOf(Number(snap))),
        size: Number(size),
        overlap: ranges,
      });
    }
  }
  return result;
}

const pairs = (ranges: number[]): number[][] => {
  const list: number[][] = [];
  for (let i = 0; i < ranges.length; i += 2) list.push([ranges[i]!, ranges[i + 1]!]);
  return list;
};

const rbd = (command: string, ...args: string[]): Promise<Buffer> => run('rbd', ['-p', realPool, command, ...args]);
const rados = (command: string, ...args: string[]): Promise<Buffer> => run('rados', ['-p', realPool, command, ...args]);

function run(program: string, args: string[], input?: Uint8Array): Promise<Buffer> {
  return new Promise((done, failed) => {
    const child = execFile(program, args, { encoding: 'buffer' }, (error, stdout, stderr) =>
      error === null ? done(stdout) : failed(new Error(`${program} ${args.join(' ')}: ${stderr.toString()}`)),
    );
    child.stdin?.end(input);
  });
}
