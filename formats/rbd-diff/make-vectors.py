"""Writes what is not recorded in vectors/: python3 make-vectors.py. It is not the codec, and shares nothing with it."""
import json
import os

from stream import BANNER, describe, diff, named, record, u32, u64, write, zero

here = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'vectors')
E = b'e'
page = bytes(range(256)) * 16

made = {
    'v1-everything': diff(write(0, page), zero(8192, 4096), write(12288, b'x'), from_snap='a', to_snap='b', size=12289),
    'v1-protected': diff(to_snap='b', protected=1, size=4096),
    'v1-no-size': diff(write(5, b'five'), zero(2 ** 53 - 2, 1)),
    'v1-nothing-at-all': diff(),
    'v1-empty-image': diff(size=0),
    'v1-largest-size': diff(zero(0, 2 ** 53 - 1), size=2 ** 53 - 1),
    'v1-empty-end-name': BANNER[1] + record(1, b't', named('')) + record(1, b's', u64(9)) + E,
    'v1-metadata-in-any-order-and-twice': BANNER[1] + b''.join([
        record(1, b's', u64(1)), record(1, b't', named('x')), record(1, b'f', named('y')), record(1, b's', u64(7)),
        record(1, b't', named('to')), record(1, b'f', named('from')), write(0, b'seven..')]) + E,
    'v1-zero-length-records': diff(write(0, b''), zero(0, 0), write(4, b'data'), zero(2, 0), write(8, b''), size=8),
    'v1-first-part': diff(zero(0, 0), zero(6, 0), write(1, b'part'), from_snap='a', size=20),
    'v1-last-part': diff(zero(6, 0), zero(20, 0), zero(6, 14), from_snap='a', to_snap='b', size=20),
    'v1-empty-part': diff(zero(3, 0), zero(9, 0), size=20) + diff(zero(9, 0), zero(9, 0), size=20),
    'v1-one-empty-record-is-no-part': diff(zero(3, 0), zero(3, 1), size=20) + diff(zero(3, 0), size=20),
    'v2-part': diff(zero(3, 0, 2), zero(9, 0, 2), write(3, b'middle', 2), size=20, version=2),
    'v1-unsorted': diff(write(4096, b'later'), zero(0, 10), write(5, b'over'), size=8192),
    'v1-chain': diff(write(0, b'1'), to_snap='one', size=10) + diff(zero(0, 1), from_snap='one', to_snap='two', size=5)
        + diff(from_snap='two', size=5),
    'v2-length-8-protection': diff(write(0, page, 2), zero(8192, 1, 2), from_snap='a', to_snap='b', protected=0, size=8193,
                                   version=2, p_length=8),
    'v2-length-1-protection': diff(write(0, page, 2), zero(8192, 1, 2), from_snap='a', to_snap='b', protected=1, size=8193,
                                   version=2),
    'v2-head': diff(write(100, b'abc', 2), from_snap='b', size=8193, version=2),
    'v2-unknown-tags': diff(record(2, b'?', b'whatever'), write(0, b'a', 2), record(2, b'!', b''), zero(1, 1, 2), size=9,
                            version=2),
}
not_the_same = {'v1-empty-end-name', 'v1-metadata-in-any-order-and-twice', 'v1-zero-length-records',
                'v1-one-empty-record-is-no-part',
                'v2-length-8-protection', 'v2-unknown-tags'}

