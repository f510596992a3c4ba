// The thread behind autoDecompress of zstd.ts: keeps the state of one zstd stream, does one step for each message.

import { parentPort } from 'node:worker_threads';
import zstd from 'zstd-napi/binding.js';

export interface DecompressStep {
  /** Both are moved here and back. */
  input: ArrayBuffer;
  output: ArrayBuffer;
  /** The bytes of `input` that are still to be read. */
  start: number;
  end: number;
  windowLog: number;
}

/** What a step came to, and the step's buffers; `failure` is zstd's own name for it. */
export interface DecompressResult {
  input: ArrayBuffer;
  output: ArrayBuffer;
  consumed: number;
  produced: number;
  /** Whether everything so far was whole frames. */
  betweenFrames: boolean;
  failure: string | null;
}

let decompressor: zstd.DCtx | null = null;
let betweenFrames = true;

function step({ input, output, start, end, windowLog }: DecompressStep): DecompressResult {
  if (decompressor === null) {
    decompressor = new zstd.DCtx();
    decompressor.setParameter(zstd.DParameter.windowLogMax, windowLog);
  }
  const from = new Uint8Array(input, start, end - start);
  const into = new Uint8Array(output);
  let consumed = 0;
  let produced = 0;
  let failure: string | null = null;
  try {
    for (;;) {
      const [hint, written, read] = decompressor.decompressStream(into.subarray(produced), from.subarray(consumed));
      produced += written;
      consumed += read;
      // A call that could do nothing says nothing about where the stream stands.
      if (written > 0 || read > 0) betweenFrames = hint === 0;
      if (produced === into.length || consumed === from.length) break;
    }
  } catch (error) {
    failure = error instanceof Error ? error.message : String(error);
  }
  return { input, output, consumed, produced, betweenFrames, failure };
}

parentPort?.on('message', (message: DecompressStep) => {
  const result = step(message);
  parentPort?.postMessage(result, [result.input, result.output]);
});
