// Bytes that look random and are the same in every run.

/** A small, fast generator (mulberry32): numbers in [0, 1), decided by the seed. */
export function numbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** `length` bytes, none of them zero. */
export function noise(seed: number, length: number): Buffer {
  const next = numbers(seed);
  const bytes = Buffer.allocUnsafe(length);
  for (let i = 0; i < length; i++) bytes[i] = 1 + Math.floor(next() * 255);
  return bytes;
}
