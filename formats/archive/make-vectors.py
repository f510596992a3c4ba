"""Writes vectors/: python3 make-vectors.py. It is not the codec, and shares nothing with it."""
import json
import os
import random

from index import (BLOCK, TRAILER, digest, directory, edge, entry, fingerprint, frame, page, page_entry, plain,
                   trailer, u32, varint)

here = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'vectors')


def save(name, value):
    with open(os.path.join(here, name), 'w') as out:
        out.write(json.dumps(plain(value), indent=1) + '\n')


def splice(data, at, new, length=None):
    return data[:at] + new + data[at + (len(new) if length is None else length):]


# pages

one = frame(0, 57, 1000, [(0, 4096)], [(0, 1)])
two = frame(0, 1057, 30, [(3 * BLOCK, 5 * BLOCK, 'zero')], [(3, 5, 'zero')])
mixed = frame(3, 128 << 20, 70000, [
    (BLOCK - 512, 1024), (BLOCK + 512, 512, 'zero'), (2 * BLOCK, 3 * BLOCK, 'zero'), (9 * BLOCK + 5, 3)],
    [(0, 2), (2, 3, 'zero'), (7, 1), (8, 1, 'zero'), (9, 2)])
far = frame(0, 57, 24, [(2 ** 50, 2 ** 51, 'zero')], [(2 ** 34, 2 ** 35, 'zero')])
tiny = [(index * 2 * BLOCK + 100, 1) for index in range(16384)]
many = frame(0, 57, 300000, tiny, [(index * 2, 1) for index in range(16384)], b'd' * 16 * 16384)
dense = [frame(index // 50, 57 * (index < 50) + index % 50 * 4000000, 4000000, [(index << 22, 4 << 20)], [(index << 6, 64)])
         for index in range(61)]
valid = {
    'one frame of one record': [one],
    'data, then zeros': [one, two],
    'the next segment': [one, frame(1, 0, 12, [(BLOCK, 1)], [(1, 1)])],
    'records inside of blocks, and blocks that were only looked at': [mixed],
    'large numbers': [far],
}
large = {'as many records as a frame may have': [many], 'as many frames as fit': dense}

whole = page(one, two)
body = entry(one)
refused = {
    'empty': (b'', 'ends at byte 0'),
    'no frames': (page(), 'no frames'),
    'more frames than are there': (page(mixed, count=2), 'frame 1: the page ends at byte'),
    'more frames than there are bytes': (page(one, count=2 ** 40), '1099511627776 frames do not fit'),
    'bytes left over': (whole + b'\0', '1 byte left over'),
    'a number that is longer than it must be': (b'\x81\x00' + body, 'longer than it must be'),
    'a number past 2^53 - 1': (splice(page(one), 1, varint(2 ** 53), 1), 'past 2^53 - 1'),
    'a number without an end': (b'\x01' + b'\xff' * 60, 'past 2^53 - 1'),
    'a segment that cannot be': (page(frame(1000000, 0, 10, [(0, 1)], [(0, 1)])), 'segment 1000000'),
    'no stored bytes': (page(frame(0, 57, 0, [(0, 1)], [(0, 1)])), '0 stored bytes'),
    'too many stored bytes': (page(frame(0, 57, 4260865, [(0, 1)], [(0, 1)])), '4260865 stored bytes'),
    'no records': (page(frame(0, 57, 9, [], [(0, 1)])), '0 records'),
    'no runs': (page(frame(0, 57, 9, [(0, 1)], [])) + b'\0' * 4, 'no runs'),
    'more records than a frame may have': (page(frame(0, 57, 9, [(index * 2, 1) for index in range(16385)], [(0, 1)])), '16385 records'),
    'more records than there are bytes': (
        page(one)[:1 + 22] + varint(2 ** 50) + page(one)[24:], '1125899906842624 records do not fit'),
    'more blocks than there are digests': (page(frame(0, 57, 9, [(0, 1)], [(0, 2 ** 36)], b'd' * 16)), 'the digests'),
    'an empty record': (page(frame(0, 57, 9, [(0, 0), (5, 1)], [(0, 1)])), 'length 0'),
    'a record past 2^53 - 1': (page(frame(0, 57, 9, [(2 ** 52, 2 ** 52 - 1, 'zero'), (2 ** 53 - 1, 1)], [(0, 1)])), 'a piece of length'),
    'a run past 2^53 bytes': (page(frame(0, 57, 9, [(0, 1)], [(0, 1), (2 ** 37, 1)])), '2^53'),
    'too much payload': (page(frame(0, 57, 9, [(0, (4 << 20) + 1)], [(0, 65)])), 'payload'),
    'raw bytes that are not those of the records': (page({**one, 'rawBytes': 4096}), '4096 raw bytes'),
    'a block that no run tells of': (page(frame(0, 57, 9, [(BLOCK - 1, 2)], [(0, 1)])), 'block 1'),
    'a block between runs': (page(frame(0, 57, 9, [(0, 3 * BLOCK)], [(0, 1), (2, 1)])), 'block 1'),
    'frames that overlap in the image': (page(one, frame(0, 1057, 9, [(5000, 1)], [(0, 1)])), 'frame 1: it begins at block 0'),
    'frames that overlap in the segment': (page(one, frame(0, 1056, 9, [(BLOCK, 1)], [(1, 1)])), 'frame 1: it is at 0:1056'),
    'a gap between frames': (page(one, frame(1, 1, 9, [(BLOCK, 1)], [(1, 1)])), 'frame 1: it is at 1:1'),
    'a segment that is left out': (page(one, frame(2, 0, 9, [(BLOCK, 1)], [(1, 1)])), 'frame 1: it is at 2:0'),
    'a segment that came before': (page(mixed, frame(0, 0, 9, [(20 * BLOCK, 1)], [(20, 1)])), 'frame 1: it is at 0:0'),
    'a frame behind a full page': (
        page(frame(0, 57, 9, [(0, 1)], [(0, 4096)], b'd' * 65536), frame(0, 66, 9, [(5000 * BLOCK, 1)], [(5000, 1)])),
        'frame 1: it begins at byte'),
    'a page that is too large': (b'\x01' * (1024 * 1028 + 1), '1052672 is the most'),
}
assert len(one['hash']) == 16 and page(one)[22 + 1] == 1
save('pages.json', {
    'valid': {name: {'hex': page(*frames), 'frames': frames} for name, frames in valid.items()},
    'refused': {name: {'hex': data, 'says': says} if len(data) < 4096 else
                {'start': data[:64], 'bytes': len(data), 'says': says} if data.count(data[:1]) == len(data) else
                {'hex': data, 'says': says} for name, (data, says) in refused.items()},
})
for name, frames in large.items():
    with open(os.path.join(here, name.replace(' ', '-') + '.page'), 'wb') as out:
        out.write(page(*frames))

# directories and trailers

full = {
    'reached': 10 * BLOCK - 100, 'sum': bytes(range(32)), 'records': 3, 'dataBytes': 4097, 'zeroBytes': 2 ** 40,
    'streamBytes': 51 + 3 * 17 + 4097 + 1,
    'header': edge(0, 0, 60, 51), 'end': edge(1, 2 ** 27, 14, 1),
    'pages': [page_entry(8, 500, 900, 0, 2 * BLOCK, 3, 7), page_entry(508, 70, 99, 8 * BLOCK, 10 * BLOCK, 1, 1)],
}
empty = {'reached': 0, 'sum': bytes(32), 'records': 0, 'dataBytes': 0, 'zeroBytes': 0, 'streamBytes': 0,
         'header': None, 'end': None, 'pages': []}
part = {**full, 'reached': 2 ** 53 - 1, 'header': None, 'end': None, 'streamBytes': 2 ** 53 - 1, 'sum': b'\xff' * 32}


def paged(index, **fields):
    pages = [dict(inner) for inner in full['pages']]
    pages[index].update(fields)
    return directory({**full, 'pages': pages})


data = directory(full)
refused = {
    'empty': (b'', 'corrupt', 'ends at byte 0'),
    'a later version': (directory(full, version=2), 'unsupported', 'version 2'),
    'cut off in its fixed part': (data[:100], 'corrupt', 'ends at byte 100'),
    'cut off in a page': (data[:-1], 'corrupt', f'ends at byte {len(data) - 1}; 2 pages take {len(data)}'),
    'more than it should be': (data + b'\0', 'corrupt', f'ends at byte {len(data) + 1}'),
    'more pages than are there': (directory(full, count=3), 'corrupt', '3 pages take'),
    'more pages than there may be': (directory(full, count=4000001), 'corrupt', '4000001 pages'),
    'reached past 2^53 - 1': (directory({**full, 'reached': 2 ** 53}), 'corrupt', 'reached'),
    'records past 2^53 - 1': (directory({**full, 'records': 2 ** 64 - 1}), 'corrupt', 'records'),
    'a stream that is not its parts': (directory({**full, 'streamBytes': 5}), 'corrupt', 'a stream of 5 bytes; its parts have 4200'),
    'a frame of no bytes at a place': (directory({**full, 'header': edge(0, 0, 0, 1)}), 'corrupt', 'byte 73'),
    'a header in a segment that cannot be': (directory({**full, 'header': edge(1000000, 0, 60, 51)}), 'corrupt', 'the header frame'),
    'an end frame that is too long': (directory({**full, 'end': edge(1, 0, 2 ** 32 - 1, 1)}), 'corrupt', 'the end frame'),
    'a first page that is elsewhere': (paged(0, position=9), 'corrupt', 'page 0: it is at byte 9'),
    'a gap between pages': (paged(1, position=509), 'corrupt', 'page 1: it is at byte 509; 508'),
    'a page of no bytes': (paged(0, bytes=0), 'corrupt', 'page 0: 0 stored bytes'),
    'a stored page that is too long': (paged(1, bytes=2 ** 31), 'corrupt', 'page 1: 2147483648 stored bytes'),
    'a page that is too long': (paged(1, rawBytes=1052673), 'corrupt', 'page 1: 1052673 raw bytes'),
    'a page of no frames': (paged(1, frames=0), 'corrupt', 'page 1: 0 frames'),
    'more frames than fit': (paged(1, frames=4), 'corrupt', 'page 1: 4 frames'),
    'more digests than fit': (paged(1, digests=5), 'corrupt', 'page 1: 1 frames and 5 digests'),
    'hulls that overlap': (paged(1, start=BLOCK), 'corrupt', 'page 1: hulls from'),
    'a hull of no blocks': (paged(1, end=8 * BLOCK), 'corrupt', 'page 1: hulls from'),
    'a hull inside of a block': (paged(0, start=1), 'corrupt', 'page 0: hulls from'),
    'a hull past what was looked at': (paged(1, end=11 * BLOCK), 'corrupt', 'page 1: hulls from'),
}
save('directories.json', {
    'valid': {name: {'hex': directory(value), 'directory': value} for name, value in
              {'a point': full, 'nothing': empty, 'a segment': part}.items()},
    'refused': {name: {'hex': data, 'code': code, 'says': says} for name, (data, code, says) in refused.items()},
    'trailers': {
        'valid': {str(length): trailer(length) for length in (149, 209, 149 + 60 * 4000000)},
        'refused': {
            'empty': b'', 'cut off': trailer(149)[1:], 'too long': b'\0' + trailer(149), 'other bytes': u32(149) + TRAILER[:-1] + b'\0',
            'shorter than any': trailer(148), 'inside of a page': trailer(150), 'longer than any': trailer(149 + 60 * 4000001),
        },
    },
})

# fingerprints

key = bytes(range(100, 132))
noise = random.Random(3)
text = b'the end of an image inside of a block'
image = b'\x01' * BLOCK + bytes(BLOCK + 70000) + text
numbers = [0, 1, 255, 2 ** 32 - 1, 2 ** 255, 2 ** 256 - 1] + [noise.getrandbits(256) for _ in range(4)]
le = {number: (number % 2 ** 256).to_bytes(32, 'little') for number in numbers}
save('fingerprints.json', {
    'sums': [{'a': le[a], 'b': le[b], 'sum': ((a + b) % 2 ** 256).to_bytes(32, 'little'),
              'difference': ((a - b) % 2 ** 256).to_bytes(32, 'little')} for a in numbers for b in numbers],
    'image': {
        'told': 'a block of bytes 1, then zeros, and the text behind them',
        'digestKey': key, 'ones': BLOCK, 'zeros': BLOCK + 70000, 'text': text.decode(),
        'digests': {str(number): digest(key, image[number * BLOCK:][:BLOCK]) for number in (0, 3)},
        'fingerprint': fingerprint(key, image), 'ofZeros': fingerprint(key, bytes(BLOCK + 1)),
    },
})
