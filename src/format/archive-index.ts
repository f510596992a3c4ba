// The index of an archive: its pages (archive-page.ts), directory and trailer. Spec: formats/archive/spec.md

import { counted } from '../bytes/text.ts';
import { RbdeltaError } from '../error.ts';
import { blockBytes, digestBytes, type EdgeFrame, leastFrameBytes, limits, recordHeaderBytes } from './archive-page.ts';
import { sumBytes } from './fingerprint.ts';
import { putU64, u64At } from './struct.ts';

export {
  blockBytes,
  decodePage,
  digestBytes,
  digestsOf,
  type EdgeFrame,
  type Frame,
  hullOf,
  limits,
  PageEncoder,
  recordHeaderBytes,
} from './archive-page.ts';
export { addSums, subtractSums } from './fingerprint.ts';

/** One page, as the directory knows it. */
export interface PageEntry {
  /** Bytes from the start of the index. */
  position: number;
  bytes: number;
  rawBytes: number;
  /** Bytes of the image, whole blocks: from the hull of the first frame to that of the last. */
  start: number;
  end: number;
  frames: number;
  digests: number;
  /** The first 16 bytes of the SHA-256 of the stored page. */
  hash: Uint8Array;
}

export interface IndexDirectory {
  /** All blocks below this offset of the image have been looked at. */
  reached: number;
  /** 32 bytes: what the frames add to the fingerprint of the base. */
  sum: Uint8Array;
  records: number;
  dataBytes: number;
  zeroBytes: number;
  streamBytes: number;
  header: EdgeFrame | null;
  end: EdgeFrame | null;
  pages: PageEntry[];
}

/** First bytes of an index. */
export const indexMagic = Buffer.from('rbdidx1\n');
const trailerMagic = Buffer.from('rbdidxe\n');
export const trailerBytes = 4 + trailerMagic.length;

/** Last bytes of an index, behind a directory of `directoryBytes`. */
export const encodeTrailer = (directoryBytes: number): Buffer => {
  const trailer = Buffer.alloc(trailerBytes);
  trailer.writeUInt32LE(directoryBytes, 0);
  trailer.set(trailerMagic, 4);
  return trailer;
};

/** Length of the directory, from the last `trailerBytes` of an index. Throws `corrupt`. */
export const decodeTrailer = (bytes: Uint8Array, name = 'an index'): number => {
  const trailer = bufferOf(bytes);
  if (trailer.length !== trailerBytes || !trailer.subarray(4).equals(trailerMagic)) {
    throw new RbdeltaError('corrupt', `${name} is cut off or damaged: it does not end as an index does`);
  }
  const length = trailer.readUInt32LE(0);
  if (length < fixedBytes || length > maxDirectoryBytes || (length - fixedBytes) % entryBytes !== 0) {
    throw new RbdeltaError('corrupt', `${name} is damaged: no directory has ${counted(length, 'byte')}`);
  }
  return length;
};

const edgeBytes = 4 + 8 + 4 + 4 + digestBytes;
const entryBytes = 8 + 4 + 4 + 8 + 8 + 4 + 8 + digestBytes;
const fixedBytes = 1 + 8 + 32 + 4 * 8 + 2 * edgeBytes + 4;
const maxDirectoryBytes = fixedBytes + limits.pages * entryBytes;
const directoryVersion = 1;

/** The bytes of the directory. What breaks a rule of the spec is a bug (RangeError). */
export const encodeDirectory = (directory: IndexDirectory): Buffer => {
  const wrong = directoryFault(directory);
  if (wrong !== null) throw new RangeError(`a directory that must not be: ${wrong}`);
  const { pages } = directory;
  const bytes = Buffer.alloc(fixedBytes + pages.length * entryBytes);
  bytes[0] = directoryVersion;
  putU64(bytes, directory.reached, 1);
  bytes.set(directory.sum, 9);
  putU64(bytes, directory.records, 41);
  putU64(bytes, directory.dataBytes, 49);
  putU64(bytes, directory.zeroBytes, 57);
  putU64(bytes, directory.streamBytes, 65);
  putEdge(bytes, directory.header, 73);
  putEdge(bytes, directory.end, 73 + edgeBytes);
  bytes.writeUInt32LE(pages.length, fixedBytes - 4);
  pages.forEach((page, index) => {
    const at = fixedBytes + index * entryBytes;
    putU64(bytes, page.position, at);
    bytes.writeUInt32LE(page.bytes, at + 8);
    bytes.writeUInt32LE(page.rawBytes, at + 12);
    putU64(bytes, page.start, at + 16);
    putU64(bytes, page.end, at + 24);
    bytes.writeUInt32LE(page.frames, at + 32);
    putU64(bytes, page.digests, at + 36);
    bytes.set(page.hash, at + 44);
  });
  return bytes;
};

