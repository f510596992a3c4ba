// Where bytes come from: a pull of as many bytes as fit into the caller's buffer.

export interface ByteSource {
  /** Reads at least one byte into `into` (which is not empty) and resolves to how many; 0 means the end, for good. */
  read(into: Uint8Array): Promise<number>;
  /** Frees what is held; may come at any time after the last `read` settled, and more than once. */
  close(): Promise<void>;
}
