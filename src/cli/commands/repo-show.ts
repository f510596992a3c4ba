// rbdelta repo show: what a point is, in words.

import { counted } from '../../bytes/text.ts';
import { exitStatus } from '../../error.ts';
import { showPoint, type ShownPoint } from '../../ops/repo-show.ts';
import { findPoint } from '../../repo/find-point.ts';
import type { Call, Command } from '../command.ts';
import { nameText } from '../output.ts';
import { ageText, bytesText, table, utcText } from '../print.ts';
import { pointFrom, repositoryFrom, storeOptions, withRepository } from '../repository.ts';

export const command: Command = {
  positionals: ['<repository>', '<point>'],
  options: ['json', ...storeOptions],
  examples: [
    ['repo show /backups vm-1@latest', 'the newest point'],
    ['repo show /backups volumes/vm-1@2026-11-20', 'the newest one of that day or before'],
  ],
  notes:
    'Times are UTC. The status is 74 if the chain of the point is broken, or repo verify found it damaged when it last looked.',
  async run(call) {
    const where = repositoryFrom(call);
    const point = pointFrom(call);
    const found = await withRepository(call, where, async (repository) =>
      showPoint(
        repository,
        await findPoint(repository, point, {
          nowMs: Date.now(),
          onDamaged: (_, error) => call.notice(error.message),
        }),
      ),
    );
    await call.stdout.write(call.args.has('json') ? jsonOf(found) : wordsOf(call, found));
    if (found.broken === null) return 0;
    call.notice(found.broken.message);
    return exitStatus.corrupt;
  },
};

/** The manifest as it is, and what is known besides. */
function jsonOf({ manifest, chain, broken, proofs }: ShownPoint): string {
  const points = chain.map((one) => ({
    point: one.id,
    created: one.created,
    kind: one.full ? 'full' : 'increment',
    size: one.size,
    data_bytes: one.dataBytes,
    stored_bytes: one.storedBytes,
  }));
  const failure = broken === null ? {} : { error: broken.message };
  return `${JSON.stringify({ manifest, chain: points, whole: broken === null, ...failure, proofs })}\n`;
}

function wordsOf(call: Call, { manifest, chain, broken, proofs }: ShownPoint): string {
  const shown = nameText(call);
  const nowMs = Date.now();
  const { image, snapshot, stream, segments, index, writer, parent } = { ...manifest, parent: manifest.image.parent };
  const stored = segments.reduce((sum, { bytes }) => sum + bytes, 0);
  const facts: [string, string][] = [
    ['created', `${utcText(manifest.created)}, ${ageText(manifest.created, nowMs)} ago`],
    [
      'finished',
      `${utcText(manifest.finished)}, in ${writer.seconds.toFixed(1)} s, by rbdelta ${writer.rbdelta} on ${shown(writer.host)}`,
    ],
    [
      'image',
      `${shown(`${image.pool}/${image.namespace === '' ? '' : `${image.namespace}/`}${image.name}`)}, ${bytesText(image.size)}${image.id === '' ? '' : `, id ${shown(image.id)}`}, objects of ${bytesText(2 ** image.order)}`,
    ],
    ...(parent === null
      ? []
      : ([
          [
            'parent',
            shown(
              `${parent.pool}/${parent.namespace === '' ? '' : `${parent.namespace}/`}${parent.image}@${parent.snap}`,
            ),
          ],
        ] as [string, string][])),
    [
      'snapshot',
      `${shown(snapshot.name)}${snapshot.id === 0 ? '' : `, id ${snapshot.id}`}${snapshot.ours ? ', made for it' : ''}`,
    ],
    ['kind', manifest.base === null ? 'full' : `increment on ${manifest.base.point}`],
    [
      'changed',
      `${bytesText(stream.dataBytes)} of data, ${bytesText(stream.zeroBytes)} of zeros, in ${counted(stream.records, 'record')}`,
    ],
    [
      'stored',
      `${bytesText(stored)} in ${counted(segments.length, 'segment')}, and an index of ${bytesText(index.bytes)}`,
    ],
    ['fingerprint', manifest.fingerprint],
    ['tags', shown(manifest.tags.join(', '))],
    ['pinned', manifest.pinned ? 'yes' : 'no'],
    ...(proofs.length === 0 ? ([['proved', 'never']] as [string, string][]) : []),
    ...proofs.map((proof): [string, string] => [
      proof.ok ? 'proved' : 'FAILED',
      `${proof.level}, ${utcText(proof.finished)}: ${shown(proof.what)}`,
    ]),
    ['chain', broken === null ? `whole, ${counted(chain.length, 'point')}` : `BROKEN: ${shown(broken.message)}`],
  ];
  const columns = ['POINT', 'CREATED (UTC)', 'KIND', 'CHANGED', 'STORED'].map((title, i) => ({
    title,
    align: i < 3 ? ('left' as const) : ('right' as const),
  }));
  const rows = chain.map((one) => [
    one.id,
    utcText(one.created),
    one.full ? 'full' : 'increment',
    bytesText(one.dataBytes),
    bytesText(one.storedBytes),
  ]);
  const head = `point ${manifest.point}\n`;
  return `${head}${facts.map(([name, text]) => `    ${`${name}:`.padEnd(13)}${text}\n`).join('')}\n${table(columns, rows)}`;
}
