// The S3 client: found and configured as every AWS tool is, and its failures as failures of rbdelta.

import { readFile } from 'node:fs/promises';
import type { PutObjectCommandInput, S3Client, S3ClientConfig, StorageClass } from '@aws-sdk/client-s3';
import { errnoOf, ioFailure } from '../bytes/errno.ts';
import { printable } from '../bytes/text.ts';
import { RbdeltaError } from '../error.ts';
import { type ProxyOptions, proxyFor } from './proxy.ts';
import { ServerClock } from './s3-clock.ts';
import { PartBuffers } from './s3-part-buffers.ts';

/** Whatever is absent comes from where the AWS SDK looks: AWS_* variables, profiles, the instance's role. */
export interface S3Options extends ProxyOptions {
  endpoint?: string;
  region?: string;
  profile?: string;
  /** Whether the bucket is in the path of addresses, not in the name of the host. Absent: everywhere but at AWS. */
  pathStyle?: boolean;
  /** How often a request is tried in all; 5 if absent. Waits in between grow, by the SDK's standard strategy. */
  attempts?: number;
  /** A server that says nothing for so long is gone, ms; a minute if absent. */
  silenceMs?: number;
  /** Certificates (PEM) that are trusted instead of those that Node knows. */
  caFile?: string;
  /** Of what is large: `STANDARD_IA` and the like. */
  storageClass?: string;
  /** How the server encrypts what is written: `AES256`, `aws:kms`, or `aws:kms:KEY`. */
  sse?: string;
}

/** A client with what is needed to send and to name what it talks to. */
export interface S3Connection {
  client: S3Client;
  /** The SDK, loaded when S3 is first used: it takes longer to load than most commands take. */
  sdk: typeof import('./s3-sdk.ts');
  /** Of all uploads. */
  buffers: PartBuffers;
  /** The server's. */
  clock: ServerClock;
  /** For messages: the endpoint's URL, or AWS. */
  endpoint: string;
  /** For messages: what was asked for. */
  profile: string | undefined;
  /** What every object is written with. */
  written: Pick<PutObjectCommandInput, 'ServerSideEncryption' | 'SSEKMSKeyId'>;
  /** And, further, every large one: others would be charged for more than they hold. */
  writtenLarge: Pick<PutObjectCommandInput, 'StorageClass'>;
}

/** What a key is written as, `s3://bucket/key`. */
export interface S3Location {
  bucket: string;
  key: string;
}

export async function connectS3(options: S3Options = {}): Promise<S3Connection> {
  const sdk = await import('./s3-sdk.ts');
  const { attempts = 5, endpoint, region, profile, storageClass } = options;
  const settings = {
    written: options.sse === undefined ? {} : parseSse(options.sse),
    writtenLarge: storageClass === undefined ? {} : { StorageClass: storageClass as StorageClass },
  };
  const given: S3ClientConfig = {
    maxAttempts: attempts,
    retryMode: 'standard',
    // It warns of keys beside a profile, at length and each time: what was asked for is what counts.
    logger: silent,
    // The defaults send checksums in a way that radosgw before 18 and others refuse or, worse, store.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(region === undefined ? {} : { region }),
    ...(profile === undefined ? {} : { profile }),
  };
  const probe = withoutAdvice(() => new sdk.S3Client(given));
  const found = endpoint ?? (await probe.config.serviceConfiguredEndpoint?.());
  // Servers other than AWS seldom have a DNS name for each bucket, and seldom care for the region.
  const isAws = found === undefined || /\.amazonaws\.com(\.cn)?\/?$/.test(found);
  const place: S3ClientConfig = isAws
    ? { forcePathStyle: options.pathStyle ?? false }
    : {
        endpoint: found,
        region: await probe.config.region().catch(() => 'us-east-1'),
        forcePathStyle: options.pathStyle ?? true,
      };
  probe.destroy();
  const requestHandler = await requestHandlerFor(new URL(found ?? 'https://s3.amazonaws.com'), options);
  const client = new sdk.S3Client({ ...given, ...place, requestHandler });
  // It prepares each answer for a log that nobody reads: of a page of a list, a tenth of what the page costs.
  client.middlewareStack.remove('loggerMiddleware');
  const clock = new ServerClock();
  return {
    client: keepDates(client, clock),
    sdk,
    clock,
    buffers: new PartBuffers(),
    endpoint: isAws ? 'AWS' : found,
    profile,
    ...settings,
  };
}

