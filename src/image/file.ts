// A raw file or block device as an image: source of a full, and target. No snapshots, no object map.

import { constants, type Stats } from 'node:fs';
import { access, type FileHandle, lstat, open, unlink } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { errnoOf, ioFailure } from '../bytes/errno.ts';
import { fsyncDirectory } from '../bytes/sink.ts';
import { isZero } from '../bytes/zero.ts';
import { RbdeltaError } from '../error.ts';
import type { Image, ImageInfo, WritableImage } from './port.ts';

/** Opens to read. 'notFound', 'permission'; 'invalid' for what is neither a regular file nor a block device. */
export async function openFileImage(path: string): Promise<Image> {
  return reading(await openRegularOrDevice(path, constants.O_RDONLY));
}

/**
 * Opens to write; a regular file that is not there is created (mode 0644). With `exclusive`, one that is there is
 * refused ('exists'). With `size`, it is made as long. A block device that is mounted or otherwise held is 'busy'; it
 * keeps its length: an image may be shorter, and is refused ('noSpace') when it is longer.
 */
export async function openFileToWrite(
  path: string,
  options: { size?: number; exclusive?: boolean } = {},
): Promise<FileTarget> {
  const file = await openToWrite(path, options.exclusive === true);
  try {
    const image = file.device ? writingDevice(file) : await writingFile(file);
    if (options.size !== undefined) await image.resize(options.size);
    const discard = async (): Promise<void> => {
      await file.handle.close();
      if (!file.created) return;
      await unlink(path).catch((error: unknown) => {
        if (errnoOf(error) !== 'ENOENT') throw ioFailure(error, `cannot remove "${path}"`);
      });
    };
    return { ...image, isDevice: file.device, created: file.created, discard };
  } catch (error) {
    await file.handle.close();
    if (file.created) await unlink(path);
    throw error;
  }
}

/** Fails as `openFileToWrite` with `exclusive` would, as far as that can be told without making the file. */
export async function checkNewFile(path: string): Promise<void> {
  const task = `cannot open "${path}"`;
  const missing = await lstat(path).then(
    () => null,
    (error: unknown) => error,
  );
  if (missing === null) throw new RbdeltaError('exists', `${task}: it exists already`);
  if (errnoOf(missing) !== 'ENOENT') throw ioFailure(missing, task);
  await access(dirname(path), constants.W_OK | constants.X_OK).catch((error: unknown) => {
    throw ioFailure(errnoOf(error) === 'ENOENT' ? missing : error, task);
  });
}

export interface FileTarget extends WritableImage {
  isDevice: boolean;
  /** It was not there before. */
  created: boolean;
  /** Instead of `close`: closes, and removes the file if it was created here. */
  discard(): Promise<void>;
}

interface OpenFile {
  path: string;
  handle: FileHandle;
  device: boolean;
  created: boolean;
  /** Bytes of the image: of a device, at most its length. */
  size(): Promise<number>;
}

async function openToWrite(path: string, exclusive: boolean): Promise<OpenFile> {
  try {
    return await openRegularOrDevice(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL);
  } catch (error) {
    if (exclusive || !(error instanceof RbdeltaError && error.code === 'exists')) throw error;
  }
  const file = await openRegularOrDevice(path, constants.O_RDWR);
  if (!file.device) return file;
  await file.handle.close();
  // For a device, O_EXCL without O_CREAT means: only if nothing has mounted or claimed it.
  return openRegularOrDevice(path, constants.O_RDWR | constants.O_EXCL);
}

