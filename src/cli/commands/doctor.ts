// rbdelta doctor: which cluster is meant here, and what is missing.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { exitStatus } from '../../error.ts';
import { doctor, type Finding } from '../../ops/doctor.ts';
import { chooseCluster } from '../cluster.ts';
import type { Command } from '../command.ts';
import { imageOrFileFrom } from '../names.ts';
import { cluster, output, snapNames } from '../options.ts';
import { outputFormat, print } from '../output.ts';
import { list, object, optional } from '../print.ts';

export const command: Command = {
  positionals: ['[image]'],
  options: [...snapNames, ...output, ...cluster],
  examples: [
    ['doctor', 'this machine'],
    ['doctor file:vm-1.raw', 'a raw file, as export-diff and import-diff take it'],
    ['doctor --timeout 5 volumes/vm-1', 'an image as well: are its diffs fast?'],
  ],
  notes: 'The status is 0 when rbdelta can work here, else that of the first problem.',
  async run(call) {
    const { args, positionals } = call;
    const asked = args.has('image') || positionals.peek() !== null ? imageOrFileFrom(args, positionals) : null;
    const format = outputFormat(call);
    const findings = await doctor({
      cluster: chooseCluster(args, call.env),
      image: asked !== null && 'named' in asked ? asked.named : null,
      file: asked !== null && 'file' in asked ? asked.file : null,
      s3: s3Settings(call.env),
      signal: call.signal,
    });
    await print(call, format, 'findings', list('finding', findings.map(tree)), () => findings.map(text).join(''));
    const problem = findings.find((finding) => finding.state === 'problem');
    return problem === undefined ? 0 : exitStatus[problem.code ?? 'bug'];
  },
};

const marks: Record<Finding['state'], string> = { ok: 'ok     ', note: 'note   ', problem: 'PROBLEM' };

const text = ({ area, state, text, hint }: Finding): string =>
  `${marks[state]}  ${area.padEnd(9)}  ${text}\n${hint === null ? '' : `${' '.repeat(20)}hint: ${hint}\n`}`;

const tree = ({ area, state, text, hint, code }: Finding) =>
  object(['area', area], ['state', state], ['text', text], optional('hint', hint), optional('code', code));

/** What the AWS SDK will find, as far as that can be told without it. */
function s3Settings(env: Readonly<Record<string, string | undefined>>) {
  const file = env['AWS_SHARED_CREDENTIALS_FILE'] ?? (env['HOME'] ? join(env['HOME'], '.aws', 'credentials') : null);
  const found =
    (env['AWS_ACCESS_KEY_ID'] ? 'AWS_ACCESS_KEY_ID' : null) ??
    (env['AWS_PROFILE'] ? `AWS_PROFILE ${env['AWS_PROFILE']}` : null) ??
    (file !== null && existsSync(file) ? file : null);
  return {
    endpoint: env['AWS_ENDPOINT_URL_S3'] ?? env['AWS_ENDPOINT_URL'] ?? null,
    region: env['AWS_REGION'] ?? env['AWS_DEFAULT_REGION'] ?? null,
    credentials: found,
  };
}
