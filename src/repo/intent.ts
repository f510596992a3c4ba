// What a writer is about to do, for whoever comes after it if it dies. Spec: formats/repository/spec.md

import { hostname } from 'node:os';
import { decodeIntent, encodeIntent, type Intent, limits } from '../format/repository.ts';
import { type ImageName, imageFolder } from './keys.ts';
import type { Repository } from './repository.ts';

type Operation = Intent['operation'];
type IntentOf<O extends Operation> = Extract<Intent, { operation: O }>;
/** An intent without what is the same for all. */
export type NewIntent = { [O in Operation]: Omit<IntentOf<O>, 'format' | 'started' | 'host' | 'version'> }[Operation];

const keyOf = (image: ImageName, operation: Operation): string => `${imageFolder(image)}intent/${operation}.json`;

/** null where nothing was begun, or all was finished. */
export async function readIntent<O extends Operation>(
  { store }: Repository,
  image: ImageName,
  operation: O,
): Promise<IntentOf<O> | null> {
  const key = keyOf(image, operation);
  const bytes = await store.get(key, limits.intentBytes);
  return bytes === null ? null : (decodeIntent(bytes, store.nameOf(key)) as IntentOf<O>);
}

/** Written before the first step that leaves something behind. `version` is that of rbdelta. */
export async function writeIntent(
  { store }: Repository,
  image: ImageName,
  intent: NewIntent,
  about: { nowMs: number; version: string },
): Promise<void> {
  const started = new Date(about.nowMs).toISOString();
  const whole = { format: 1, ...intent, started, host: hostname(), version: about.version } as Intent;
  await store.put(keyOf(image, intent.operation), encodeIntent(whole));
}

export async function clearIntent({ store }: Repository, image: ImageName, operation: Operation): Promise<void> {
  await store.remove([keyOf(image, operation)]);
}
