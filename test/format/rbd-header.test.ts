import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type Codec,
  childrenKey,
  childrenValue,
  dataObjectName,
  dataObjectNameV1,
  decodeHeader,
  decodeHeaderV1,
  directoryIdKey,
  directoryNameKey,
  directoryValue,
  encodeHeader,
  featureOfName,
  groupRefValue,
  headerValue,
  idData,
  namesOfFeatures,
  namesOfFlags,
  namesOfOpFeatures,
  objectMapName,
  objectPrefixOf,
  parseDirectoryKey,
  type RbdHeader,
  snapChildrenValue,
  snapshotValue,
  trashValue,
  utimeFromMs,
  utimeToMs,
} from '../../src/format/rbd-header.ts';
import { acceptedPrefixes, outcome, refusal } from './cuts.ts';

const load = (file: string): unknown =>
  JSON.parse(readFileSync(new URL(`../../formats/rbd-header/vectors/${file}`, import.meta.url), 'utf8'));

const codecs: Record<string, Codec<unknown>> = {
  ...(headerValue as unknown as Record<string, Codec<unknown>>),
  directoryValue: directoryValue as Codec<unknown>,
  childrenKey: childrenKey as Codec<unknown>,
  childrenValue: childrenValue as Codec<unknown>,
  parentValue: headerValue.parent as Codec<unknown>,
  snapshotValue: snapshotValue as Codec<unknown>,
};
const codecOf = (name: string): Codec<unknown> => {
  const found = codecs[name];
  if (found === undefined) throw new Error(`no codec ${name}`);
  return found;
};

const recorded = load('recorded.json') as {
  headers: Record<string, { object: string; omap: Record<string, string>; expected: Record<string, unknown> }>;
  values: {
    rbd_children: { keyHex: string; key: unknown; valueHex: string; value: string[] };
    rbd_trash: { key: string; valueHex: string; value: object };
    rbd_directory: Record<string, string>;
  };
  objects: Record<string, { hex: string; value: unknown }>;
};
const old = load('old.json') as {
  values: { codec: string; of?: string; hex: string; value: unknown; same: boolean }[];
};
const refused = load('refused.json') as { codec: string; hex: string; code: string; says: string }[];

const bytesOf = (omap: Record<string, string>): Map<string, Buffer> =>
  new Map(Object.entries(omap).map(([key, hex]) => [key, Buffer.from(hex, 'hex')]));

describe.each(Object.entries(recorded.headers))('recorded header: %s', (_, { omap, expected }) => {
  const values = bytesOf(omap);

  test('decodes to what rbd says of the image', () => {
    const header = decodeHeader(values);
    const told = {
      ...header,
      metadata: Object.fromEntries(header.metadata),
      snapChildren: Object.fromEntries(header.snapChildren),
      snapshots: header.snapshots.map(({ id, name, size, protection, namespace }) => ({
        id,
        name,
        size,
        protection,
        namespace: namespace.type,
      })),
    };
    expect(told).toMatchObject(expected);
    expect(header.created && utimeToMs(header.created)).toBeGreaterThan(Date.UTC(2020));
  });

  test('encodes to the same keys and bytes', () => {
    const again = encodeHeader(decodeHeader(values));
    expect(new Map([...again].map(([key, value]) => [key, value.toString('hex')]))).toEqual(
      new Map(Object.entries(omap)),
    );
  });

  test.each([...values].filter(([key]) => !key.startsWith('metadata_')))(
    'every proper prefix of %s is refused as corrupt',
    async (key, bytes) => {
      const read = (prefix: Buffer) => decodeHeader(new Map([...values, [key, prefix]]));
      expect(await acceptedPrefixes(bytes, read, () => '')).toEqual([]);
    },
  );
});

