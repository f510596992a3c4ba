// Rounds of a random history, after each of which diffs must tell the truth: to a copy, and between any two versions.

import type { Image, WritableImage } from '../../src/image/port.ts';
import { applied, firstDifference, importInto, streamOf } from './replay.ts';
import type { RandomHistory } from './world.ts';

export const seed = Number(process.env['RBDELTA_TEST_SEED'] ?? 1);
/** How many rounds all histories of a test file make together. */
export const roundsOr = (usual: number): number => Number(process.env['RBDELTA_TEST_ROUNDS'] ?? usual);

export interface Pair {
  /** The image with the past, at a snapshot (null: its head). */
  openSource(snap: string | null): Promise<Image>;
  openCopy(snap: string | null): Promise<Image>;
  openCopyToWrite(): Promise<WritableImage>;
  /** What somebody else reads of the source (at a snapshot) or of the copy's head; null where there is nobody else. */
  otherEyes(which: 'source' | 'copy', snap: string | null): Promise<Buffer | null>;
}

const whole = async (image: Image): Promise<Buffer> => {
  const bytes = Buffer.alloc((await image.info()).size);
  const piece = 4 << 20;
  for (let at = 0; at < bytes.length; at += piece) await image.read(at, bytes.subarray(at, at + piece));
  return bytes;
};

const using = async <T>(image: Promise<Image>, act: (image: Image) => Promise<T>): Promise<T> => {
  const opened = await image;
  try {
    return await act(opened);
  } finally {
    await opened.close();
  }
};

/** Throws at the first lie, with the past that led to it; resolves to how many rounds went well. */
export async function playRounds(history: RandomHistory, pair: Pair, rounds: number, name: string): Promise<number> {
  let last: string | null = null; // the newest snapshot that the copy has
  let round = 0;
  const check = (what: string, found: Buffer | null, expected: Buffer | undefined): void => {
    const difference = found === null ? null : firstDifference(found, expected ?? Buffer.alloc(0));
    if (difference === null) return;
    const past = history.log.slice(-400).join('\n');
    throw new Error(`${name}, RBDELTA_TEST_SEED=${seed}, round ${round}: ${what}: ${difference}\n${past}`);
  };

  for (round = 1; round <= rounds; round++) {
    const snap = await history.round(last ?? '');
    const { snapshots } = history.truth;
    const truth = snapshots.get(snap);
    check(`what was done to @${snap}`, await pair.otherEyes('source', snap), truth);

    // The copy follows, snapshot by snapshot.
    const stream = await using(pair.openSource(snap), (image) => streamOf(image, last));
    const copy = await pair.openCopyToWrite();
    try {
      await importInto(copy, (at) => pair.openCopy(at), stream);
      check(`the copy after ${last} -> ${snap}`, await whole(copy), truth);
    } finally {
      await copy.close();
    }
    check(`the copy, with other eyes, after ${last} -> ${snap}`, await pair.otherEyes('copy', null), truth);
    last = snap;

    // Any older version, and none, to any newer one; exactly, and by whole objects.
    const names = [...snapshots.keys()];
    const to = names[history.pick(0, names.length - 1)] ?? snap;
    const from = [null, ...names.slice(0, names.indexOf(to) + 1)][history.pick(0, names.indexOf(to) + 1)] ?? null;
    const before = from === null ? Buffer.alloc(0) : (snapshots.get(from) ?? Buffer.alloc(0));
    await using(pair.openSource(to), async (image) => {
      check(`reading @${to}`, await whole(image), snapshots.get(to));
      check(`${from} -> ${to}`, await applied(before, await streamOf(image, from)), snapshots.get(to));
      const coarse = await streamOf(image, from, true);
      check(`${from} -> ${to}, whole objects`, await applied(before, coarse), snapshots.get(to));
    });
  }
  return rounds;
}
