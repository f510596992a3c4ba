// Which bytes are zero: a scan by words that stops at the first one that is not.

/** Whether every byte is 0. */
export function isZero(bytes: Uint8Array): boolean {
  return isZeroBetween(bytes, wordsOf(bytes), 0, bytes.length);
}

/**
 * Splits `bytes`, which lie at `startOffset` of the image, into runs that are zero and runs that are not, both in units
 * of blocks of `blockBytes` aligned to the image (the first and the last may be cut by the ends of `bytes`). `emit` gets
 * the runs in order, without gaps, neighbours always of different kind; `start` and `end` count from the first byte.
 */
export function zeroRuns(
  bytes: Uint8Array,
  startOffset: number,
  blockBytes: number,
  emit: (start: number, end: number, zero: boolean) => void,
): void {
  const words = wordsOf(bytes);
  let runStart = 0;
  let runZero = false;
  let blockEnd = blockBytes - (startOffset % blockBytes);
  for (let start = 0; start < bytes.length; start = blockEnd, blockEnd += blockBytes) {
    const zero = isZeroBetween(bytes, words, start, Math.min(blockEnd, bytes.length));
    if (zero === runZero) continue;
    if (start > runStart) emit(runStart, start, runZero);
    runStart = start;
    runZero = zero;
  }
  if (bytes.length > runStart) emit(runStart, bytes.length, runZero);
}

/** The whole aligned words of `bytes`, and how many bytes come before the first of them. */
interface Words {
  words: Int32Array;
  skipped: number;
}

function wordsOf(bytes: Uint8Array): Words {
  const skipped = Math.min(-bytes.byteOffset & 3, bytes.length);
  return { words: new Int32Array(bytes.buffer, bytes.byteOffset + skipped, (bytes.length - skipped) >> 2), skipped };
}

function isZeroBetween(bytes: Uint8Array, { words, skipped }: Words, start: number, end: number): boolean {
  const firstWord = (start - skipped + 3) >> 2;
  const lastWord = (end - skipped) >> 2;
  if (lastWord <= firstWord) return areBytesZero(bytes, start, end);
  return (
    areBytesZero(bytes, start, skipped + firstWord * 4) &&
    areWordsZero(words, firstWord, lastWord) &&
    areBytesZero(bytes, skipped + lastWord * 4, end)
  );
}

function areBytesZero(bytes: Uint8Array, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if (bytes[i] !== 0) return false;
  return true;
}

/** Eight words a round: one branch for 32 bytes. */
function areWordsZero(words: Int32Array, start: number, end: number): boolean {
  let i = start;
  for (; i + 8 <= end; i += 8) {
    const sum =
      words[i]! |
      words[i + 1]! |
      words[i + 2]! |
      words[i + 3]! |
      words[i + 4]! |
      words[i + 5]! |
      words[i + 6]! |
      words[i + 7]!;
    if (sum !== 0) return false;
  }
  for (; i < end; i++) if (words[i] !== 0) return false;
  return true;
}