describe('recorded values', () => {
  test('the clones of a v1 parent', () => {
    const { keyHex, key, valueHex, value } = recorded.values.rbd_children;
    expect(childrenKey.decode(Buffer.from(keyHex, 'hex'))).toEqual(key);
    expect(childrenKey.encode(childrenKey.decode(Buffer.from(keyHex, 'hex'))).toString('hex')).toBe(keyHex);
    expect(childrenValue.decode(Buffer.from(valueHex, 'hex'))).toEqual(value);
    expect(childrenValue.encode(value).toString('hex')).toBe(valueHex);
  });

  test('an image in the trash', () => {
    const { valueHex, value } = recorded.values.rbd_trash;
    const record = trashValue.decode(Buffer.from(valueHex, 'hex'));
    expect(record).toMatchObject(value);
    expect(new Date(utimeToMs(record.deferredUntil)).toISOString()).toMatch(/^(2040-01-01|2039-12-31)T/);
    expect(trashValue.encode(record).toString('hex')).toBe(valueHex);
  });

  test('the directory and the id object', () => {
    const id = recorded.objects['rbd_id.plain'];
    expect(idData.decode(Buffer.from(id?.hex ?? '', 'hex'))).toBe(id?.value);
    expect(idData.encode(String(id?.value)).toString('hex')).toBe(id?.hex);
    const entries = Object.entries(recorded.values.rbd_directory).map(([key, hex]) => [
      parseDirectoryKey(key),
      directoryValue.decode(Buffer.from(hex, 'hex')),
    ]);
    expect(entries).toEqual([
      [{ kind: 'id', of: id?.value }, 'plain'],
      [{ kind: 'name', of: 'plain' }, id?.value],
    ]);
    expect(directoryValue.encode('plain').toString('hex')).toBe(
      recorded.values.rbd_directory[directoryIdKey(String(id?.value))],
    );
    expect(directoryNameKey('plain')).toBe('name_plain');
    expect(parseDirectoryKey('state')).toBeNull();
  });

  test('the header of an image of format 1', async () => {
    const { hex, value } = recorded.objects['old.rbd'] ?? { hex: '', value: null };
    const bytes = Buffer.from(hex, 'hex');
    expect(decodeHeaderV1(bytes)).toEqual(value);
    expect(await acceptedPrefixes(bytes, decodeHeaderV1, () => '')).toEqual([]);
    const migrating = Buffer.concat([Buffer.from('<<< Migrating RBD Image >>>\n'), Buffer.alloc(100)]);
    expect(await outcome(() => decodeHeaderV1(migrating))).toBe('unsupported');
  });
});

test.each(old.values)('old value: $codec $of', async ({ codec, hex, value, same }) => {
  const bytes = Buffer.from(hex, 'hex');
  const decoded = codecOf(codec).decode(bytes);
  expect(decoded).toEqual(value);
  expect(codecOf(codec).encode(decoded).toString('hex') === hex).toBe(same);
  expect(
    await acceptedPrefixes(
      bytes,
      (prefix) => codecOf(codec).decode(prefix),
      () => '',
    ),
  ).toEqual([]);
});

test.each(refused)('refused: $codec $hex', async ({ codec, hex, code, says }) => {
  const error = await refusal(() => codecOf(codec).decode(Buffer.from(hex, 'hex')));
  expect([error?.code, error?.message]).toEqual([code, expect.stringContaining(says)]);
});

test.each(['size', 'order', 'features', 'object_prefix', 'snap_seq'])('a header without %s is refused', async (key) => {
  const values = bytesOf(recorded.headers.plain?.omap ?? {});
  values.delete(key);
  const error = await refusal(() => decodeHeader(values));
  expect([error?.code, error?.message]).toEqual(['corrupt', expect.stringContaining(key)]);
});

test('a snapshot record under the key of another snapshot is refused', async () => {
  const values = bytesOf(recorded.headers.snapshots?.omap ?? {});
  const [key] = [...values.keys()].filter((found) => found.startsWith('snapshot_'));
  values.set('snapshot_00000000000fffff', values.get(key ?? '') ?? Buffer.alloc(0));
  expect((await refusal(() => decodeHeader(values)))?.message).toContain('snapshot_00000000000fffff');
});

