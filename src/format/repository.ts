// The JSON files of a repository, all but manifests. Spec: formats/repository/spec.md

import * as v from 'valibot';
import {
  anything,
  filled,
  format,
  jsonFile,
  later,
  percent,
  pointId,
  positive,
  rising,
  seconds,
  sha256Hex,
  size,
  tags,
  time,
  uuid,
} from './json-file.ts';

export const limits = {
  repositoryBytes: 64 << 10,
  catalogBytes: 256 << 20,
  intentBytes: 64 << 20,
  lockBytes: 64 << 10,
  proofsBytes: 1 << 20,
} as const;

const repositorySchema = v.object({
  format,
  id: uuid,
  created: time,
  /** 32 random bytes in hex. */
  digestKey: sha256Hex,
});
/** `rbdelta.json`: what makes a directory or prefix a repository. */
export type RepositoryFile = v.InferOutput<typeof repositorySchema>;

const level = v.picklist(['audit', 'scrub', 'source', 'rehearse']);

const entrySchema = v.object({
  id: pointId,
  pool: filled,
  namespace: v.string(),
  image: filled,
  imageId: v.string(),
  snapshot: filled,
  /** When the snapshot was made. */
  created: time,
  base: v.nullable(pointId),
  size,
  fingerprint: sha256Hex,
  dataBytes: size,
  storedBytes: size,
  tags,
  pinned: v.boolean(),
  /** That the backup took. */
  seconds,
  /** When each level last proved it; and the levels that did not find it good when they last looked. */
  proofs: v.object({
    audit: v.exactOptional(time),
    scrub: v.exactOptional(time),
    source: v.exactOptional(time),
    rehearse: v.exactOptional(time),
    failed: v.exactOptional(v.array(level)),
  }),
});
export type CatalogEntry = v.InferOutput<typeof entrySchema>;

const catalogSchema = v.object({
  format,
  points: v.pipe(
    v.array(entrySchema),
    v.check((points) => rising(points.map((point) => point.id)), 'sorted by id, each once'),
  ),
});
/** `catalog.json`: a copy of what the manifests of an image tell. */
export type Catalog = v.InferOutput<typeof catalogSchema>;

/** Who began it, and when. */
const begun = { started: time, host: v.string(), version: filled };

const intentSchema = v.variant(
  'operation',
  [
    v.object({
      format,
      operation: v.literal('backup'),
      point: pointId,
      /** `id` is null until the snapshot is there. */
      snapshot: v.object({ name: filled, id: v.nullable(size), ours: v.boolean() }),
      base: v.nullable(pointId),
      baseSnapshot: v.nullable(filled),
      /** What must be the same for a run that goes on. */
      plan: anything,
      ...begun,
    }),
    v.object({ format, operation: v.literal('delete'), points: v.array(pointId), ...begun }),
    v.object({ format, operation: v.literal('rewrite'), point: pointId, ...begun }),
  ],
  later,
);
/** `intent/<operation>.json`: what the writer of an image is about to do. */
export type Intent = v.InferOutput<typeof intentSchema>;

const lockSchema = v.object({
  format,
  owner: v.object({
    host: v.string(),
    pid: positive,
    /** Of the process, in the words of its host; null where that does not tell. */
    startTime: v.nullable(v.string()),
    /** The nonce of the file's name. */
    id: filled,
  }),
  operation: filled,
  acquired: time,
  leaseSeconds: positive,
});
/** `lock/<nonce>.json` */
export type LockFile = v.InferOutput<typeof lockSchema>;

const proofSchema = v.object({
  level,
  finished: time,
  ok: v.boolean(),
  percent,
  /** A sentence: what was proved. */
  what: v.string(),
  version: filled,
});
export type Proof = v.InferOutput<typeof proofSchema>;

const proofsSchema = v.object({
  format,
  /** The newest of each level. */
  proofs: v.pipe(
    v.array(proofSchema),
    v.check((proofs) => new Set(proofs.map((proof) => proof.level)).size === proofs.length, 'one of each level'),
  ),
  /** Where a scrub goes on; null when none was begun. */
  scrubbed: v.nullable(
    v.object({
      /** How much of the frames is done. */
      percent,
      frames: size,
      since: time,
      /** The directory of the index that the frames are of: of another archive, their numbers mean nothing. */
      directorySha256: sha256Hex,
      /** How many of those frames cannot be read, and what is wrong with the first of them. */
      damaged: size,
      first: v.nullable(v.string()),
    }),
  ),
});
/** `proofs.json` of a point. */
export type Proofs = v.InferOutput<typeof proofsSchema>;

const repositoryFile = jsonFile<RepositoryFile>('the repository file', repositorySchema, limits.repositoryBytes, 2);
export const encodeRepositoryFile = repositoryFile.encode;
export const decodeRepositoryFile = repositoryFile.decode;

// Not indented: it has thousands of points.
const catalog = jsonFile<Catalog>('the catalog', catalogSchema, limits.catalogBytes, 0);
export const encodeCatalog = catalog.encode;
export const decodeCatalog = catalog.decode;

const intent = jsonFile<Intent>('the intent', intentSchema, limits.intentBytes, 2);
export const encodeIntent = intent.encode;
export const decodeIntent = intent.decode;

const lockFile = jsonFile<LockFile>('the lock', lockSchema, limits.lockBytes, 2);
export const encodeLockFile = lockFile.encode;
export const decodeLockFile = lockFile.decode;

const proofs = jsonFile<Proofs>('the proofs', proofsSchema, limits.proofsBytes, 2);
export const encodeProofs = proofs.encode;
export const decodeProofs = proofs.decode;