refused = {
    'not a diff': (b'hello, this is no diff', 'invalid', 'is not an rbd diff stream'),
    'zeros': (bytes(512), 'invalid', 'zeros'),
    'an image export': (b'rbd image v2\nO' + u64(8) + u64(22), 'invalid', 'image export'),
    'a later version': (b'rbd diff v3\ne', 'invalid', 'unknown version'),
    'zstd': (bytes.fromhex('28b52ffd04580100006279652e'), 'invalid', 'zstd'),
    'gzip': (bytes.fromhex('1f8b08000000000000034bcc'), 'invalid', 'gzip'),
    'qcow2': (b'QFI\xfb\0\0\0\3' + bytes(64), 'invalid', 'qcow2'),
    'banner cut off': (b'rbd diff v', 'corrupt', 'inside the banner'),
    'unknown tag in v1': (diff(b'?whatever', size=1), 'corrupt', "unknown tag byte 63 ('?') at byte 21"),
    'unknown tag between records': (diff(write(0, b'a'), b'\xff', size=1), 'corrupt', 'unknown tag byte 255 at byte 39'),
    'v2 record in v1': (diff(write(0, b'a', 2), size=5), 'corrupt', 'past the image size'),
    'empty start name': (diff(from_snap='', size=1), 'invalid', 'empty name'),
    'start name too long': (diff(from_snap='n' * 4097, size=1), 'invalid', '4097 bytes; 4096 is the most'),
    'end name of 4 GiB': (BANNER[1] + b't' + u32(2 ** 32 - 1) + b'abc', 'invalid', '4294967295 bytes; 4096 is the most'),
    'size past 2^53': (diff(size=2 ** 53), 'corrupt', 'past 2^53 - 1'),
    'protection of 2': (diff(to_snap='b', protected=2, size=1), 'corrupt', 'neither 0 nor 1'),
    'write past the end': (diff(write(1, b'ab'), size=2), 'corrupt', 'write record 1~2 at byte 21'),
    'zero past the end': (diff(zero(0, 3), size=2), 'corrupt', 'zero record 0~3 at byte 21'),
    'empty record past the end': (diff(zero(3, 0), size=2), 'corrupt', 'zero record 3~0'),
    'write of 2^64 - 1 bytes': (diff(b'w' + u64(0) + u64(2 ** 64 - 1) + b'ab'), 'corrupt',
                               '0~18446744073709551615 at byte 12 of the rbd diff ends past 2^53 - 1'),
    'offset of 2^63': (diff(b'z' + u64(2 ** 63) + u64(1)), 'corrupt', 'record 9223372036854775808~1 at byte'),
    'offset and length past 2^53': (diff(zero(2 ** 53 - 2, 2)), 'corrupt', 'past 2^53 - 1'),
    'descending': (diff(write(10, b'a'), write(0, b'a'), size=20), 'corrupt', 'begins before 11'),
    'overlapping': (diff(zero(0, 11), write(10, b'a'), size=20), 'corrupt', 'begins before 11'),
    'part that ends before it begins': (diff(zero(4, 0), zero(3, 0), size=9), 'corrupt', 'goes from 4 to 3'),
    'part past the end': (diff(zero(4, 0), zero(10, 0), size=9), 'corrupt', 'goes from 4 to 10'),
    'part up to 2^64 - 1': (diff(zero(4, 0), zero(2 ** 64 - 1, 0)), 'corrupt', 'from 4 to 18446744073709551615'),
    'record before its part': (diff(zero(4, 0), zero(6, 0), write(3, b'ab'), size=9), 'corrupt', 'not inside the part from 4 to 6'),
    'record past its part': (diff(zero(4, 0), zero(6, 0), write(5, b'ab'), size=9), 'corrupt', 'not inside the part from 4 to 6'),
    'size after a record': (diff(write(0, b'a'), record(1, b's', u64(1)), size=1), 'corrupt', 'image size at byte 39'),
    'end name after a record': (diff(zero(0, 1), record(1, b't', named('x')), size=1), 'corrupt', 'end snapshot at byte 38'),
    'protection after a record': (diff(zero(0, 1), b'p\1', size=1), 'corrupt', 'protection record at byte 38'),
    'v2 unknown record too long': (diff(record(2, b'?', b'', 2 ** 40), size=1, version=2), 'corrupt', 'unknown tag byte 63'),
    'v2 unknown record of 2^63 + 1 bytes': (diff(record(2, b'?', b'', 2 ** 63 + 1), size=1, version=2), 'corrupt',
                                            'says 9223372036854775809 bytes'),
    'v2 size of 1 byte': (BANNER[2] + record(2, b's', u64(1), 1) + E, 'corrupt', 'says 1 byte, its fields take 8'),
    'v2 size of 2^64 - 1 bytes': (BANNER[2] + record(2, b's', u64(1), 2 ** 64 - 1) + E, 'corrupt',
                                  'says 18446744073709551615 bytes'),
    'v2 size of the wrong length': (BANNER[2] + record(2, b's', u64(1), 9) + E, 'corrupt', 'says 9 bytes, its fields take 8'),
    'v2 write of the wrong length': (diff(record(2, b'w', u64(0) + u64(1) + b'a', 16), version=2), 'corrupt', 'take 17'),
    'v2 name of the wrong length': (BANNER[2] + record(2, b't', named('abc'), 8) + E, 'corrupt', 'says 8 bytes, its fields take 7'),
    'bytes after the end': (diff(size=1) + b'garbage after the end', 'corrupt', 'what follows at byte 22'),
    'cut off in the second of a chain': (diff(size=1) + diff(size=1)[:-1], 'corrupt', 'ends at byte 43'),
}


def main():
    for name, stream in made.items():
        with open(os.path.join(here, f'made-{name}.diff'), 'wb') as out:
            out.write(stream)
    valid = {}
    for file in sorted(os.listdir(here)):
        if not file.endswith('.diff'):
            continue
        with open(os.path.join(here, file), 'rb') as opened:
            stream = opened.read()
        diffs, at = [], 0
        while at < len(stream):
            said, at = describe(stream, at)
            diffs.append(said)
        name = file.removeprefix('made-').removesuffix('.diff')
        valid[file] = {'order': 'any' if name == 'v1-unsorted' else 'ascending', 'same': name not in not_the_same, 'diffs': diffs}
    vectors = {
        'valid': valid,
        'refused': {name: {'hex': stream.hex(), 'code': code, 'says': says} for name, (stream, code, says) in refused.items()},
    }
    with open(os.path.join(here, 'vectors.json'), 'w') as out:
        json.dump(vectors, out, indent=1)
        out.write('\n')


main()
