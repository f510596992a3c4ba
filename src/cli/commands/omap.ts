// rbdelta omap: the keys and values of an object, and what they say.

import { nameToBytes, printable } from '../../bytes/text.ts';
import { RbdeltaError } from '../../error.ts';
import { decodeOmapKey, decodeOmapValue } from '../../format/rbd-omap.ts';
import { withCluster } from '../cluster.ts';
import type { Command } from '../command.ts';
import { poolFrom } from '../names.ts';
import { cluster, output } from '../options.ts';
import { outputFormat, print } from '../output.ts';
import { list, object, optional } from '../print.ts';

export const command: Command = {
  positionals: ['<pool[/namespace]>', '<object>'],
  options: ['namespace', ...output, ...cluster],
  examples: [
    ['omap volumes rbd_directory', 'names and ids of images'],
    ['omap volumes rbd_header.103e2a04b500', 'all that an image knows about itself'],
  ],
  async run(call) {
    const { pool, namespace } = poolFrom(call.args, call.positionals);
    const name = call.positionals.take();
    if (name === null) throw new RbdeltaError('invalid', 'object name was not specified', { hint: 'rbdelta objects' });
    const format = outputFormat(call);
    const omap = await withCluster(call, (cluster, other) => cluster.omap(pool ?? other, namespace, name));
    const entries = [...omap].map(([key, value]) => ({
      key: textOf(decodeOmapKey(name, key)) ?? printable(key),
      value: textOf(decodeOmapValue(name, key, value)),
      keyBytes: nameToBytes(key),
      bytes: value,
    }));
    const trees = entries.map(({ key, value, keyBytes, bytes }) =>
      object(['key', key], ['key_hex', keyBytes.toString('hex')], optional('value', value), [
        'value_hex',
        bytes.toString('hex'),
      ]),
    );
    const plain = (): string =>
      entries
        .map(({ key, value, bytes }) => `${key}${value === null ? '' : `: ${value}`}\n${hexDump(bytes)}\n`)
        .join('');
    await print(call, format, 'omap', list('pair', trees), plain);
  },
};

/** As JSON, where something is known. */
const textOf = (value: unknown): string | null => (value === null ? null : printable(JSON.stringify(value)));

/** As `hexdump -C`: offsets, sixteen bytes a line, and what of them is ASCII. */
function hexDump(bytes: Buffer): string {
  const lines: string[] = [];
  for (let at = 0; at < bytes.length; at += 16) {
    const row = [...bytes.subarray(at, at + 16)];
    const hex = row.map((byte) => byte.toString(16).padStart(2, '0'));
    const halves = [hex.slice(0, 8).join(' '), hex.slice(8).join(' ')].map((half) => half.padEnd(23));
    const ascii = row.map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '.')).join('');
    lines.push(`    ${at.toString(16).padStart(8, '0')}  ${halves.join('  ')}  |${ascii}|\n`);
  }
  return lines.join('');
}
