// Threads for work that would hold up the event loop: one message in, one message out.
//
// What runs in a thread is a module of plain JavaScript (checked as the rest, by its JSDoc types): a thread does not
// inherit what lets its parent run TypeScript in a checkout (vitest, tsx), and Node 20 cannot do it by itself.

import { Worker } from 'node:worker_threads';
import PQueue from 'p-queue';
import { RbdeltaError } from '../error.ts';

export interface Thread<In, Out> {
  /** One call at a time. The buffers of `moved` belong to the thread afterwards. */
  run(message: In, moved: ArrayBuffer[]): Promise<Out>;
  /** Ends the thread, whatever it does; what it was doing rejects. */
  stop(): Promise<void>;
}

/**
 * Starts the module `<name>.js` beside the module whose `import.meta.url` is given. A thread that fails rejects the call it
 * was doing and all later ones. One that has nothing to do keeps no process alive.
 */
export function startThread<In, Out>(name: string, moduleUrl: string): Thread<In, Out> {
  const worker = new Worker(new URL(`./${name}.js`, moduleUrl), { execArgv: [] });
  let failure: unknown = null;
  let onMessage: ((message: Out) => void) | null = null;
  let onFailure: ((error: unknown) => void) | null = null;

  const fail = (error: unknown): void => {
    failure ??= loadFailure(error) ?? error;
    onFailure?.(failure);
  };
  worker.on('message', (message: Out) => onMessage?.(message));
  worker.on('error', fail);
  worker.on('exit', (status) => fail(new Error(`the thread ${name} ended with status ${status}`)));
  worker.unref();

  return {
    async run(message, moved) {
      if (failure !== null) throw failure;
      worker.ref();
      try {
        return await new Promise<Out>((resolve, reject) => {
          onMessage = resolve;
          onFailure = reject;
          worker.postMessage(message, moved);
        });
      } finally {
        onMessage = onFailure = null;
        worker.unref();
      }
    },
    async stop() {
      await worker.terminate();
    },
  };
}

/** Up to `count` threads of a kind, each started when there is nobody idle to do a call. */
export class ThreadPool<In, Out> {
  readonly #start: () => Thread<In, Out>;
  readonly #calls: PQueue;
  readonly #threads: Thread<In, Out>[] = [];
  readonly #idle: Thread<In, Out>[] = [];

  constructor(start: () => Thread<In, Out>, count: number) {
    this.#start = start;
    this.#calls = new PQueue({ concurrency: count });
  }

  run(message: In, moved: ArrayBuffer[]): Promise<Out> {
    return this.#calls.add(async () => {
      const thread = this.#idle.pop() ?? this.#another();
      try {
        return await thread.run(message, moved);
      } finally {
        this.#idle.push(thread);
      }
    });
  }

  /** Calls that are under way or wait reject. */
  async stop(): Promise<void> {
    await Promise.all(this.#threads.map((thread) => thread.stop()));
  }

  #another(): Thread<In, Out> {
    const thread = this.#start();
    this.#threads.push(thread);
    return thread;
  }
}

/** A native module that was not built for this machine is the user's to mend, not a bug. */
function loadFailure(error: unknown): RbdeltaError | null {
  const code = error instanceof Error && 'code' in error ? error.code : null;
  if (code !== 'MODULE_NOT_FOUND' && code !== 'ERR_MODULE_NOT_FOUND' && code !== 'ERR_DLOPEN_FAILED') return null;
  const reason = (error as Error).message.split('\n', 1)[0];
  const hint = 'it is a native module, built when it is installed: run `npm rebuild` with this version of Node';
  return new RbdeltaError('unavailable', `a library cannot be loaded: ${reason}`, { hint, cause: error });
}
