// The inner loop of the fold as a WebAssembly module of 300 bytes: 64 objects a step, ten times what JavaScript does.

/** States are folded in chunks of this many bytes. */
export const chunkBytes = 32 << 10;

/**
 * `start(bytes)`: state := what the map says of the version where a diff starts.
 * `next(bytes, ends)`: state := state folded with the next version's map; `ends` is -1 for the end version, else 0.
 * Both work on the first `bytes` (a multiple of 16) of `state` and `map`.
 */
export interface FoldKernel {
  state: Uint8Array;
  map: Uint8Array;
  start: (bytes: number) => void;
  next: (bytes: number, ends: number) => void;
}

let kernel: FoldKernel | undefined;

/** One for the process: it keeps nothing between calls. */
export const foldKernel = (): FoldKernel => {
  kernel ??= instantiate();
  return kernel;
};

/** TypeScript declares these for browsers only. */
interface WebAssemblyApi {
  Module: new (bytes: Uint8Array) => object;
  Instance: new (
    module: object,
  ) => {
    exports: { memory: { buffer: ArrayBuffer }; start: FoldKernel['start']; next: FoldKernel['next'] };
  };
}

const instantiate = (): FoldKernel => {
  const { Module, Instance } = (globalThis as unknown as { WebAssembly: WebAssemblyApi }).WebAssembly;
  const { memory, start, next } = new Instance(new Module(moduleBytes())).exports;
  const state = new Uint8Array(memory.buffer, 0, chunkBytes);
  const map = new Uint8Array(memory.buffer, chunkBytes, chunkBytes);
  return { state, map, start, next };
};

// An assembler of what is needed. Locals: 0 bytes, 1 ends (`next` only), then the position and the vectors.
const leb = (value: number): number[] => (value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...leb(value >> 7)]);
const get = (local: number): number[] => [0x20, local];
const set = (local: number): number[] => [0x21, local];
const vector = (op: number): number[] => [0xfd, ...leb(op)];
const and = vector(0x4e);
const andNot = vector(0x4f);
const or = vector(0x50);
const xor = vector(0x51);
const right = [0x41, 1, ...vector(0xcd)]; // i32.const 1, i64x2.shr_u
const left = [0x41, 1, ...vector(0xcb)]; // i32.const 1, i64x2.shl
const low = [...vector(0x0c), ...Array<number>(16).fill(0x55), ...and]; // only the low bit of each object
const splat = vector(0x11);
const load = (base: number, position: number): number[] => [...get(position), ...vector(0), 4, ...leb(base)];
const store = [...vector(0x0b), 4, 0];

/** `position` from 0 to `bytes` in steps of 16; nothing for 0 bytes. */
const loop = (position: number, ...body: number[][]): number[] =>
  [
    [0x02, 0x40, ...get(0), 0x45, 0x0d, 0], // block: leave if bytes == 0
    [0x03, 0x40], // loop
    ...body,
    [...get(position), 0x41, 16, 0x6a, 0x22, position], // position += 16
    [...get(0), 0x49, 0x0d, 0], // again if position < bytes
    [0x0b, 0x0b, 0x0b], // end of loop, block, function
  ].flat();

/** Locals: 1 position, 2 map, 3 map >> 1. Pending (high without low) counts as changed: its delete is under way. */
const startBody = [
  [2, 1, 0x7f, 2, 0x7b], // one i32, two v128
  loop(
    1,
    [load(chunkBytes, 1), set(2), get(2), right, set(3)].flat(),
    get(1),
    [get(3), get(2), andNot, low, left].flat(),
    [get(2), get(3), or, low, or].flat(),
    store,
  ),
].flat();

/**
 * Locals: 2 position, 3 map, 4 map >> 1, 5 state, 6 state >> 1, 7 exists. exists = low | high; changed = changed before,
 * or dirty (low ^ high: exists or pending, not clean), or there now and not before, or the other way round. Where the
 * state is a hole and the end is not reached, it stays a hole: only whether it has data in the end counts.
 */
const nextBody = [
  [2, 1, 0x7f, 5, 0x7b], // one i32, five v128
  loop(
    2,
    [load(chunkBytes, 2), set(3), get(3), right, set(4)].flat(),
    [load(0, 2), set(5), get(5), right, set(6)].flat(),
    [get(3), get(4), or, low, set(7)].flat(),
    get(2),
    [get(3), get(4), xor, get(6), or, get(5), get(7), xor, or, low, left, get(7), or].flat(),
    [get(5), get(6), or, low, set(3), get(3), get(3), left, or].flat(), // two ones where it is no hole
    [get(1), splat, or, and].flat(),
    store,
  ),
].flat();

const sized = (bytes: number[]): number[] => [...leb(bytes.length), ...bytes];
const section = (id: number, ...content: number[][]): number[] => [id, ...sized(content.flat())];
const text = (name: string): number[] => sized([...Buffer.from(name)]);

const moduleBytes = (): Uint8Array =>
  Uint8Array.from(
    [
      [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
      section(1, [2, 0x60, 1, 0x7f, 0, 0x60, 2, 0x7f, 0x7f, 0]), // types: (i32), (i32, i32)
      section(3, [2, 0, 1]), // two functions, one of each type
      section(5, [1, 0, 1]), // one memory of one page
      section(7, [3], text('memory'), [2, 0], text('start'), [0, 0], text('next'), [0, 1]),
      section(10, [2], sized(startBody), sized(nextBody)),
    ].flat(),
  );
