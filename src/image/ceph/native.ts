// The bridge to librados, librbd and libc: libraries are loaded and functions declared when they are first needed.

import PQueue from 'p-queue';
import { RbdeltaError } from '../../error.ts';
import { callbacks, libraries, prototypes } from './prototypes.ts';

/** An address. librados and librbd call theirs "handles". */
export type Pointer = bigint;

type Library = keyof typeof prototypes;
export type FunctionName = { [L in Library]: keyof (typeof prototypes)[L] }[Library];

export interface Native {
  /** Calls on this thread: only what does not wait for the network. The result of a `void` function is 0. */
  call(name: FunctionName, ...args: unknown[]): number;
  /** Calls on a worker thread, or waits for its turn on one. `args` stay referenced until it returns. */
  callAsync(name: FunctionName, ...args: unknown[]): Promise<number>;
  /** Calls a function that returns or fills in one pointer: pass `[null]` as `out` for the second kind. */
  pointer(name: FunctionName, ...args: unknown[]): Pointer;
  /** A copy of `length` bytes at an address. */
  bytesAt(address: Pointer, length: number): Buffer;
  /** A copy of the C string at an address, without its NUL; empty for a null pointer. */
  stringAt(address: Pointer | null): Buffer;
  /** Where a buffer's bytes are. Stable, as a buffer's memory is not on V8's heap; keep the buffer referenced. */
  addressOf(bytes: Buffer): Pointer;
  /** Calls `ready` on the event loop whenever the descriptor is readable, until `stop`. */
  onReadable(fd: number, ready: () => void): { stop(): void; ref(): void; unref(): void };
}

/** Node has four worker threads: one is left for file I/O while librbd blocks the others. */
const workerThreads = 3;

const workers = new PQueue({ concurrency: workerThreads });

type Koffi = typeof import('koffi')['default'];
type KoffiFunction = ReturnType<ReturnType<Koffi['load']>['func']>;

let loaded: Promise<Native> | undefined;

/** One for the process. Fails with `unavailable` where koffi, librados or librbd is not installed. */
export function loadNative(): Promise<Native> {
  loaded ??= load();
  // A failure is not remembered: a long-lived process may try again after the package was installed.
  loaded.catch(() => {
    loaded = undefined;
  });
  return loaded;
}

async function load(): Promise<Native> {
  let koffi: Koffi;
  try {
    koffi = (await import('koffi')).default;
  } catch (cause) {
    throw new RbdeltaError('unavailable', 'Ceph images need the npm package koffi, which cannot be loaded here', {
      hint: 'npm install koffi',
      cause,
    });
  }
  const open = (library: Library) => {
    const { file, package: name } = libraries[library];
    try {
      return koffi.load(file, { lazy: true });
    } catch (cause) {
      throw new RbdeltaError('unavailable', `Ceph images need ${file}, which cannot be loaded here`, {
        hint: `apt-get install ${name}`,
        cause,
      });
    }
  };
  const handles = { rados: open('rados'), rbd: open('rbd'), libc: open('libc') };
  declareCallbacks(koffi);
  const functions = new Map<FunctionName, KoffiFunction>();

  const declare = (name: FunctionName): KoffiFunction => {
    for (const library of Object.keys(prototypes) as Library[]) {
      const prototype = (prototypes[library] as Record<string, string>)[name];
      if (prototype === undefined) continue;
      try {
        const declared = handles[library].func(prototype);
        functions.set(name, declared);
        return declared;
      } catch (cause) {
        const { file, package: owner } = libraries[library];
        throw new RbdeltaError('unsupported', `the ${file} of this machine has no ${name}`, {
          hint: `install ${owner} of Ceph 16.2 or newer`,
          cause,
        });
      }
    }
    throw new TypeError(`no prototype for ${name}`);
  };
  const find = (name: FunctionName): KoffiFunction => functions.get(name) ?? declare(name);

  const native: Native = {
    call: (name, ...args) => Number(find(name)(...args) ?? 0),
    callAsync: async (name, ...args) => {
      const declared = find(name);
      const start = (): Promise<number> =>
        new Promise<number>((resolve, reject) => {
          declared.async(...args, (error: unknown, result: number | bigint | null | undefined) => {
            args.length = 0; // what keeps the buffers alive until here
            if (error) reject(error as Error);
            else resolve(Number(result ?? 0));
          });
        });
      return workers.add(start);
    },
    pointer: (name, ...args) => find(name)(...args) as Pointer,
    bytesAt: (address, length) => {
      const copy = Buffer.allocUnsafeSlow(length);
      if (length > 0) find('memcpy')(copy, address, length);
      return copy;
    },
    stringAt: (address) => (address ? native.bytesAt(address, native.call('strlen', address)) : Buffer.alloc(0)),
    addressOf: (bytes) => koffi.address(bytes),
    onReadable: (fd, ready) => {
      const handle = koffi.node.poll(fd, { readable: true }, ready);
      return {
        stop: () => handle.close(),
        ref: () => handle.ref(),
        unref: () => handle.unref(),
      };
    },
  };
  return native;
}

let callbacksDeclared = false;

/** koffi keeps their names for the process and refuses them a second time. */
function declareCallbacks(koffi: Koffi): void {
  if (callbacksDeclared) return;
  for (const prototype of callbacks) koffi.proto(prototype);
  callbacksDeclared = true;
}
