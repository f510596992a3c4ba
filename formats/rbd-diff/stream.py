"""Builds and takes apart diff streams, plainly: what the vectors are made with, so that the codec is not its own judge."""
import hashlib
import struct

BANNER = {1: b'rbd diff v1\n', 2: b'rbd diff v2\n'}


def u32(value):
    return struct.pack('<I', value)


def u64(value):
    return struct.pack('<Q', value)


def named(name):
    data = name if isinstance(name, bytes) else name.encode('utf-8', 'surrogateescape')
    return u32(len(data)) + data


def record(version, tag, payload, length=None):
    size = u64(len(payload) if length is None else length) if version == 2 else b''
    return tag + size + payload


def write(offset, data, version=1):
    return record(version, b'w', u64(offset) + u64(len(data)) + data)


def zero(offset, length, version=1):
    return record(version, b'z', u64(offset) + u64(length))


def diff(*records, size=None, from_snap=None, to_snap=None, protected=None, version=1, p_length=1, end=b'e'):
    """A stream in the order that rbd writes."""
    parts = [BANNER[version]]
    if from_snap is not None:
        parts.append(record(version, b'f', named(from_snap)))
    if to_snap is not None:
        parts.append(record(version, b't', named(to_snap)))
    if protected is not None:
        parts.append(record(version, b'p', bytes([protected]), p_length))
    if size is not None:
        parts.append(record(version, b's', u64(size)))
    return b''.join([*parts, *records, end])


def describe(stream, at=0):
    """What a valid stream says, as the vectors tell it, and where it ends."""
    version = {banner: number for number, banner in BANNER.items()}[stream[at:at + 12]]
    at += 12
    header = {'fromSnap': None, 'toSnap': None, 'size': None, 'protected': None}
    records = []
    borders = []
    first = True

    def take(count):
        nonlocal at
        at += count
        assert at <= len(stream)
        return stream[at - count:at]

    def number(count=8):
        return int.from_bytes(take(count), 'little')

    while (tag := take(1)) != b'e':
        length = number() if version == 2 else None
        if tag in b'ft':
            header['fromSnap' if tag == b'f' else 'toSnap'] = take(number(4)).decode('utf-8', 'surrogateescape') or None
        elif tag == b'p':
            header['protected'] = take(1) == b'\x01'
        elif tag == b's':
            header['size'] = number()
        elif tag == b'w':
            offset, size = number(), number()
            data = take(size)
            if size > 0:
                records.append(['write', offset, size, hashlib.sha256(data).hexdigest()[:16]])
        elif tag == b'z':
            offset, size = number(), number()
            if size > 0:
                records.append(['zero', offset, size])
            elif first and len(borders) < 2:
                borders.append(offset)
                continue
        else:
            take(length)
        if tag in b'wz':
            first = False
    if len(borders) == 2:
        header['part'] = {'offset': borders[0], 'end': borders[1]}
    return {'version': version, 'header': header, 'records': records}, at
