"""Builds what an archive is made of, plainly: what the vectors are made with, so that the codec is not its own judge."""
import hashlib
import hmac
import struct

BLOCK = 65536
MAGIC = b'rbdidx1\n'
TRAILER = b'rbdidxe\n'


def u32(value):
    return struct.pack('<I', value)


def u64(value):
    return struct.pack('<Q', value)


def varint(value):
    parts = []
    while True:
        value, low = value >> 7, value & 127
        parts.append(low | (128 if value else 0))
        if not value:
            return bytes(parts)


def frame(segment, offset, size, records, runs, digests=None, hash=b'h' * 16, raw=None):
    """What a page tells of one frame. A record or run is (start, length) of data or (start, length, 'zero')."""
    if raw is None:
        raw = sum(17 + (0 if 'zero' in record else record[1]) for record in records)
    if digests is None:
        count = sum(run[1] for run in runs if 'zero' not in run)
        digests = b''.join(hashlib.md5(b'%d of %d' % (number, offset)).digest() for number in range(count))
    return {'segment': segment, 'offset': offset, 'bytes': size, 'rawBytes': raw, 'hash': hash,
            'records': records, 'runs': runs, 'digests': digests}


def pairs(items):
    parts, end = [], 0
    for item in items:
        parts += [varint(item[0] - end), varint(item[1] * 2 + ('zero' in item))]
        end = item[0] + item[1]
    return b''.join(parts)


def entry(f):
    return b''.join([
        varint(f['segment']), varint(f['offset']), varint(f['bytes']), varint(f['rawBytes']), f['hash'],
        varint(len(f['records'])), varint(len(f['runs'])), pairs(f['records']), pairs(f['runs']), f['digests']])


def page(*frames, count=None):
    return varint(len(frames) if count is None else count) + b''.join(map(entry, frames))


def hull(frames):
    last = frames[-1]['runs'][-1]
    return frames[0]['runs'][0][0] * BLOCK, (last[0] + last[1]) * BLOCK


def page_entry(position, size, raw, start, end, frames, digests, hash=b'p' * 16):
    return {'position': position, 'bytes': size, 'rawBytes': raw, 'start': start, 'end': end, 'frames': frames,
            'digests': digests, 'hash': hash}


def edge(segment, offset, size, raw, hash=b'e' * 16):
    return {'segment': segment, 'offset': offset, 'bytes': size, 'rawBytes': raw, 'hash': hash}


def pack_edge(frame):
    if frame is None:
        return bytes(36)
    return (u32(frame['segment']) + u64(frame['offset']) + u32(frame['bytes']) + u32(frame['rawBytes'])
            + frame['hash'])


def directory(d, version=1, count=None):
    return b''.join([
        bytes([version]), u64(d['reached']), d['sum'],
        u64(d['records']), u64(d['dataBytes']), u64(d['zeroBytes']), u64(d['streamBytes']),
        pack_edge(d['header']), pack_edge(d['end']), u32(len(d['pages']) if count is None else count),
        *[u64(p['position']) + u32(p['bytes']) + u32(p['rawBytes']) + u64(p['start']) + u64(p['end'])
          + u32(p['frames']) + u64(p['digests']) + p['hash'] for p in d['pages']]])


def trailer(length):
    return u32(length) + TRAILER


def digest(key, block):
    return hmac.new(key, block.ljust(BLOCK, b'\0'), 'sha256').digest()[:16]


def element(key, number, of_block):
    """What a block adds to the fingerprint."""
    return int.from_bytes(hmac.new(key, b'state' + u64(number) + of_block, 'sha256').digest(), 'little')


def fingerprint(key, image):
    total = 0
    for number in range((len(image) + BLOCK - 1) // BLOCK):
        block = image[number * BLOCK:(number + 1) * BLOCK]
        if any(block):
            total += element(key, number, digest(key, block))
    return (total % 2 ** 256).to_bytes(32, 'little')


def plain(value):
    """As JSON has it: bytes in hex."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, (list, tuple)) else value
