// What only the monitors know: a command is a JSON object, and so is the answer.

import { printable } from '../../bytes/text.ts';
import { RbdeltaError } from '../../error.ts';
import type { PoolUsage } from '../port.ts';
import { type Connection, cName } from './connection.ts';
import { check } from './errno.ts';
import type { Pointer } from './native.ts';

/** `answer` is null where it is refused (`result` is the negative errno) or no JSON. */
export async function askMonitor(
  { native, rados }: Connection,
  question: { prefix: string } & Record<string, string>,
): Promise<{ result: number; answer: unknown }> {
  const command = cName(JSON.stringify({ ...question, format: 'json' }), 'command');
  const commands = new BigUint64Array([native.addressOf(command)]);
  const out: [Pointer | null] = [null];
  const outLength: [number | bigint] = [0];
  const status: [Pointer | null] = [null];
  const statusLength: [number | bigint] = [0];
  const result = await native.callAsync(
    'rados_mon_command',
    rados,
    commands,
    1,
    null,
    0,
    out,
    outLength,
    status,
    statusLength,
  );
  const text = out[0] === null ? '' : native.bytesAt(out[0], Number(outLength[0])).toString('utf8');
  for (const buffer of [out[0], status[0]]) if (buffer !== null) native.call('rados_buffer_free', buffer);
  // `command` has to live until here
  if (result < 0 || command.length === 0) return { result, answer: null };
  try {
    return { result, answer: JSON.parse(text) as unknown };
  } catch {
    return { result, answer: null };
  }
}

/** As `ceph df` tells, which is some seconds old. */
export async function readPoolUsage(connection: Connection, pool: string): Promise<PoolUsage> {
  await connection.io(pool, '');
  const { result, answer } = await askMonitor(connection, { prefix: 'df' });
  const doing = `ask how full pool '${printable(pool)}' is`;
  check(result, doing);
  const stats = (answer as Df | null)?.pools?.find(({ name }) => name === pool)?.stats;
  if (stats === undefined) throw new RbdeltaError('io', `cannot ${doing}: the monitors do not tell`);
  const { percent_used: share, max_avail: freeBytes, bytes_used: storedBytes } = stats;
  // `bytes_used` counts every copy, `max_avail` one of them
  const totalBytes = share < 1 ? freeBytes / (1 - share) : storedBytes;
  return { usedBytes: share * totalBytes, totalBytes };
}

interface Df {
  pools?: { name: string; stats: { percent_used: number; max_avail: number; bytes_used: number } }[];
}
