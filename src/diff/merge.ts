// Many diffs that follow each other become one, in one pass: later streams win, sizes cut and grow in between.

import { printable } from '../bytes/text.ts';
import { RbdeltaError } from '../error.ts';
import type { DiffHeader, DiffRecord, DiffStream } from '../format/rbd-diff.ts';

/**
 * The diff that has the effect of applying `streams` (oldest first) in turn. Headers are checked at once, before any
 * record is pulled: each stream must start at the snapshot where the one before it ends, and tell its size, or be the
 * next part of the same diff; all parts of a diff must be there ('invalid').
 * Two absent names do not match, as they do for `rbd merge-diff`: nothing says that they mean the same state.
 *
 * Payloads pass through uncopied, so a record is valid until the next one is pulled. Memory: one record of each stream.
 * Pulling throws 'unsupported' for a stream that is not in rising order, 'corrupt' for a record past its stream's size,
 * and whatever a stream throws itself. `names` are what messages call the streams.
 */
export const mergeDiffs = (
  streams: readonly DiffStream[],
  names: readonly string[] = streams.map((_, i) => `diff ${i + 1} of ${streams.length}`),
): DiffStream => {
  const [first, last] = [streams[0], streams.at(-1)];
  if (first === undefined || last === undefined) throw new RbdeltaError('invalid', 'there is no diff to merge');
  const sizes: number[] = [];
  for (const [i, { header }] of streams.entries()) {
    const before = streams[i - 1]?.header;
    sizes.push(sizeOf(header.size, names[i]));
    if (before !== undefined && !followsOn(before, header)) refuseLink(streams, names, i);
  }
  if (!isBeginning(first.header))
    refuseGap(`${names[0]} is ${partText(first.header)}, and what lies before is missing`);
  if (!isEnding(last.header)) refuseGap(`${names.at(-1)} is ${partText(last.header)}, and what follows is missing`);
  const { toSnap, protected: isProtected } = last.header;
  const header = { fromSnap: first.header.fromSnap, toSnap, size: sizes.at(-1) ?? null, protected: isProtected };
  return { header, records: mergeRecords(streams, sizes, names) };
};

const sizeOf = (size: number | null, name: string | undefined): number => {
  if (size !== null) return size;
  throw new RbdeltaError('invalid', `${name} does not tell the size of the image`, {
    hint: 'rbd export-diff always writes it: make the diff again',
  });
};

const isBeginning = ({ part }: DiffHeader): boolean => part === undefined || part.offset === 0;

const isEnding = ({ part, size }: DiffHeader): boolean => part === undefined || part.end === size;

/** Whether `next` is the next part of the same diff. */
const continues = (before: DiffHeader, next: DiffHeader): boolean =>
  before.part?.end === next.part?.offset && before.fromSnap === next.fromSnap && before.size === next.size;

/** Whether `next` starts where `before` ends, or is the next part of it. */
export const followsOn = (before: DiffHeader, next: DiffHeader): boolean =>
  isEnding(before)
    ? // rbd takes an empty name for none
      Boolean(before.toSnap && before.toSnap === next.fromSnap) && isBeginning(next)
    : next.part !== undefined && continues(before, next);

const refuseGap = (message: string): never => {
  throw new RbdeltaError('invalid', message, { hint: 'give all parts of the diff, in the order of their ranges' });
};

const partText = ({ part, size }: DiffHeader): string =>
  part === undefined ? 'a whole diff' : `the part from byte ${part.offset} to ${part.end} of a diff of ${size}`;

/** Throws what is wrong with the names where one stream does not follow on the one before it. */
const refuseLink = (streams: readonly DiffStream[], names: readonly string[], i: number): never => {
  const [before, next] = [streams[i - 1]?.header, streams[i]?.header];
  const end = before?.toSnap || null;
  const start = next?.fromSnap || null;
  if (before !== undefined && next !== undefined && !(isEnding(before) && isBeginning(next))) {
    const other = before.part?.end === next.part?.offset ? ', but of another one' : '';
    refuseGap(
      `${names[i - 1]} is ${partText(before)}, which ${names[i]} does not continue: it is ${partText(next)}${other}`,
    );
  }
  const ends = end === null ? 'ends at the head, at no snapshot' : `ends at snapshot "${printable(end)}"`;
  const starts = start === null ? 'starts from nothing' : `starts at snapshot "${printable(start)}"`;
  throw new RbdeltaError('invalid', `${names[i - 1]} ${ends}, but ${names[i]} ${starts}`, {
    hint:
      end === null || start === null
        ? 'diffs follow each other when both name the snapshot between them; a full can only be the first'
        : 'give the diffs oldest first, without a gap',
  });
};

/**
 * One layer over the other, newest on top. A layer shows only below the smallest size that its own stream and later
 * ones give the image: what a shrink cut off does not come back. Where it grew again there are zeros, below all layers.
 */
