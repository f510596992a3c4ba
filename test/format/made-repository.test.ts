// A whole repository that no rbdelta wrote: its files are what the specs say, and fit together.

import { createHash, createHmac } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import { decompress } from 'zstd-napi';
import {
  blockBytes,
  decodeDirectory,
  decodePage,
  decodeTrailer,
  digestBytes,
  type EdgeFrame,
  type Frame,
  indexMagic,
  recordHeaderBytes,
  trailerBytes,
} from '../../src/format/archive-index.ts';
import { addSums, sumFromHex, sumToHex, zeroSum } from '../../src/format/fingerprint.ts';
import { decodeManifest } from '../../src/format/manifest.ts';
import { decodeCatalog, decodeRepositoryFile } from '../../src/format/repository.ts';

const vectors = new URL('../../formats/repository/vectors/', import.meta.url);
const top = new URL('two-points/', vectors);
const image = new URL(`${encodeURIComponent('volumes+tenant')}/${encodeURIComponent('vm%201')}/`, top);
const told = JSON.parse(readFileSync(new URL('two-points.json', vectors), 'utf8')) as {
  point: string;
  streamSha256: string;
  imageSha256: string;
  size: number;
}[];

const file = (name: string, folder = image): Buffer => readFileSync(new URL(name, folder));
const sha256 = (bytes: Uint8Array): Buffer => createHash('sha256').update(bytes).digest();

const repository = decodeRepositoryFile(file('rbdelta.json', top), 'rbdelta.json');
const key = Buffer.from(repository.digestKey, 'hex');

/** All of a point, checked as far as its own files go. */
const openPoint = (point: string) => {
  const manifest = decodeManifest(file(`${point}/manifest.json`), 'manifest.json');
  const segments = manifest.segments.map(({ name }) => file(`${point}/${name}`));
  const index = file(`${point}/${manifest.index.name}`);
  const directoryBytes = decodeTrailer(index.subarray(-trailerBytes));
  const directoryAt = index.length - trailerBytes - directoryBytes;
  const stored = index.subarray(directoryAt, -trailerBytes);
  const directory = decodeDirectory(stored);
  const pages = directory.pages.map(({ position, bytes }) => index.subarray(position, position + bytes));
  const frames = pages.flatMap((page) => decodePage(decompress(page)));
  return { manifest, segments, index, directoryAt, stored, directory, pages, frames };
};
const points = told.map(({ point }) => openPoint(point));

test('the catalog tells what the manifests tell', () => {
  const { points: entries } = decodeCatalog(file('catalog.json'), 'catalog.json');
  const facts = points.map(({ manifest }) => [manifest.point, manifest.fingerprint, manifest.base?.point ?? null]);
  expect(entries.map(({ id, fingerprint, base }) => [id, fingerprint, base])).toEqual(facts);
  expect(readdirSync(image).sort()).toEqual([...entries.map(({ id }) => id), 'catalog.json']);
});

describe.each(told.map((expected, number) => ({ ...expected, number })))('$point', ({ number, ...expected }) => {
  const { manifest, segments, index, directoryAt, stored, directory, pages, frames } = points[number]!;

  test('its files are as long as the manifest says, and the index is whole', () => {
    expect(manifest.repository).toBe(repository.id);
    expect(segments.map(({ length }) => length)).toEqual(manifest.segments.map(({ bytes }) => bytes));
    expect([index.length, stored.length]).toEqual([manifest.index.bytes, manifest.index.directoryBytes]);
    expect(sha256(stored).toString('hex')).toBe(manifest.index.directorySha256);
    expect(index.subarray(0, indexMagic.length)).toEqual(indexMagic);
    const last = directory.pages.at(-1)!;
    expect(last.position + last.bytes).toBe(directoryAt);
    expect(pages.map((page) => sha256(page).subarray(0, 16))).toEqual(directory.pages.map(({ hash }) => hash));
  });

  test('the segments are one zstd file of one stream, and the index tells each frame of it', () => {
    expect(sha256(decompress(Buffer.concat(segments))).toString('hex')).toBe(expected.streamSha256);
    const all: EdgeFrame[] = [directory.header!, ...frames, directory.end!];
    const parts = all.map(({ segment, offset, bytes }) => segments[segment]!.subarray(offset, offset + bytes));
    expect(Buffer.concat(parts)).toEqual(Buffer.concat(segments));
    expect(parts.map((part) => sha256(part).subarray(0, 16))).toEqual(all.map(({ hash }) => hash));
    expect(parts.map((part) => decompress(part).length)).toEqual(all.map(({ rawBytes }) => rawBytes));
  });
});

describe('the chain', () => {
  const states: Buffer[] = [];

  beforeAll(() => {
    for (const { frames, segments } of points) {
      const state = Buffer.from(states.at(-1) ?? Buffer.alloc(told[0]!.size));
      for (const frame of frames) apply(frame, segments, state);
      states.push(state);
    }
  });

  test('read by the records of its indexes, it is the images', () => {
    expect(states.map((state) => sha256(state).toString('hex'))).toEqual(told.map(({ imageSha256 }) => imageSha256));
  });

  test('digests and fingerprints are those of the images', () => {
    for (const [number, { manifest, directory, frames }] of points.entries()) {
      const state = states[number]!;
      const digests = new Map<number, string>();
      let sum = zeroSum();
      for (let block = 0; block * blockBytes < state.length; block++) {
        const bytes = Buffer.alloc(blockBytes);
        state.copy(bytes, 0, block * blockBytes);
        if (bytes.every((byte) => byte === 0)) continue;
        const digest = createHmac('sha256', key).update(bytes).digest().subarray(0, digestBytes);
        digests.set(block, digest.toString('hex'));
        const at = Buffer.alloc(8);
        at.writeUInt32LE(block);
        sum = addSums(sum, createHmac('sha256', key).update('state').update(at).update(digest).digest());
      }
      expect(sumToHex(sum)).toBe(manifest.fingerprint);
      const before = manifest.base === null ? zeroSum() : sumFromHex(manifest.base.fingerprint);
      expect(sumToHex(addSums(before, directory.sum))).toBe(manifest.fingerprint);
      for (const [block, digest] of frames.flatMap(blocksOf))
        expect([block, digest]).toEqual([block, digests.get(block)]);
    }
  });
});

/** Puts the records of a frame into the image: their payloads stand 17 bytes behind one another. */
function apply(frame: Frame, segments: Buffer[], state: Buffer): void {
  const raw = decompress(segments[frame.segment]!.subarray(frame.offset, frame.offset + frame.bytes));
  let at = 0;
  for (let i = 0; i < frame.records.length; i += 2) {
    const [offset, length] = [frame.records[i]!, frame.records[i + 1]!];
    at += recordHeaderBytes;
    if (length < 0) state.fill(0, offset, offset - length);
    else raw.copy(state, offset, at, at + length);
    at += Math.max(0, length);
  }
}

/** Each block that the frame tells of, with its digest; undefined for zeros. */
function blocksOf({ runs, digests }: Frame): [number, string | undefined][] {
  const blocks: [number, string | undefined][] = [];
  let at = 0;
  for (let i = 0; i < runs.length; i += 2) {
    for (let block = runs[i]!; block < runs[i]! + Math.abs(runs[i + 1]!); block++) {
      if (runs[i + 1]! < 0) blocks.push([block, undefined]);
      else {
        blocks.push([block, Buffer.from(digests.subarray(at, at + digestBytes)).toString('hex')]);
        at += digestBytes;
      }
    }
  }
  return blocks;
}
