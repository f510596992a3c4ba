// A pipe or socket as a source: the event loop waits for it, so that no thread is held, and none has to be woken.

import { close } from 'node:fs';
import { Socket, type SocketConstructorOpts, type TcpSocketConnectOpts } from 'node:net';
import { promisify } from 'node:util';
import { ioFailure, unlessAborted } from './errno.ts';
import type { ByteSource, FdSourceOptions } from './source.ts';

/** What is read at a time: a pipe seldom holds more than 64 KiB. */
const chunkBytes = 128 << 10;

/**
 * The bytes of an open descriptor that is a pipe or a socket. A read through Node's worker threads would cost two
 * changes of thread for 64 KiB; this costs a copy. The descriptor becomes non-blocking; Node puts back how 0, 1 and 2
 * were when it ends. Reading starts with the first `read`.
 */
export function pipeSource(fd: number, { name = `descriptor ${fd}`, closes, signal }: FdSourceOptions): ByteSource {
  const chunk = Buffer.allocUnsafeSlow(chunkBytes);
  /** The bytes of `chunk` that nobody has taken yet: those of a read that gave more than was asked for. */
  let left = chunk.subarray(0, 0);
  let socket: Socket | null = null;
  let ended = false;
  let closed = false;
  let failure: unknown = null;
  let wanted: { into: Uint8Array; filled: number; least: number; settle: () => void } | null = null;

  const settle = (): void => {
    const { settle: call } = wanted ?? {};
    wanted = null;
    call?.();
  };
  const take = (count: number): boolean => {
    const bytes = chunk.subarray(0, count);
    if (wanted === null) {
      left = bytes;
      return false;
    }
    const fits = Math.min(count, wanted.into.length - wanted.filled);
    wanted.into.set(fits === count ? bytes : bytes.subarray(0, fits), wanted.filled);
    wanted.filled += fits;
    left = bytes.subarray(fits);
    if (wanted.filled < wanted.least) return true;
    settle();
    return false;
  };
  const open = (): Socket => {
    // The types know `onread` for connections only.
    const options: SocketConstructorOpts & Pick<TcpSocketConnectOpts, 'onread'> = {
      fd,
      readable: true,
      writable: false,
      onread: { buffer: chunk, callback: take },
    };
    const opened = new Socket(options);
    opened.on('end', () => {
      ended = true;
      settle();
    });
    opened.on('error', (error) => {
      failure = ioFailure(error, `cannot read ${name}`);
      settle();
    });
    return opened;
  };
  const more = async (into: Uint8Array, least: number): Promise<number> => {
    let filled = 0;
    if (left.length > 0) {
      filled = Math.min(left.length, into.length);
      into.set(left.subarray(0, filled));
      left = left.subarray(filled);
    }
    if (filled >= least || ended || failure !== null) return filled;
    const request = { into, filled, least, settle: () => {} };
    const settled = new Promise<void>((resolve) => {
      request.settle = resolve;
    });
    wanted = request;
    socket ??= open();
    socket.resume();
    await settled;
    return request.filled;
  };

  return {
    async read(into, least = 1) {
      const count = await unlessAborted(more(into, Math.min(least, into.length)), signal);
      if (count === 0 && failure !== null) throw failure;
      return count;
    },
    async close() {
      if (closed) return;
      closed = true;
      ended = true;
      left = chunk.subarray(0, 0);
      settle();
      // A descriptor that we were given stays open: destroying the socket would close it.
      if (!closes) socket?.pause().unref();
      else if (socket !== null) socket.destroy();
      else await promisify(close)(fd);
    },
  };
}