/** The directory of an index; hashes and sum are views of `bytes`. Throws `corrupt`, `unsupported` for a new version. */
export const decodeDirectory = (bytes: Uint8Array, name = 'an index'): IndexDirectory => {
  const from = bufferOf(bytes);
  const damaged = (how: string): RbdeltaError =>
    new RbdeltaError('corrupt', `the directory of ${name} is damaged: ${how}`);
  if (from.length > 0 && from[0] !== directoryVersion) {
    const message = `the directory of ${name} is of version ${from[0]}; this rbdelta knows version ${directoryVersion}`;
    throw new RbdeltaError('unsupported', message, { hint: 'a newer rbdelta may read it' });
  }
  if (from.length < fixedBytes) throw damaged(`it ends at byte ${from.length}; its fixed part takes ${fixedBytes}`);
  const count = from.readUInt32LE(fixedBytes - 4);
  if (count > limits.pages) throw damaged(`${count} pages; ${limits.pages} is the most`);
  if (from.length !== fixedBytes + count * entryBytes) {
    throw damaged(`it ends at byte ${from.length}; ${count} pages take ${fixedBytes + count * entryBytes}`);
  }
  const directory: IndexDirectory = {
    reached: u64At(from, 1),
    sum: from.subarray(9, 41),
    records: u64At(from, 41),
    dataBytes: u64At(from, 49),
    zeroBytes: u64At(from, 57),
    streamBytes: u64At(from, 65),
    header: edgeAt(from, 73, damaged),
    end: edgeAt(from, 73 + edgeBytes, damaged),
    pages: [],
  };
  for (let at = fixedBytes; at < from.length; at += entryBytes) {
    directory.pages.push({
      position: u64At(from, at),
      bytes: from.readUInt32LE(at + 8),
      rawBytes: from.readUInt32LE(at + 12),
      start: u64At(from, at + 16),
      end: u64At(from, at + 24),
      frames: from.readUInt32LE(at + 32),
      digests: u64At(from, at + 36),
      hash: from.subarray(at + 44, at + 44 + digestBytes),
    });
  }
  const wrong = directoryFault(directory);
  if (wrong !== null) throw damaged(wrong);
  return directory;
};

const bufferOf = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

const putEdge = (into: Buffer, frame: EdgeFrame | null, at: number): void => {
  if (frame === null) return;
  into.writeUInt32LE(frame.segment, at);
  putU64(into, frame.offset, at + 4);
  into.writeUInt32LE(frame.bytes, at + 12);
  into.writeUInt32LE(frame.rawBytes, at + 16);
  into.set(frame.hash, at + 20);
};

const edgeAt = (from: Buffer, at: number, damaged: (how: string) => RbdeltaError): EdgeFrame | null => {
  const frame = {
    segment: from.readUInt32LE(at),
    offset: u64At(from, at + 4),
    bytes: from.readUInt32LE(at + 12),
    rawBytes: from.readUInt32LE(at + 16),
    hash: from.subarray(at + 20, at + edgeBytes),
  };
  if (frame.bytes > 0) return frame;
  if (from.subarray(at, at + edgeBytes).some((byte) => byte !== 0)) {
    throw damaged(`the frame at byte ${at} has no bytes, but a place`);
  }
  return null;
};

const directoryFault = (directory: IndexDirectory): string | null => {
  const { reached, sum, records, dataBytes, zeroBytes, streamBytes, header, end, pages } = directory;
  const numbers = { reached, records, dataBytes, zeroBytes, streamBytes };
  for (const [field, value] of Object.entries(numbers)) {
    if (!isSize(value)) return `${field} is past 2^53 - 1`;
  }
  if (sum.length !== sumBytes) return `a sum of ${sum.length} bytes`;
  const wrong = edgeFault(header, 'header') ?? edgeFault(end, 'end');
  if (wrong !== null) return wrong;
  if (header !== null && end !== null) {
    const expected = header.rawBytes + records * recordHeaderBytes + dataBytes + end.rawBytes;
    if (streamBytes !== expected) return `a stream of ${streamBytes} bytes; its parts have ${expected}`;
  }
  if (pages.length > limits.pages) return `${pages.length} pages; ${limits.pages} is the most`;
  let position = indexMagic.length;
  let hull = 0;
  for (const [index, page] of pages.entries()) {
    const fault = pageFault(page, position, hull, reached);
    if (fault !== null) return `page ${index}: ${fault}`;
    position += page.bytes;
    hull = page.end;
  }
  return null;
};

const edgeFault = (frame: EdgeFrame | null, which: string): string | null => {
  if (frame === null) return null;
  const { segment, offset, bytes, rawBytes, hash } = frame;
  const fits =
    segment < limits.segments &&
    isSize(offset) &&
    bytes > 0 &&
    bytes <= limits.frameBytes &&
    rawBytes > 0 &&
    rawBytes <= limits.frameRawBytes &&
    hash.length === digestBytes;
  return fits ? null : `the ${which} frame: ${bytes} bytes (${rawBytes} raw) at ${segment}:${offset}`;
};

const pageFault = (page: PageEntry, position: number, hull: number, reached: number): string | null => {
  if (page.position !== position) return `it is at byte ${page.position}; ${position} is expected`;
  if (page.bytes < 1 || page.bytes > limits.pageBytes) return `${page.bytes} stored bytes`;
  if (page.rawBytes > limits.pageRawBytes) return `${page.rawBytes} raw bytes; ${limits.pageRawBytes} is the most`;
  if (page.frames < 1 || page.frames * leastFrameBytes + page.digests * digestBytes > page.rawBytes) {
    return `${page.frames} frames and ${page.digests} digests in ${page.rawBytes} raw bytes`;
  }
  const whole = page.start % blockBytes === 0 && page.end % blockBytes === 0;
  if (
    !whole ||
    page.start >= page.end ||
    page.start < hull ||
    page.end > Math.ceil(reached / blockBytes) * blockBytes
  ) {
    return `hulls from ${page.start} to ${page.end}; the page before ends at ${hull}, all at ${reached}`;
  }
  return page.hash.length === digestBytes ? null : `a hash of ${page.hash.length} bytes`;
};

const isSize = (value: number): boolean => Number.isSafeInteger(value) && value >= 0;