test('any header comes back as it was written', () => {
  const id = fc.nat(2 ** 30);
  const text = fc.string({ unit: 'binary', maxLength: 20 });
  const number = fc.oneof(fc.nat(), fc.constantFrom(0, 2 ** 32, Number.MAX_SAFE_INTEGER));
  const time = fc.record({ seconds: fc.nat(), nanoseconds: fc.nat(999_999_999) }, { noNullPrototype: true });
  const pool = fc.integer({ min: -1, max: 2 ** 40 });
  const record = { noNullPrototype: true } as const;
  const namespace = fc.oneof(
    fc.constant({ type: 'user' as const }),
    fc.record({ type: fc.constant('group' as const), pool, groupId: text, groupSnapId: text }, record),
    fc.record({ type: fc.constant('trash' as const), originalName: text, originalType: fc.nat(3) }, record),
    fc.record(
      {
        type: fc.constant('mirror' as const),
        state: fc.nat(3),
        complete: fc.boolean(),
        peerUuids: fc.array(text, { maxLength: 3 }),
        primaryUuid: text,
        primarySnapId: fc.option(number),
        lastCopiedObject: number,
        snapSeqs: fc.array(fc.tuple(number, number), { maxLength: 3 }),
      },
      record,
    ),
    fc.record(
      {
        type: fc.constant('unknown' as const),
        number: fc.integer({ min: 4, max: 2 ** 32 - 1 }),
        body: fc.uint8Array({ maxLength: 9 }).map((bytes) => Buffer.from(bytes)),
      },
      record,
    ),
  );
  const snapshot = fc.record(
    {
      id,
      name: text,
      size: number,
      protection: fc.constantFrom('unprotected' as const, 'unprotecting' as const, 'protected' as const),
      flags: fc.nat(3),
      namespace,
      created: time,
      childCount: fc.nat(9),
      parentOverlap: fc.option(number),
      parent: fc.constant(null),
    },
    record,
  );
  const header: fc.Arbitrary<RbdHeader> = fc.record(
    {
      size: number,
      order: fc.integer({ min: 12, max: 25 }),
      features: number,
      objectPrefix: text,
      snapSeq: number,
      created: fc.option(time),
      accessed: fc.option(time),
      modified: fc.option(time),
      flags: fc.nat(3),
      stripeUnit: fc.integer({ min: 1, max: 2 ** 25 }),
      stripeCount: fc.integer({ min: 2, max: 100 }),
      dataPoolId: fc.option(pool),
      opFeatures: fc.nat(15),
      parent: fc.option(
        fc.record({ pool, namespace: text, imageId: text, snapId: number, overlap: fc.option(number) }, record),
      ),
      snapshots: fc
        .uniqueArray(snapshot, { selector: ({ id: of }) => of, maxLength: 5 })
        .map((all) => all.sort((a, b) => a.id - b.id)),
      snapChildren: fc
        .array(fc.tuple(id, fc.array(fc.record({ pool, imageId: text, namespace: text }, record), { maxLength: 3 })))
        .map((all) => new Map(all)),
      metadata: fc.array(fc.tuple(text, text), { maxLength: 5 }).map((all) => new Map(all)),
      group: fc.option(fc.record({ pool, groupId: text }, record)),
      snapLimit: fc.option(number),
      migration: fc.constant(null),
    },
    record,
  );
  fc.assert(
    fc.property(header, (value) => {
      expect(decodeHeader(encodeHeader(value))).toEqual(value);
    }),
  );
});

test('any bytes are read or refused, never anything else', async () => {
  const all = [...Object.values(codecs), trashValue, groupRefValue, snapChildrenValue, idData] as Codec<unknown>[];
  const piece = fc.oneof(
    fc.constantFrom(0, 1, 2, 3, 5, 8, 30, 0xffffffff).map((value) => {
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32LE(value);
      return bytes;
    }),
    fc.constantFrom('0101', '0808', '0301', '0201', '0202').map((hex) => Buffer.from(hex, 'hex')),
    fc.uint8Array({ maxLength: 9 }),
  );
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...all), fc.array(piece, { maxLength: 25 }), async (value, pieces) => {
      expect(await outcome(() => value.decode(Buffer.concat(pieces)))).toBeTypeOf('string');
    }),
    { numRuns: 3000 },
  );
  await fc.assert(
    fc.asyncProperty(fc.nat(), fc.nat(255), async (at, byte) => {
      const bytes = Buffer.from(recorded.objects['old.rbd']?.hex ?? '', 'hex');
      bytes[at % bytes.length] = byte;
      expect(await outcome(() => decodeHeaderV1(bytes))).toBeTypeOf('string');
    }),
    { numRuns: 500 },
  );
});

describe('names', () => {
  test('of objects', () => {
    expect(objectMapName('19c3781367b4', null)).toBe('rbd_object_map.19c3781367b4');
    expect(objectMapName('19c3781367b4', 70)).toBe('rbd_object_map.19c3781367b4.0000000000000046');
    expect(dataObjectName(objectPrefixOf('1c5c8e0a1506', 1), 255)).toBe('rbd_data.1.1c5c8e0a1506.00000000000000ff');
    expect(dataObjectName(objectPrefixOf('1c5c8e0a1506', null), 0)).toBe('rbd_data.1c5c8e0a1506.0000000000000000');
    expect(dataObjectNameV1('rb.0.1d50.6b8b4567', 16)).toBe('rb.0.1d50.6b8b4567.000000000010');
  });

  test('of bits', () => {
    expect(namesOfFeatures(0x3d)).toEqual(['layering', 'exclusive-lock', 'object-map', 'fast-diff', 'deep-flatten']);
    expect(namesOfFeatures(2 ** 40 + 2)).toEqual(['striping', 'unknown-40']);
    expect(namesOfFlags(3)).toEqual(['object map invalid', 'fast diff invalid']);
    expect(namesOfOpFeatures(9)).toEqual(['clone-parent', 'snap-trash']);
    expect(featureOfName('data-pool')).toBe(0x80);
    expect(featureOfName('no-such')).toBeNull();
  });
});

test('times keep their ms', () => {
  for (const ms of [0, 1, 999, 1_700_000_000_123]) expect(utimeToMs(utimeFromMs(ms))).toBe(ms);
});