async function* mergeRecords(
  streams: readonly DiffStream[],
  sizes: readonly number[],
  names: readonly string[],
): AsyncGenerator<DiffRecord, void, undefined> {
  const layers: Layer[] = [];
  let limit = Number.POSITIVE_INFINITY;
  for (let i = streams.length - 1; i >= 0; i--) {
    limit = Math.min(limit, sizes[i] ?? 0);
    const records = streams[i]?.records as AsyncIterable<DiffRecord>;
    layers.push(new StreamLayer(records[Symbol.asyncIterator](), sizes[i] ?? 0, limit, names[i] ?? ''));
  }
  const grownFrom = Math.min(...sizes.slice(0, -1));
  const grownTo = sizes.at(-1) ?? 0;
  if (grownFrom < grownTo) layers.push(new GrownLayer(grownFrom, grownTo));

  let at = 0;
  let zeroFrom = 0;
  let zeroTo = 0; // zeros that are not yet told, since more may follow
  try {
    for (;;) {
      let top: Layer | null = null;
      let end = Number.POSITIVE_INFINITY;
      for (const layer of layers) {
        while (layer.end <= at) await layer.advance();
        if (top !== null) continue; // what lies below only has to keep up
        if (layer.start <= at) top = layer;
        else end = Math.min(end, layer.start);
      }
      if (top === null) {
        if (end === Number.POSITIVE_INFINITY) break;
        at = end;
        continue;
      }
      end = Math.min(end, top.end);
      if (top.data === null) {
        if (zeroTo !== at || zeroTo === zeroFrom) {
          if (zeroTo > zeroFrom) yield { kind: 'zero', offset: zeroFrom, length: zeroTo - zeroFrom };
          zeroFrom = at;
        }
        zeroTo = end;
      } else {
        if (zeroTo > zeroFrom) yield { kind: 'zero', offset: zeroFrom, length: zeroTo - zeroFrom };
        zeroFrom = zeroTo = 0;
        const whole = at === top.start && top.data.length === end - at;
        const data = whole ? top.data : top.data.subarray(at - top.start, end - top.start);
        yield { kind: 'write', offset: at, data, remaining: 0 };
      }
      at = end;
    }
    if (zeroTo > zeroFrom) yield { kind: 'zero', offset: zeroFrom, length: zeroTo - zeroFrom };
  } finally {
    for (const layer of layers) await layer.close();
  }
}

/** The record of a stream that the merge has come to: [start, end), its payload or zeros. */
interface Layer {
  start: number;
  end: number;
  /** From `start` on; null for zeros. */
  data: Uint8Array | null;
  /** The next record; start and end are infinite when there is none. */
  advance(): Promise<void>;
  close(): Promise<void>;
}

class StreamLayer implements Layer {
  start = 0;
  end = 0;
  data: Uint8Array | null = null;
  readonly #records: AsyncIterator<DiffRecord>;
  readonly #size: number;
  readonly #limit: number;
  readonly #name: string;
  #reached = 0;
  #done = false;

  constructor(records: AsyncIterator<DiffRecord>, size: number, limit: number, name: string) {
    this.#records = records;
    this.#size = size;
    this.#limit = limit;
    this.#name = name;
  }

  async advance(): Promise<void> {
    for (;;) {
      const next = await this.#records.next();
      if (next.done === true) {
        this.#done = true;
        this.data = null;
        this.start = this.end = Number.POSITIVE_INFINITY;
        return;
      }
      const record = next.value;
      const length = record.kind === 'write' ? record.data.length : record.length;
      if (length === 0) continue;
      this.#check(record.offset, length);
      // also what nobody will see is pulled: the stream must prove that it is whole
      if (record.offset >= this.#limit) continue;
      this.start = record.offset;
      this.end = Math.min(this.#reached, this.#limit);
      this.data = record.kind === 'write' ? record.data : null;
      return;
    }
  }

  async close(): Promise<void> {
    if (!this.#done) await this.#records.return?.();
  }

  #check(offset: number, length: number): void {
    if (offset < this.#reached) {
      const message = `${this.#name} is not in rising order: ${offset}~${length} comes after ${this.#reached}`;
      throw new RbdeltaError('unsupported', message, {
        hint: 'old versions of Ceph wrote striped images unsorted; import-diff accepts such a stream, one by one',
      });
    }
    this.#reached = offset + length;
    if (this.#reached <= this.#size) return;
    const message = `${this.#name} has a record ${offset}~${length} past the image size that it gives, ${this.#size}`;
    throw new RbdeltaError('corrupt', message);
  }
}

/** What a later stream grew the image by, after one had cut it. */
class GrownLayer implements Layer {
  start: number;
  end: number;
  readonly data = null;

  constructor(start: number, end: number) {
    this.start = start;
    this.end = end;
  }

  async advance(): Promise<void> {
    this.start = this.end = Number.POSITIVE_INFINITY;
  }

  async close(): Promise<void> {}
}
