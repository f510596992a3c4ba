// Diffs of an image, checked against bytes in memory: the diff applied to what was must make what is.

import { bytesSource } from '../../src/bytes/source.ts';
import { ByteReader } from '../../src/bytes/reader.ts';
import { encodeDiff, openDiff } from '../../src/format/rbd-diff.ts';
import type { Image, WritableImage } from '../../src/image/port.ts';
import { diffStream, planDiff } from '../../src/ops/changes.ts';
import { importDiff } from '../../src/ops/import-diff.ts';

/** The stream of what changed since `fromSnap` in the version that is opened. */
export async function streamOf(image: Image, fromSnap: string | null, wholeObject = false): Promise<Buffer> {
  const plan = await planDiff(image, { fromSnap, wholeObject });
  const chunks: Buffer[] = [];
  // The memory of a payload is used again for the next one: copy.
  for await (const parts of encodeDiff(diffStream(image, plan)))
    for (const part of parts) chunks.push(Buffer.from(part));
  return Buffer.concat(chunks);
}

/** What an image that reads as `before` reads as after the diff. */
export async function applied(before: Buffer, stream: Buffer): Promise<Buffer> {
  const diff = await openDiff(new ByteReader(bytesSource(stream)));
  if (diff === null) throw new Error('no diff');
  const after = Buffer.alloc(diff.header.size ?? before.length);
  before.copy(after);
  for await (const record of diff.records) {
    if (record.kind === 'write') after.set(record.data, record.offset);
    else after.fill(0, record.offset, record.offset + record.length);
  }
  return after;
}

export async function importInto(
  target: WritableImage,
  openAtSnap: (snap: string) => Promise<Image>,
  stream: Buffer,
): Promise<void> {
  await importDiff(target, openAtSnap, new ByteReader(bytesSource(stream)), {});
}

/** A difference as a person can read it: where it starts. */
export const firstDifference = (found: Buffer, expected: Buffer): string | null => {
  if (found.equals(expected)) return null;
  if (found.length !== expected.length) return `${found.length} bytes instead of ${expected.length}`;
  const at = found.findIndex((byte, i) => byte !== expected[i]);
  return `byte ${at} is ${found[at]} instead of ${expected[at]}`;
};
