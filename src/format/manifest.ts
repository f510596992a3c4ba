// The manifest of a point. Spec: formats/manifest/spec.md

import * as v from 'valibot';
import {
  fileName,
  filled,
  format,
  jsonFile,
  later,
  pointId,
  positive,
  rising,
  seconds,
  sha256Hex,
  size,
  tags,
  texts,
  time,
  uuid,
} from './json-file.ts';

export const limits = { manifestBytes: 64 << 20, segments: 1_000_000 } as const;

/** The name of the file in the folder of the point. */
export const manifestName = 'manifest.json';

const wrap = v.literal('plain', later);

const schema = v.pipe(
  v.object({
    format,
    repository: uuid,
    point: pointId,
    image: v.object({
      pool: filled,
      /** '' is the default one. */
      namespace: v.string(),
      name: filled,
      /** '' of a raw file. */
      id: v.string(),
      /** Of the snapshot. */
      size,
      order: size,
      features: size,
      stripeUnit: size,
      stripeCount: size,
      dataPool: v.nullable(filled),
      parent: v.nullable(v.object({ pool: filled, namespace: v.string(), image: filled, snap: filled, overlap: size })),
      metadata: texts,
    }),
    snapshot: v.object({ name: filled, id: size, created: v.nullable(time), ours: v.boolean() }),
    /** The point that the stream starts from; null: this is a full. */
    base: v.nullable(v.object({ point: pointId, snapshot: filled, fingerprint: sha256Hex })),
    created: time,
    finished: time,
    tags,
    pinned: v.boolean(),
    fingerprint: sha256Hex,
    digests: v.object({
      algorithm: v.literal('hmac-sha256-128', later),
      blockBytes: v.literal(65536, later),
    }),
    stream: v.object({ bytes: size, records: size, dataBytes: size, zeroBytes: size }),
    segments: v.pipe(
      v.array(v.object({ name: fileName, bytes: positive, frames: positive, wrap })),
      v.check((list) => list.length > 0 && list.length <= limits.segments, `1 to ${limits.segments} segments`),
      v.check((list) => rising(list.map((segment) => segment.name)), 'in the order of the names, each once'),
    ),
    index: v.pipe(
      v.object({ name: fileName, bytes: positive, directoryBytes: positive, directorySha256: sha256Hex, wrap }),
      v.check(({ bytes, directoryBytes }) => bytes > directoryBytes, 'longer than its directory'),
    ),
    writer: v.object({ rbdelta: filled, host: v.string(), seconds }),
  }),
  v.check(({ segments, index }) => {
    const names = new Set([...segments.map((segment) => segment.name), index.name, manifestName]);
    return names.size === segments.length + 2;
  }, 'of files that are not the same'),
);

export type Manifest = v.InferOutput<typeof schema>;

const file = jsonFile<Manifest>('the manifest', schema, limits.manifestBytes, 2);

export const encodeManifest = file.encode;
export const decodeManifest = file.decode;
