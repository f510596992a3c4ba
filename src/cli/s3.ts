// How S3 is reached: options of the command line, and what the environment says beyond what the AWS SDK reads itself.

import type { S3Options } from '../store/s3-client.ts';
import { usage } from './args.ts';
import type { Call } from './command.ts';
import { oneOf } from './values.ts';

/** The options of a command that may be given an address in S3. */
export const s3Options = ['s3-endpoint', 's3-region', 's3-profile', 'path-style', 'ca-file'] as const;

export function s3From({ args, env }: Pick<Call, 'args' | 'env'>): S3Options {
  const endpoint = args.text('s3-endpoint');
  if (endpoint !== null && !/^https?:\/\/./u.test(endpoint)) {
    throw usage(`--s3-endpoint '${endpoint}' is no address`, 'write it as https://host:port');
  }
  const region = args.text('s3-region');
  const profile = args.text('s3-profile') ?? env['AWS_PROFILE'] ?? '';
  const pathStyle = args.value('path-style', oneOf('auto', 'yes', 'no')) ?? 'auto';
  const caFile = args.text('ca-file') ?? env['AWS_CA_BUNDLE'] ?? '';
  return {
    ...(endpoint !== null && { endpoint }),
    ...(region !== null && { region }),
    ...(profile !== '' && { profile }),
    ...(pathStyle !== 'auto' && { pathStyle: pathStyle === 'yes' }),
    ...(caFile !== '' && { caFile }),
    httpsProxy: env['https_proxy'] ?? env['HTTPS_PROXY'],
    noProxy: env['no_proxy'] ?? env['NO_PROXY'],
  };
}
