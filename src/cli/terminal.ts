// Standard output and standard error, without the cost and the surprises of process.stdout.

import { writeSync } from 'node:fs';
import { isatty } from 'node:tty';
import { type ByteSink, fdSink } from '../bytes/sink.ts';
import { nameToBytes } from '../bytes/text.ts';

export interface TextOutput {
  /** Rejects with `brokenPipe` when nobody reads any more. */
  write(text: string): Promise<void>;
  flush(): Promise<void>;
  /** A person sees it: names must not move the cursor. Absent: a program reads it, and needs them as they are. */
  readonly terminal?: boolean;
}

const flushChars = 1 << 16;

/** Text for standard output in large writes: a diff may be a million lines. Names come out as the bytes they are. */
export function textOutput(fd: number): TextOutput {
  let sink: ByteSink | null = null;
  let held = '';
  const flush = async (): Promise<void> => {
    if (held === '') return;
    const bytes = nameToBytes(held);
    held = '';
    sink ??= fdSink(fd);
    await sink.write([bytes]);
  };
  return {
    terminal: isatty(fd),
    async write(text) {
      held += text;
      if (held.length >= flushChars) await flush();
    },
    flush,
  };
}

/** A message must not end the program because nobody reads messages. */
export function writeError(text: string): void {
  try {
    writeSync(2, text);
  } catch {
    // Closed, or a full pipe that does not block: there is nobody to tell.
  }
}

export const isTerminal = (fd: number): boolean => isatty(fd);

/** Columns of the terminal on stderr or stdout; else of COLUMNS; else 80. */
export function columns(env: Readonly<Record<string, string | undefined>>): number {
  // process.stdout is loaded only where there is a terminal, which knows its width.
  const stream = isatty(2) ? process.stderr : isatty(1) ? process.stdout : null;
  return stream?.columns || Number.parseInt(env['COLUMNS'] ?? '', 10) || 80;
}