async function openRegularOrDevice(path: string, flags: number): Promise<OpenFile> {
  const created = (flags & constants.O_CREAT) !== 0;
  const handle = await open(path, flags, 0o644).catch((error: unknown) => {
    throw ioFailure(error, `cannot open "${path}"`, hints[errnoOf(error) ?? '']);
  });
  try {
    const stats = await handle.stat();
    if (!stats.isFile() && !stats.isBlockDevice())
      throw new RbdeltaError('invalid', `"${path}" is neither a regular file nor a block device`);
    const device = stats.isBlockDevice();
    const deviceBytes = device ? await lengthByReading(handle, path) : 0;
    return { path, handle, device, created, size: async () => (device ? deviceBytes : (await handle.stat()).size) };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

const hints: Record<string, string> = {
  EBUSY: 'the device is mounted or in use: unmount it first',
  EEXIST: 'remove it or choose another path',
};

/** Node cannot seek: the end of a device is found by doubling and halving reads of one byte, about 80 of them. */
async function lengthByReading(handle: FileHandle, path: string): Promise<number> {
  const byte = Buffer.allocUnsafe(1);
  const has = async (offset: number): Promise<boolean> => (await readOnce(handle, path, byte, offset)) > 0;
  let beyond = 512;
  while (beyond < 2 ** 52 && (await has(beyond - 1))) beyond *= 2;
  let length = 0;
  // Inside: every byte before `length` is there, that at `beyond - 1` is not (or is the last that counts).
  while (length < beyond) {
    const middle = length + Math.ceil((beyond - length) / 2);
    if (await has(middle - 1)) length = middle;
    else beyond = middle - 1;
  }
  return length;
}

function reading(file: OpenFile): Image {
  const { path, handle } = file;
  return {
    kind: 'file',
    info: async () => infoOf(path, await file.size(), await handle.stat()),
    objectMap: async () => null,
    async changedExtents(fromSnap, range, emit) {
      if (fromSnap !== null) throw noSnapshots(path);
      // Node cannot ask for holes, and not every file system says how many blocks it uses: all of it may be data.
      const end = Math.min(range.offset + range.length, await file.size());
      if (end > range.offset) emit(range.offset, end - range.offset, true);
    },
    async read(offset, into) {
      for (let filled = 0; filled < into.length; ) {
        const count = await readOnce(handle, path, into.subarray(filled), offset + filled);
        if (count === 0)
          throw new RbdeltaError('io', `"${path}" ends at byte ${offset + filled}, ${offset + into.length} expected`);
        filled += count;
      }
    },
    parent: async () => null,
    close: () => handle.close(),
  };
}

/** What both kinds of target have in common. Offsets inside `size` are the caller's promise. */
function writing(file: OpenFile): Omit<WritableImage, 'writeZeroes' | 'resize'> {
  const { path, handle } = file;
  const refuse = async (): Promise<never> => {
    throw noSnapshots(path);
  };
  return {
    ...reading(file),
    hasSnapshots: false,
    async write(offset, data) {
      await attempt(path, async () => {
        for (let written = 0; written < data.length; )
          written += (await handle.write(data, written, data.length - written, offset + written)).bytesWritten;
      });
    },
    flush: () =>
      attempt(path, async () => {
        await handle.datasync();
        if (file.created) await fsyncDirectory(dirname(path));
      }),
    createSnapshot: refuse,
    removeSnapshot: refuse,
    protectSnapshot: refuse,
    unprotectSnapshot: refuse,
    rollback: refuse,
  };
}

async function writingFile(file: OpenFile): Promise<WritableImage> {
  const { path, handle } = file;
  // Not asked for again: while the tail is cut off, the file is shorter than the image.
  let bytes = await file.size();
  const base = writing({ ...file, size: async () => bytes });
  return {
    ...base,
    async writeZeroes(offset, length) {
      if (offset + length < bytes) return overwriteWithZeroes(base, offset, length);
      // The tail can be cut off and grown again: that leaves a hole.
      await attempt(path, async () => {
        await handle.truncate(offset);
        await handle.truncate(bytes);
      });
    },
    async resize(size) {
      await attempt(path, () => handle.truncate(size));
      bytes = size;
    },
  };
}

function writingDevice(file: OpenFile): WritableImage {
  const { path } = file;
  const device = { ...file };
  let bytes: number | null = null;
  device.size = async () => bytes ?? (await file.size());
  const base = writing(device);
  return {
    ...base,
    writeZeroes: (offset, length) => overwriteWithZeroes(base, offset, length),
    async resize(size) {
      const deviceBytes = await file.size();
      if (size > deviceBytes)
        throw new RbdeltaError('noSpace', `"${path}" has ${deviceBytes} bytes, the image needs ${size}`, {
          hint: 'choose a device that is at least as large',
        });
      const old = bytes ?? deviceBytes;
      // What an image grows by reads as zeros; a device would show what was there before.
      if (size > old) await overwriteWithZeroes(base, old, size - old);
      bytes = size;
    },
  };
}

const zeroBytes = 1 << 20;

/** Zeros are written only where there are none yet, so that holes stay holes. */
async function overwriteWithZeroes(
  image: Pick<WritableImage, 'read' | 'write'>,
  offset: number,
  length: number,
): Promise<void> {
  const found = Buffer.allocUnsafe(Math.min(zeroBytes, length));
  for (let done = 0; done < length; ) {
    const piece = found.subarray(0, Math.min(zeroBytes - ((offset + done) % zeroBytes), found.length, length - done));
    await image.read(offset + done, piece);
    if (!isZero(piece)) await image.write(offset + done, piece.fill(0));
    done += piece.length;
  }
}

function infoOf(path: string, size: number, stats: Stats): ImageInfo {
  const order = 22;
  return {
    id: '',
    name: basename(path),
    pool: '',
    namespace: '',
    format: 2,
    size,
    order,
    stripeUnit: 2 ** order,
    stripeCount: 1,
    features: 0,
    opFeatures: 0,
    flags: 0,
    objectPrefix: '',
    dataPool: null,
    createdMs: stats.birthtimeMs,
    modifiedMs: stats.mtimeMs,
    accessedMs: stats.atimeMs,
    parent: null,
    snapshotLimit: null,
    snapshots: [],
    snapshot: null,
  };
}

async function readOnce(handle: FileHandle, path: string, into: Uint8Array, offset: number): Promise<number> {
  try {
    return (await handle.read(into, 0, into.length, offset)).bytesRead;
  } catch (error) {
    throw ioFailure(error, `cannot read "${path}"`);
  }
}

async function attempt(path: string, act: () => Promise<void>): Promise<void> {
  try {
    await act();
  } catch (error) {
    throw ioFailure(error, `cannot write "${path}"`);
  }
}

const noSnapshots = (path: string): RbdeltaError =>
  new RbdeltaError('unsupported', `"${path}" is a file: files have no snapshots`);
