// Decompressed frames of a chain that is read in rising order, within a budget however long the chain is.
//
// At any place of the image each point may have a frame open, and a frame of an increment lies scattered over much of the
// image: a thousand of them do not fit. So frames that were used lately are held whole; of one that makes room for others
// what comes next is kept, as much of each point as all can have. A frame is then read again when that is used up: a few
// times, and not for each of its records.

import { type Frame, limits, recordHeaderBytes } from '../format/archive-index.ts';
import type { Chain, ChainPoint } from './chain.ts';

/** A frame, or some of it. */
export interface HeldFrame {
  readonly point: number;
  readonly frame: Frame;
  /** What is held, of the bytes of the decompressed frame. */
  readonly start: number;
  readonly end: number;
  readonly bytes: Promise<Uint8Array<ArrayBuffer>>;
  /** Of those who took it and did not yet give it back. */
  uses: number;
  /** Nothing before is needed any more. */
  passed: number;
}

export class FrameCache {
  /** What is taken holds so many bytes. Takers keep it below a quarter of the budget. */
  takenBytes = 0;
  readonly #chain: Chain;
  /** Whole frames, and what is kept of each point. */
  readonly #wholeBytes: number;
  readonly #shareBytes: number;
  /** Longest unused first. */
  readonly #whole = new Map<Frame, HeldFrame>();
  #heldBytes = 0;
  /** By point. */
  readonly #kept = new Map<number, HeldFrame>();
  /** The frame that was taken last, by point: those before are done with. */
  readonly #latest = new Map<number, Frame>();
  #spare: ArrayBuffer | undefined;

  /** For the points of the chain behind `after`. */
  constructor(chain: Chain, after: number, budgetBytes: number) {
    this.#chain = chain;
    this.#wholeBytes = budgetBytes / 4;
    this.#shareBytes = fairShare(chain.points.slice(after + 1).map(mostBytes), budgetBytes / 2);
  }

  /** The bytes `start` to `end` of a frame are in what comes back, until it is given back. In rising order for each point. */
  take(point: number, frame: Frame, start: number, end: number): HeldFrame {
    this.#latest.set(point, frame);
    const held = this.#find(point, frame, start, end) ?? this.#fetch(point, frame);
    if (held.uses === 0) this.takenBytes += held.end - held.start;
    held.uses += 1;
    held.passed = end;
    return held;
  }

  give(held: HeldFrame): void {
    held.uses -= 1;
    if (held.uses === 0) this.takenBytes -= held.end - held.start;
  }

  /** Nothing is under way afterwards. */
  async close(): Promise<void> {
    await Promise.allSettled([...this.#whole.values(), ...this.#kept.values()].map(({ bytes }) => bytes));
  }

  #find(point: number, frame: Frame, start: number, end: number): HeldFrame | null {
    const whole = this.#whole.get(frame);
    if (whole !== undefined) {
      this.#whole.delete(frame);
      this.#whole.set(frame, whole);
      return whole;
    }
    const kept = this.#kept.get(point);
    return kept !== undefined && kept.frame === frame && kept.start <= start && end <= kept.end ? kept : null;
  }

  #fetch(point: number, frame: Frame): HeldFrame {
    for (const held of this.#whole.values()) {
      if (this.#heldBytes + frame.rawBytes <= this.#wholeBytes) break;
      if (held.uses === 0) this.#makeRoom(held);
    }
    const spare = this.#spare;
    // one that is much too long would not be counted in full
    const isFit = spare !== undefined && spare.byteLength >= frame.rawBytes && spare.byteLength < 1.25 * frame.rawBytes;
    if (isFit) this.#spare = undefined;
    const bytes = this.#chain.points[point]!.archive.readFrame(frame, isFit ? spare : undefined);
    // a failure is told when the frame is needed
    bytes.catch(() => {});
    const held: HeldFrame = { point, frame, start: 0, end: frame.rawBytes, bytes, uses: 0, passed: 0 };
    this.#whole.set(frame, held);
    this.#heldBytes += frame.rawBytes;
    return held;
  }

  #makeRoom({ point, frame, bytes, passed }: HeldFrame): void {
    this.#whole.delete(frame);
    this.#heldBytes -= frame.rawBytes;
    const end = Math.min(frame.rawBytes, passed + this.#shareBytes);
    const isKept = this.#latest.get(point) === frame && passed < end;
    const rest = bytes.then((whole) => {
      const part = isKept ? whole.slice(passed, end) : new Uint8Array(0);
      this.#spare = whole.buffer;
      return part;
    });
    rest.catch(() => {});
    if (isKept) this.#kept.set(point, { point, frame, start: passed, end, bytes: rest, uses: 0, passed });
    else if (this.#latest.get(point) === frame) this.#kept.delete(point);
  }
}

/** What the open frame of a point may take. */
const mostBytes = ({ manifest: { stream } }: ChainPoint): number =>
  Math.min(stream.dataBytes + recordHeaderBytes * stream.records, limits.frameRawBytes);

/** What each may have at most, so that all together have no more than `budget`. */
function fairShare(needs: readonly number[], budget: number): number {
  let left = budget;
  const sorted = needs.toSorted((a, b) => a - b);
  for (const [i, need] of sorted.entries()) {
    const share = left / (sorted.length - i);
    if (need > share) return Math.floor(share);
    left -= need;
  }
  return sorted.at(-1) ?? 0;
}
