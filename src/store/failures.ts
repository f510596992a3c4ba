// Failures that every store has, in the same words.

import { counted } from '../bytes/text.ts';
import { RbdeltaError } from '../error.ts';

/** `name` is what the store calls the object. */
export const notThere = (name: string, cause?: unknown): RbdeltaError =>
  new RbdeltaError('notFound', `cannot read ${name}: it does not exist`, { cause });

export const tooShort = (name: string, bytes: number, expected: number): RbdeltaError =>
  new RbdeltaError(
    'corrupt',
    `cannot read ${name}: it has ${counted(bytes, 'byte')}, at least ${expected} were expected`,
  );

export const tooLarge = (name: string, bytes: number, maxBytes: number): RbdeltaError =>
  new RbdeltaError(
    'tooLarge',
    `cannot read ${name}: it has ${counted(bytes, 'byte')}, at most ${maxBytes} were expected`,
  );

export const existsAlready = (name: string, more: { cause?: unknown; hint?: string } = {}): RbdeltaError =>
  new RbdeltaError('exists', `cannot write ${name}: it exists already`, more);
