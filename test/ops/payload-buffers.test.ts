import { describe, expect, it } from 'vitest';
import { PayloadBuffers } from '../../src/ops/payload-buffers.ts';

const MiB = 1 << 20;

describe('payload buffers', () => {
  it('pieces do not share bytes', async () => {
    const buffers = new PayloadBuffers(8 * MiB);
    const pieces: Uint8Array[] = [];
    for (let i = 0; i < 1000; i += 1) pieces.push((await buffers.allocate(1 + ((i * 37) % 5000))).fill(i % 251));
    for (const [i, piece] of pieces.entries()) expect(piece.every((byte) => byte === i % 251)).toBe(true);
  });

  it('when all memory is in use the next piece waits until some is released', async () => {
    const buffers = new PayloadBuffers(8 * MiB);
    const first = await buffers.allocate(4 * MiB);
    const second = await buffers.allocate(3 * MiB);
    const small = await buffers.allocate(MiB / 2);
    let arrived = false;
    const waiting = Promise.resolve(buffers.allocate(MiB)).then((piece) => {
      arrived = true;
      return piece;
    });
    buffers.release(second);
    await new Promise((resolve) => setImmediate(resolve));
    expect(arrived).toBe(false);
    buffers.release(small);
    const third = await waiting;
    expect(third.length).toBe(MiB);
    buffers.release(first);
    buffers.release(third);
  });

  it('memory is used again', async () => {
    const buffers = new PayloadBuffers(8 * MiB);
    const seen = new Set<ArrayBufferLike>();
    for (let i = 0; i < 100; i += 1) {
      const piece = await buffers.allocate(3 * MiB);
      seen.add(piece.buffer);
      buffers.release(piece);
    }
    expect(seen.size).toBeLessThanOrEqual(2);
  });

  it('a piece released twice, or not allocated here, is a bug', async () => {
    const buffers = new PayloadBuffers(8 * MiB);
    const piece = await buffers.allocate(10);
    buffers.release(piece);
    expect(() => buffers.release(piece)).toThrow(RangeError);
    expect(() => buffers.release(new Uint8Array(1))).toThrow(RangeError);
  });
});
