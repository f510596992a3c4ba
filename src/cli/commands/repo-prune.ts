// rbdelta repo prune: points go by age and number.

import { printable } from '../../bytes/text.ts';
import { type Forgotten, type ForgetOptions, planPrune, prune } from '../../ops/forget.ts';
import { findImages } from '../../repo/find-point.ts';
import { type ImageName, textOf } from '../../repo/keys.ts';
import { durationMs } from '../../repo/point-spec.ts';
import type { Repository } from '../../repo/repository.ts';
import { checkPolicy, type Policy } from '../../repo/retention.ts';
import type { Args } from '../args.ts';
import type { Call, Command } from '../command.ts';
import { forgottenFields, forgottenText, planFields, planText } from '../forgotten.ts';
import { attempt, conclude, type Outcome } from '../per-image.ts';
import { type Field, list, object } from '../print.ts';
import { repositoryFrom, storeOptions, withRepository } from '../repository.ts';
import { countFrom, millisecondsFrom } from '../values.ts';
import { version } from '../version.ts';

const rules = [
  'keep-last',
  'keep-hourly',
  'keep-daily',
  'keep-weekly',
  'keep-monthly',
  'keep-yearly',
  'keep-within',
  'keep-tag',
] as const;

export const command: Command = {
  positionals: ['<repository>', '[image...]'],
  options: [...rules, 'wait', 'dry-run', 'json', 'no-progress', ...storeOptions],
  describe: { 'dry-run': 'say what would go, and why the rest stays; change nothing' },
  examples: [
    ['repo prune /backups --keep-daily 7 --keep-weekly 4 --keep-monthly 12', 'of each image'],
    ["repo prune s3://bucket/prod 'volumes/vm-*' --keep-within 30d --dry-run", 'what would go'],
  ],
  notes:
    'Each rule keeps the newest point of each of the newest hours, days, … that have one; what no rule keeps goes. Where ' +
    'the rules keep no point of an image, nothing of it goes, and it fails. Pinned points stay. All times are UTC; --keep-within counts back from the newest point of the image. A point that stays gets ' +
    'what it needs of those that go first: frames are taken as they are where that is possible. An image that fails does ' +
    'not keep the others from being pruned; the status is that of the first failure.',
  async run(call) {
    const where = repositoryFrom(call);
    const words = call.positionals.rest();
    const policy = policyFrom(call.args);
    checkPolicy(policy);
    const outcomes: Outcome<readonly Field[]>[] = [];
    await withRepository(call, where, async (repository) => {
      const images = new Map<string, ImageName>();
      for (const word of words.length === 0 ? [null] : words) {
        const found = await attempt(call, word ?? where, () => findImages(repository, word));
        if (found.result === null) outcomes.push({ ...found, result: null });
        else for (const image of found.result) images.set(textOf(image), image);
      }
      for (const [name, image] of images) {
        const act = call.args.has('dry-run') ? planOne : pruneOne;
        outcomes.push(await attempt(call, name, () => act(call, repository, image, policy)));
      }
    });
    return conclude(call, outcomes, (fields) => fields);
  },
};

async function planOne(call: Call, repository: Repository, image: ImageName, policy: Policy): Promise<Field[]> {
  const { keep, plan } = await planPrune(repository, image, policy);
  if (!call.args.has('json')) {
    const kept = keep.map(({ point, reasons }) => `  keep    ${point.id}  (${reasons.join(', ')})\n`);
    await call.stdout.write(`${printable(textOf(image))}\n${kept.join('')}${planText(plan)}`);
  }
  const reasons = keep.map(({ point, reasons }) => object(['point', point.id], ['reasons', list('reason', reasons)]));
  return [['keep', list('point', reasons)], ...planFields(plan)];
}

async function pruneOne(call: Call, repository: Repository, image: ImageName, policy: Policy): Promise<Field[]> {
  const name = textOf(image);
  const progress = call.progress(`Pruning ${printable(name)}`);
  const done = await prune(repository, image, policy, {
    ...forgetOptions(call),
    onProgress: (reached, size) => progress.update(reached, size),
  });
  progress.clear();
  tell(call, name, done);
  return forgottenFields(done);
}

/** One line, if anything was done. */
export function tell(call: Call, name: string, done: Forgotten): void {
  if (done.removed.length > 0 || done.rebased.length > 0) call.notice(`${printable(name)}: ${forgottenText(done)}`);
}

export function forgetOptions(call: Call): ForgetOptions {
  const waitMs = call.args.value('wait', millisecondsFrom);
  return {
    version,
    nowMs: Date.now,
    signal: call.signal,
    onNotice: call.notice,
    ...(waitMs !== null && { waitMs }),
  };
}

function policyFrom(args: Args): Policy {
  const count = (name: (typeof rules)[number]) => args.value(name, countFrom);
  const fields: [keyof Policy, number | null][] = [
    ['last', count('keep-last')],
    ['hourly', count('keep-hourly')],
    ['daily', count('keep-daily')],
    ['weekly', count('keep-weekly')],
    ['monthly', count('keep-monthly')],
    ['yearly', count('keep-yearly')],
    ['withinMs', args.value('keep-within', durationMs)],
  ];
  const given = Object.fromEntries(fields.filter(([, value]) => value !== null)) as Policy;
  return { ...given, tags: args.texts('keep-tag') };
}
