// Where bytes go: ordered writes, then either `finish` (now it exists, durable) or `abort` (nothing stays behind).

export interface ByteSink {
  /** Writes all chunks in order. The caller may reuse the memory when the promise resolves. Calls never overlap. */
  write(chunks: readonly Uint8Array[]): Promise<void>;
  /** Makes what was written durable and visible; afterwards the sink is closed. */
  finish(): Promise<void>;
  /** Removes what was written, as far as that is possible (a pipe keeps it); never throws. */
  abort(): Promise<void>;
}