const silent = { trace() {}, debug() {}, info() {}, warn() {}, error() {} };

async function requestHandlerFor(
  url: URL,
  { caFile, silenceMs = 60_000, ...proxies }: S3Options,
): Promise<NonNullable<S3ClientConfig['requestHandler']>> {
  const ca = caFile === undefined ? {} : { ca: await readCertificates(caFile) };
  const proxy = proxyFor(url, proxies);
  // As many connections as the SDK's own agent keeps.
  const httpsAgent =
    proxy === null
      ? ca
      : new (await import('hpagent')).HttpsProxyAgent({ proxy, keepAlive: true, maxSockets: 50, ...ca });
  return { connectionTimeout: 10_000, socketTimeout: silenceMs, httpsAgent };
}

function parseSse(text: string): S3Connection['written'] {
  if (text === 'AES256') return { ServerSideEncryption: text };
  if (text === 'aws:kms') return { ServerSideEncryption: text };
  if (/^aws:kms:./.test(text)) return { ServerSideEncryption: 'aws:kms', SSEKMSKeyId: text.slice('aws:kms:'.length) };
  throw new RbdeltaError('usage', `"${printable(text)}" is not a kind of encryption that S3 has`, {
    hint: 'write it as AES256, aws:kms or aws:kms:KEY',
  });
}

async function readCertificates(path: string): Promise<Buffer> {
  return readFile(path).catch((error: unknown) => {
    throw ioFailure(error, `cannot read the certificates in "${printable(path)}"`);
  });
}

/**
 * The SDK's first client advises newer versions of Node on stderr, each time: no news for cron to mail, and not what a
 * caller of this library can act upon. Only the environment turns that off. It is as it was when this returns, so that
 * nobody else and no child process sees the change; a caller's own setting stands.
 */
function withoutAdvice<T>(make: () => T): T {
  const name = 'AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED';
  if (process.env[name] !== undefined) return make();
  process.env[name] = 'true';
  try {
    return make();
  } finally {
    delete process.env[name];
  }
}

/** `s3://bucket/key`; anything else is refused as `usage`. The key is taken as it is, nothing in it is decoded. */
export function parseS3Url(url: string): S3Location {
  const [, bucket, key] = /^s3:\/\/([^/]*)\/?(.*)$/s.exec(url) ?? [];
  const refuse = (reason: string): RbdeltaError =>
    new RbdeltaError('usage', `"${printable(url)}" ${reason}`, { hint: 'write it as s3://bucket/key' });
  if (bucket === undefined || key === undefined) throw refuse('is not the address of an S3 object');
  if (bucket === '') throw refuse('names no bucket');
  if (key === '' || key.endsWith('/')) throw refuse('names no object');
  if (Buffer.byteLength(key) > 1024) throw refuse('has a key of more than 1024 bytes');
  return { bucket, key };
}

/** `s3://bucket/prefix`, where the prefix may be absent: `key` is what all keys begin with, '' or with `/` at its end. */
export function parseS3Prefix(url: string): S3Location {
  const [, path = ''] = /^s3:\/\/(.*)$/s.exec(url) ?? [];
  if (/^(\/|$)/.test(path)) {
    const hint = 'write it as s3://bucket/prefix';
    throw new RbdeltaError('usage', `"${printable(url)}" names no bucket`, { hint });
  }
  const { bucket, key } = parseS3Url(`${url.replace(/\/*$/, '')}/x`);
  return { bucket, key: key.slice(0, -1) };
}

/** How messages name an object. */
export const urlOf = ({ bucket, key }: S3Location): string => `s3://${printable(bucket)}/${printable(key)}`;

/** The same, of a request: where it went matters then. */
export const nameOf = (location: S3Location, { endpoint }: S3Connection): string => `${urlOf(location)} at ${endpoint}`;

/** When the server gave this answer, by its own clock, to whole seconds as HTTP has it; 0 if it did not say. */
export const dateMsOf = (answer: { $metadata: object }): number =>
  (answer.$metadata as { dateMs?: number }).dateMs ?? 0;

/** Makes the client keep what `dateMsOf` gives, and tell the clock: the SDK does not show the headers of answers. */
function keepDates(client: S3Client, clock: ServerClock): S3Client {
  client.middlewareStack.add(
    (next) => async (args) => {
      const result = await next(args);
      const { headers } = (result as { response?: { headers?: Record<string, string> } }).response ?? {};
      const dateMs = Date.parse(headers?.['date'] ?? '') || 0;
      Object.assign(result.output.$metadata, { dateMs });
      if (dateMs > 0) clock.heard(dateMs);
      return result;
    },
    { step: 'initialize', name: 'keepDates' },
  );
  return client;
}

