// A range of an object in S3 into memory: a body that ends early is asked for again from where it ended.

import { setTimeout as sleep } from 'node:timers/promises';
import { RbdeltaError } from '../error.ts';
import { tooShort } from './failures.ts';
import { nameOf, s3Failure, type S3Connection, type S3Location, statusOf } from './s3-client.ts';

export interface RangeOptions {
  /** Only this version of the object is read; absent: whichever the first answer is of. */
  etag?: string | undefined;
  signal?: AbortSignal | undefined;
  /** Answers that may break; 5 if absent. The SDK tries each request as often until it is answered. */
  attempts?: number | undefined;
}

/**
 * Fills `into` from byte `start`. `notFound` without the object, `io` if it is replaced meanwhile, `corrupt` if it is
 * shorter, `unsupported` by a server that does not send ranges.
 */
export async function readRange(
  connection: S3Connection,
  location: S3Location,
  start: number,
  into: Uint8Array,
  options: RangeOptions = {},
): Promise<void> {
  const { signal, attempts = 5 } = options;
  const name = nameOf(location, connection);
  let { etag } = options;
  let filled = 0;
  for (let attempt = 1; filled < into.length; attempt++) {
    try {
      const asked = { start: start + filled, end: start + into.length };
      const answer = await ask(connection, location, asked, { etag, signal });
      etag ??= answer.etag;
      for await (const chunk of answer.body) {
        if (filled + chunk.length > into.length) throw new RbdeltaError('io', `cannot read ${name}: it sends too much`);
        into.set(chunk, filled);
        filled += chunk.length;
      }
      if (filled < into.length) throw new BodyCut();
    } catch (error) {
      const lasting = error instanceof RbdeltaError || signal?.aborted;
      if (lasting || attempt >= attempts) throw brokenBody(error, name, start + filled);
      await pause(attempt, signal);
    }
  }
}

/** Before a body is asked for again. */
export const pause = (attempt: number, signal?: AbortSignal): Promise<void> =>
  sleep(100 * 2 ** attempt * Math.random(), undefined, signal ? { signal } : {});

/** What to throw when a body broke for the last time. */
export function brokenBody(error: unknown, name: string, position: number): unknown {
  if (error instanceof RbdeltaError) return error;
  const hint = 'check the network, and try again';
  const message = `cannot read ${name}: the connection breaks at byte ${position}, again and again`;
  return new RbdeltaError('io', message, { hint, cause: error });
}

interface RangeAnswer {
  body: AsyncIterable<Uint8Array>;
  etag: string | undefined;
}

async function ask(
  connection: S3Connection,
  location: S3Location,
  { start, end }: { start: number; end: number },
  { etag, signal }: RangeOptions,
): Promise<RangeAnswer> {
  const { client, sdk } = connection;
  const name = nameOf(location, connection);
  const command = new sdk.GetObjectCommand({
    Bucket: location.bucket,
    Key: location.key,
    Range: `bytes=${start}-${end - 1}`,
    ...(etag ? { IfMatch: etag } : {}),
  });
  const answer = await client.send(command, signal ? { abortSignal: signal } : {}).catch(async (error: unknown) => {
    const status = statusOf(error);
    if (status === 412 || (status === 416 && etag)) throw replaced(name, error);
    if (status === 416) throw tooShort(name, (await lengthOf(connection, location)) ?? 0, end);
    // The SDK has tried again already.
    throw await s3Failure(error, `cannot read ${name}`, connection);
  });
  const body = answer.Body as NodeJS.ReadableStream & AsyncIterable<Uint8Array> & { destroy(error?: Error): void };
  const [, first, length] = /^bytes (\d+)-\d+\/(\d+)$/.exec(answer.ContentRange ?? '') ?? [];
  if (Number(first) !== start) {
    body.destroy();
    const hint = 'this server does not do what S3 does: copy the object to a file first';
    throw new RbdeltaError('unsupported', `cannot read ${name}: the server does not send the range asked for`, {
      hint,
    });
  }
  if (Number(length) < end) {
    body.destroy();
    throw tooShort(name, Number(length), end);
  }
  // Whoever has stopped reading must not wait for the rest.
  const stop = (): void => body.destroy(new BodyCut());
  signal?.addEventListener('abort', stop, { once: true });
  body.once('close', () => signal?.removeEventListener('abort', stop));
  return { body, etag: answer.ETag };
}

/** For a message about a failure: null when it cannot be found out. */
export async function lengthOf({ client, sdk }: S3Connection, { bucket, key }: S3Location): Promise<number | null> {
  const head = await client.send(new sdk.HeadObjectCommand({ Bucket: bucket, Key: key })).catch(() => null);
  return head?.ContentLength ?? null;
}

function replaced(name: string, cause: unknown): RbdeltaError {
  const hint = 'read it again from the beginning';
  return new RbdeltaError('io', `cannot read ${name}: it was replaced while it was read`, { hint, cause });
}

/** A body that ended before its time. */
class BodyCut extends Error {}
