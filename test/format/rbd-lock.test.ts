import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { type Locker, lockValue } from '../../src/format/rbd-header.ts';
import { acceptedPrefixes } from './cuts.ts';

const { locks } = JSON.parse(
  readFileSync(new URL('../../formats/rbd-header/vectors/locks.json', import.meta.url), 'utf8'),
) as {
  locks: Record<
    string,
    { hex: string; kind: string; tag: string; lockers: { locker: string; id: string; address: string }[] }
  >;
};

/** As rbd prints it, of IPv4. */
const addressText = ({ nonce, socket }: Locker['address']): string =>
  `${[...socket.subarray(4, 8)].join('.')}:${socket.readUInt16BE(2)}/${nonce}`;

describe.each(Object.entries(locks))('a lock that is %s', (_, { hex, kind, tag, lockers }) => {
  const bytes = Buffer.from(hex, 'hex');

  test('decodes to what rbd says of it, and is written as the same bytes', () => {
    const found = lockValue.decode(bytes);
    const shown = found.lockers.map(({ client, cookie, address }) => ({
      locker: `client.${client}`,
      id: cookie,
      address: addressText(address),
    }));
    expect({ kind: found.kind, tag: found.tag, lockers: shown }).toEqual({ kind, tag, lockers });
    expect(lockValue.encode(found).toString('hex')).toBe(hex);
  });

  test('every proper prefix is refused', async () => {
    const read = (part: Buffer) => lockValue.decode(part);
    expect(await acceptedPrefixes(bytes, read, () => 'needs')).toEqual([]);
  });
});
