// rbdelta repo check: what the metadata of a repository tells.

import { counted } from '../../bytes/text.ts';
import { exitStatus } from '../../error.ts';
import { type CheckFinding, type CheckReport, checkRepository } from '../../ops/repo-check.ts';
import { textOf } from '../../repo/keys.ts';
import type { Command } from '../command.ts';
import { list, object, optional, toJson } from '../print.ts';
import { repositoryFrom, storeOptions, withRepository } from '../repository.ts';

export const command: Command = {
  positionals: ['<repository>', '[image]'],
  options: ['json', 'no-progress', ...storeOptions],
  examples: [
    ['repo check s3://bucket/prod', 'all images'],
    ['repo check /backups volumes/vm-1', 'one'],
  ],
  notes:
    'Every manifest is read; what it names must be there, with its length; chains, catalogs, locks and leftovers are ' +
    'looked at. Nothing is changed and no data is read: repo verify does that, and what it last found is told. The ' +
    'status is 74 if a point cannot be restored or was not found good, else 0, notes or not.',
  async run(call) {
    const where = repositoryFrom(call);
    const name = call.positionals.take();
    const progress = call.progress('Checking repository');
    const report = await withRepository(call, where, (repository) =>
      checkRepository(repository, {
        name,
        signal: call.signal,
        onProgress: (_, objects) => progress.update(objects, null),
      }),
    );
    progress.clear();
    await call.stdout.write(call.args.has('json') ? jsonOf(report, where) : textOfReport(report, where));
    return report.findings.some(({ state }) => state === 'problem') ? exitStatus.corrupt : 0;
  },
};

/** Hints name commands; the repository is the one that was checked. */
const hintOf = ({ hint }: { hint: string | null }, where: string): string | null =>
  hint?.replaceAll(' REPO ', ` ${where} `) ?? null;

function textOfReport({ images, findings, enforcesCreate }: CheckReport, where: string): string {
  const lines = findings.map((finding) => {
    const hint = hintOf(finding, where);
    const mark = finding.state === 'problem' ? 'PROBLEM' : 'note   ';
    return `${mark}  ${finding.text}\n${hint === null ? '' : `         hint: ${hint}\n`}`;
  });
  const points = images.reduce((sum, one) => sum + one.points, 0);
  const restorable = images.reduce((sum, one) => sum + one.restorable, 0);
  const what = `${counted(points, 'point')} of ${counted(images.length, 'image')}`;
  const verdict =
    points === restorable ? 'all can be restored' : `${restorable} can be restored, ${points - restorable} cannot`;
  // For who wonders: the locks of a repository are made for such stores.
  if (enforcesCreate === false)
    lines.push('note     the store does not enforce conditional writes, which nothing here needs\n');
  return `${lines.join('')}${what}: ${verdict}\n`;
}

function jsonOf({ images, findings, enforcesCreate }: CheckReport, where: string): string {
  const tree = object(
    [
      'images',
      list(
        'image',
        images.map(({ image, points, restorable }) =>
          object(['image', textOf(image)], ['points', points], ['restorable', restorable]),
        ),
      ),
    ],
    [
      'findings',
      list(
        'finding',
        findings.map((one) => findingTree(one, where)),
      ),
    ],
    optional('enforces_create', enforcesCreate),
  );
  return toJson(tree, false);
}

const findingTree = (finding: CheckFinding, where: string) =>
  object(
    ['state', finding.state],
    ['kind', finding.kind],
    optional('image', finding.image && textOf(finding.image)),
    optional('point', finding.point),
    ['text', finding.text],
    optional('hint', hintOf(finding, where)),
  );
