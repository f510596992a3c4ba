// rbdelta pool check: whether local pools are sound; with --repair, they are made so.

import { counted, printable } from '../../bytes/text.ts';
import { exitStatus } from '../../error.ts';
import type { CheckReport, Finding } from '../../image/local/check.ts';
import { withLocalPool } from '../cluster.ts';
import type { Command } from '../command.ts';
import { cluster } from '../options.ts';
import { list, object, optional, toJson } from '../print.ts';

export const command: Command = {
  positionals: ['[pool]'],
  options: ['repair', 'json', ...cluster],
  examples: [
    ['pool check', 'all pools of the local directory'],
    ['pool check volumes --repair', 'one; leftovers of a crash are removed, wrong object maps made anew'],
  ],
  notes:
    'Directory, headers, snapshots, records of objects, their files, object maps, parents and clones are held against ' +
    'each other; no data is read. Without --repair nothing is changed. Images that are open to write are passed over. ' +
    'The status is 74 if something is wrong, else 0: leftovers take space and do no harm.',
  async run(call) {
    const pool = call.positionals.take();
    const repair = call.args.has('repair');
    const report = await withLocalPool(call, 'ceph health', (local) => local.check(pool, { repair }));
    await call.stdout.write(call.args.has('json') ? jsonOf(report) : textOf(report));
    return report.findings.some(({ state, repaired }) => state === 'problem' && !repaired) ? exitStatus.corrupt : 0;
  },
};

const whereOf = ({ pool, namespace, image }: Finding): string =>
  printable([pool, namespace, image ?? ''].filter((part) => part !== '').join('/'));

function textOf({ images, findings }: CheckReport): string {
  const mark = { problem: 'PROBLEM ', leftover: 'leftover', note: 'note    ' };
  const lines = findings.map(
    (finding) =>
      `${mark[finding.state]}  ${whereOf(finding)}: ${finding.text}${finding.repaired ? ' (repaired)' : ''}\n`,
  );
  const count = (state: Finding['state']) => findings.filter((one) => one.state === state && !one.repaired).length;
  const [problems, leftovers] = [count('problem'), count('leftover')];
  const verdict =
    problems > 0 ? counted(problems, 'problem') : leftovers > 0 ? 'sound, but for leftovers (--repair)' : 'sound';
  const hints = new Set(findings.filter(({ repaired }) => !repaired).flatMap(({ hint }) => hint ?? []));
  const todo = [...hints].map((hint) => `hint: ${hint}\n`).join('');
  return `${lines.join('')}${counted(images, 'image')}: ${verdict}\n${todo}`;
}

function jsonOf({ images, findings }: CheckReport): string {
  const tree = object(
    ['images', images],
    [
      'findings',
      list(
        'finding',
        findings.map(({ state, pool, namespace, image, text, hint, repaired }) =>
          object(
            ['state', state],
            ['pool', pool],
            ['namespace', namespace],
            optional('image', image),
            ['text', text],
            optional('hint', hint ?? null),
            ['repaired', repaired],
          ),
        ),
      ),
    ],
  );
  return toJson(tree, false);
}
