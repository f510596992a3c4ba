// rbdelta as a library: open images, make diffs of them, put diffs onto them, and read and write the streams.

// Failures, and where bytes come from and go to.
export { type ErrorCode, exitStatus, RbdeltaError } from './error.ts';
export { ByteReader } from './bytes/reader.ts';
export { type ByteSink, createFileSink, fdSink, memorySink } from './bytes/sink.ts';
export { type ByteSource, bytesSource, chunkSource, fdSource, fileSource } from './bytes/source.ts';
export { createSink, openSource } from './ops/path.ts';

// The formats.
export {
  type DiffHeader,
  type DiffRecord,
  type DiffStream,
  type DiffVersion,
  encodeDiff,
  openDiff,
} from './format/rbd-diff.ts';
export { decodeObjectMap, encodeObjectMap, type ObjectMap } from './format/object-map.ts';
export type { ChangedExtent, Extent } from './diff/extent.ts';

// Where images live. Nothing native is loaded before it is called.
export type {
  Cluster,
  CreateOptions,
  Image,
  ImageInfo,
  Progress,
  Snapshot,
  WritableImage,
} from './image/port.ts';
export { formatSpec, type ImageSpec, parseSpec } from './image/spec.ts';
export { openFileImage, openFileToWrite } from './image/file.ts';
export { type CephOptions, connectCeph } from './image/ceph/index.ts';

/** A directory as a cluster of its own. See `openLocalPool` in src/image/local. */
export const openLocalPool = async (dir: string): Promise<import('./image/local/index.ts').LocalPool> =>
  (await import('./image/local/index.ts')).openLocalPool(dir);
export type { LocalPool } from './image/local/index.ts';

// The verbs.
export { type ExportDiffOptions, type ExportDiffResult, exportDiff } from './ops/export-diff.ts';
export { type ImportDiffOptions, type ImportResult, importDiff } from './ops/import-diff.ts';
export { type MergeDiffOptions, type MergeDiffResult, type MergeInput, mergeDiff } from './ops/merge-diff.ts';
export { diffExtents } from './ops/diff.ts';
export { changedExtents, type DiffPlan, diffStream, type PlanOptions, planDiff } from './ops/changes.ts';
export { type ExportOptions, exportImage, exportRaw, exportRawToFile } from './ops/export.ts';
export { type ImportOptions, type ImportedImage, importImage, importRaw } from './ops/import.ts';
export { type CopiedImage, type CopyImageOptions, copyImage } from './ops/copy-image.ts';
export { type DeepCopyImageOptions, deepCopyImage } from './ops/deep-copy.ts';
export { type InspectOptions, inspectStream, type StreamReport } from './ops/inspect.ts';
export { doctor, type DoctorQuestion, type Finding } from './ops/doctor.ts';

// Repositories: points of images, in a directory or on S3.
export { type OpenStoreOptions, openStore } from './store/open.ts';
export type { Store, StoredObject } from './store/port.ts';
export { initRepository, openRepository, type Repository } from './repo/repository.ts';
export { images, readPoints } from './repo/catalog.ts';
export { type FoundPoint, findImages, findPoint } from './repo/find-point.ts';
export { type Chain, loadChain } from './repo/chain.ts';
export { chainDiff } from './repo/chain-diff.ts';
export type { ImageName } from './repo/keys.ts';
export type { Policy } from './repo/retention.ts';
export { type BackupOptions, type BackupResult, backup, dryBackup } from './ops/backup.ts';
export { type BackupSource, fileBackupSource, imageSource } from './ops/backup-source.ts';
export {
  type Restored,
  type RestoreOptions,
  restoreOverFile,
  restoreOverImage,
  restoreToFile,
  restoreToImage,
  restoreToSink,
} from './ops/restore.ts';
export { type ForgetOptions, type Forgotten, flatten, forget, planPrune, prune } from './ops/forget.ts';
export { type CopyOptions, copyPoints } from './ops/copy-points.ts';
export { type CheckReport, checkRepository } from './ops/repo-check.ts';
export { Verifier, type VerifiedPoint, type VerifyOptions } from './ops/repo-verify.ts';
