// rbdelta repo prune: points go by age and number.

import { printable } from '../../bytes/text.ts';
import { type Forgotten, type ForgetOptions, planPrune, prune } from '../../ops/forget.ts';
import { findImages } from '../../repo/find-point.ts';
import { type ImageName, textOf } from '../../repo/keys.ts';
import { durationMs } from '../../repo/point-spec.ts';
import { checkPolicy, type Policy } from '../../repo/retention.ts';
import type { Args } from '../args.ts';
import type { Call, Command } from '../command.ts';
import { forgotten, forgottenText, planText } from '../forgotten.ts';
import { list, object, toJson, type Tree } from '../print.ts';
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
    'Each rule keeps the newest point of each of the newest hours, days, … that have one; what no rule keeps goes. Pinned ' +
    'points stay. All times are UTC; --keep-within counts back from the newest point of the image. A point that stays gets ' +
    'what it needs of those that go first: frames are taken as they are where that is possible.',
  async run(call) {
    const where = repositoryFrom(call);
    const words = call.positionals.rest();
    const policy = policyFrom(call.args);
    checkPolicy(policy);
    const results: Tree[] = [];
    await withRepository(call, where, async (repository) => {
      const found = new Map<string, ImageName>();
      for (const word of words.length === 0 ? [null] : words)
        for (const image of await findImages(repository, word)) found.set(textOf(image), image);
      for (const [name, image] of found) {
        if (call.args.has('dry-run')) {
          const { keep, plan } = await planPrune(repository, image, policy);
          if (!call.args.has('json')) {
            const kept = keep.map(({ point, reasons }) => `  keep    ${point.id}  (${reasons.join(', ')})\n`);
            await call.stdout.write(`${printable(name)}\n${kept.join('')}${planText(plan)}`);
          }
          const reasons = list(
            'point',
            keep.map(({ point, reasons }) => object(['id', point.id], ['reasons', list('reason', reasons)])),
          );
          results.push(object(['image', name], ['keep', reasons], ['remove', ids(plan.remove)]));
          continue;
        }
        const progress = call.progress(`Pruning ${printable(name)}`);
        const done = await prune(repository, image, policy, {
          ...forgetOptions(call),
          onProgress: (reached, size) => progress.update(reached, size),
        });
        progress.clear();
        tell(call, name, done);
        results.push(forgotten(name, done));
      }
    });
    if (call.args.has('json')) await call.stdout.write(toJson(list('image', results), false));
  },
};

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

const ids = (points: readonly { id: string }[]): Tree =>
  list(
    'point',
    points.map(({ id }) => id),
  );

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