/**
 * The failure of a request as a failure of rbdelta. `task` says what could not be done, `nameOf` included. What did not
 * come from the SDK or the network (a bug) comes back as it is.
 */
export async function s3Failure(error: unknown, task: string, { client, profile }: S3Connection): Promise<unknown> {
  if (error instanceof RbdeltaError || !(error instanceof Error)) return error;
  const fail = (code: RbdeltaError['code'], reason: string, hint?: string): RbdeltaError =>
    new RbdeltaError(code, `${task}: ${reason}`, { cause: error, ...(hint === undefined ? {} : { hint }) });
  const status = statusOf(error);
  const said = `${error.name}${error.message && error.message !== error.name ? ` (${printable(error.message)})` : ''}`;

  if (error.name === 'NoSuchBucket') return fail('notFound', 'the bucket does not exist');
  if (error.name === 'NoSuchUpload') return fail('io', 'the server no longer knows this upload');
  if (error.name === 'CredentialsProviderError') {
    const where = profile === undefined ? '' : ` by the profile "${printable(profile)}"`;
    const hint =
      profile === undefined
        ? 'set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE'
        : 'look into ~/.aws/config and ~/.aws/credentials; without a profile, AWS_ACCESS_KEY_ID is taken';
    return fail('permission', `no credentials found${where}`, hint);
  }
  if (error.name === 'RequestTimeTooSkewed') return fail('permission', 'the clocks here and there differ too much');
  if (error.message === 'Region is missing') return fail('usage', 'no region is configured', 'set AWS_REGION');
  if (error.name === 'InvalidBucketName') return fail('usage', 'this is not a valid name of a bucket');
  if (error.name === 'NoSuchKey') return fail('notFound', 'the bucket has no such key');
  if (status === 404) return fail('notFound', 'it does not exist');
  if (status === 401 || status === 403) {
    const key = await client.config.credentials().then(
      ({ accessKeyId }) => `the access key ${printable(accessKeyId)}`,
      () => 'these credentials',
    );
    if (error.name === 'SignatureDoesNotMatch') {
      return fail('permission', `the secret key is wrong for ${key}`, 'check AWS_SECRET_ACCESS_KEY, or the profile');
    }
    if (error.name === 'InvalidAccessKeyId') {
      return fail('permission', `the server does not know ${key}`, 'check AWS_ACCESS_KEY_ID, or the profile');
    }
    const more = /^(Unknown|UnknownError|AccessDenied|Forbidden|\d+)$/.test(error.name) ? '' : `: ${said}`;
    const hint = 'check what it is allowed to do; a key that does not exist is refused, too, to who may not list';
    return fail('permission', `access denied (${status}) to ${key}${more}`, hint);
  }
  if (status === 412) return fail('exists', 'it exists already');
  if (status === 429 || status === 503) return fail('unavailable', `the server is busy: ${said}`, 'try again later');
  if (status === 507 || error.name === 'QuotaExceeded') return fail('noSpace', 'no space left on the server');

  const errno = errnoOf(error) ?? errnoOf(error.cause);
  if (error.name === 'TimeoutError' || errno === 'ETIMEDOUT') {
    return fail('timeout', 'the server does not answer in time', 'check AWS_ENDPOINT_URL and the network');
  }
  if (errno !== null && unreachable.has(errno)) {
    return fail('unavailable', `the server cannot be reached: ${errno}`, 'check AWS_ENDPOINT_URL and the network');
  }
  if (errno !== null) return fail('io', `the connection broke: ${errno}`, 'try again');
  if (status !== null) return fail('io', `the server answers ${status} ${said}`);
  const [, refused] = /^Bad response: (\d+)$/.exec(error.message) ?? [];
  if (refused !== undefined)
    return fail('unavailable', `the proxy answers ${refused}`, 'check HTTPS_PROXY and NO_PROXY');
  if (/certificate|TLS|SSL/i.test(error.message)) return fail('unavailable', `no secure connection: ${error.message}`);
  return error;
}

const unreachable = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH']);

/** The HTTP status that an error of the SDK carries; null where no answer came. */
export function statusOf(error: unknown): number | null {
  const metadata = (error as { $metadata?: { httpStatusCode?: number } } | null)?.$metadata;
  return metadata?.httpStatusCode ?? null;
}
