// The memory of parts on their way to a server: one bound for all uploads of a connection, and used again. Else each new
// upload would take its own while the one before it ends, and V8 would have to look for what nobody needs any more.

export class PartBuffers {
  /** Parts under way, of any upload. They never reject. */
  readonly sending = new Set<Promise<void>>();
  #spare: Buffer[] = [];

  /** With any content. */
  take(bytes: number): Buffer {
    const spare = this.#spare.pop();
    if (spare?.length === bytes) return spare;
    this.#spare = [];
    return Buffer.allocUnsafeSlow(bytes);
  }

  /** What was sent, and answered: after a failure somebody may still read it. */
  give(buffer: Buffer): void {
    this.#spare.push(buffer);
  }
}
