"""Writes what is not recorded in vectors/: python3 make-vectors.py. It is not the codec, and shares nothing with it."""
import hashlib
import json
import os
import sys

root = os.path.dirname(os.path.abspath(__file__))
here = os.path.join(root, 'vectors')
sys.path.insert(0, os.path.join(os.path.dirname(root), 'rbd-diff'))
from stream import describe, diff, named, record, u64, write  # noqa: E402

IMAGE, DIFFS = b'rbd image v2\n', b'rbd image diffs v2\n'


def number(tag, value):
    return record(2, tag, u64(value))


def pair(key, value, length=None):
    return record(2, b'M', named(key) + named(value), length)


def image(*properties, diffs=(), count=None):
    return IMAGE + b''.join(properties) + b'E' + DIFFS + u64(len(diffs) if count is None else count) + b''.join(diffs)


def describe_image(stream):
    header = {'order': None, 'features': None, 'stripeUnit': None, 'stripeCount': None, 'metadata': {}}
    fields = {b'O': 'order', b'T': 'features', b'U': 'stripeUnit', b'C': 'stripeCount'}
    assert stream.startswith(IMAGE)
    at = len(IMAGE)
    while (tag := stream[at:at + 1]) != b'E':
        length = int.from_bytes(stream[at + 1:at + 9], 'little')
        payload = stream[at + 9:at + 9 + length]
        at += 9 + length
        if tag in fields:
            header[fields[tag]] = int.from_bytes(payload, 'little')
        elif tag == b'M':
            key_end = 4 + int.from_bytes(payload[:4], 'little')
            header['metadata'][payload[4:key_end].decode('utf-8', 'surrogateescape')] = \
                payload[key_end + 4:].decode('utf-8', 'surrogateescape')
    at += 1
    assert stream[at:].startswith(DIFFS)
    at += len(DIFFS)
    header['diffCount'] = int.from_bytes(stream[at:at + 8], 'little')
    at += 8
    diffs = []
    for _ in range(header['diffCount']):
        said, at = describe(stream, at)
        diffs.append(said)
    assert at == len(stream)
    return {'header': header, 'diffs': diffs}


def sample_offsets(size):
    return sorted({offset for i in range(256) if (offset := i * size // 256 // 16384 * 16384) < size})


def bytes_of(size):
    """Bytes of a version that anybody can make: each block of 4096 begins with its number, little endian."""
    return b''.join(u64(block) + bytes(4088) for block in range((size + 4095) // 4096))[:size]


def parent(size, **more):
    samples = hashlib.sha256(b''.join(bytes_of(size)[at:at + 16384] for at in sample_offsets(size))).hexdigest()
    return {'pool': 'volumes', 'namespace': '', 'image': 'base', 'snap': 'v1', 'size': size, 'overlap': size,
            'cloneFormat': 1, 'samples': samples, **more}


parents = [parent(0), parent(5000), parent(4 << 20, overlap=4096), parent((9 << 20) + 17, namespace='ns', cloneFormat=2),
           parent(4096, image='caf\udce9', snap='\u00fc')]
no_parents = ['', '{}', 'null', '[]', '{"pool":', json.dumps(parent(4096, pool='')), json.dumps({**parent(4096), 'size': -1}),
              json.dumps(parent(4096, overlap=0.5)), json.dumps(parent(4096, cloneFormat=3)),
              json.dumps(parent(4096, samples='00')), json.dumps({**parent(4096), 'size': '4096'})]

head = diff(write(0, b'abc', 2), size=4096, version=2)
usual = [number(b'O', 12), number(b'T', 0x3d), number(b'U', 4096), number(b'C', 1)]
made = {
    'later-ceph': image(*usual, pair('k', 'v'), diffs=[
        diff(write(0, b'a', 2), to_snap='one', protected=1, size=4096, version=2),
        diff(write(9, b'b', 2), from_snap='one', size=4096, version=2)]),
    'no-properties': image(diffs=[head]),
    'unknown-tag': image(record(2, b'F', u64(2)), *usual, diffs=[head]),
    'clone': image(*usual, pair('owner', 'me'), pair('rbdelta.parent', json.dumps(parent(4096))), diffs=[head]),
    'metadata-of-any-bytes': image(*usual, pair(b'caf\xe9\n', b'\xff\x00\xc3'), pair('empty', ''), diffs=[head]),
}
not_the_same = {'made-unknown-tag.bin'}

refused = {
    'a diff': (diff(size=1), 'invalid', 'it looks like an rbd diff'),
    'zeros': (bytes(64), 'invalid', 'zeros'),
    'a later version': (b'rbd image v3\n', 'invalid', 'unknown version'),
    'order of the wrong length': (image(record(2, b'O', b'\x16'), diffs=[head]), 'corrupt', 'the order says 1 byte, it takes 8'),
    'features past 2^53': (image(number(b'T', 2 ** 63), diffs=[head]), 'corrupt', 'features is past'),
    'metadata of 2 MiB': (image(record(2, b'M', b'', 2 << 20), diffs=[head]), 'tooLarge', 'metadata'),
    'metadata of 2^64 - 1 bytes': (image(record(2, b'M', b'', 2 ** 64 - 1), diffs=[head]), 'tooLarge',
                                  'takes 18446744073709551615 bytes'),
    'metadata whose lengths do not add up': (image(pair('key', 'value', 15), diffs=[head]), 'corrupt', 'add up'),
    'metadata of 3 bytes': (image(record(2, b'M', b'abc'), diffs=[head]), 'corrupt', 'add up'),
    'unknown record too long': (image(record(2, b'?', b'', 2 ** 40), diffs=[head]), 'corrupt', 'unknown tag byte 63'),
    'unknown record of 2^63 + 1 bytes': (image(record(2, b'?', b'', 2 ** 63 + 1), diffs=[head]), 'corrupt',
                                         'says 9223372036854775809 bytes'),
    'order of 2^64 - 1 bytes': (image(record(2, b'O', b'', 2 ** 64 - 1), diffs=[head]), 'corrupt',
                                'the order says 18446744073709551615 bytes'),
    'no second banner': (IMAGE + b'E' + b'rbd image diffs v1\n' + u64(1) + head, 'corrupt', "'rbd image diffs v2' is expected"),
    'no diffs': (image(*usual), 'corrupt', '0 diffs follow'),
    '2^64 - 1 diffs': (image(*usual, count=2 ** 64 - 1), 'corrupt', '18446744073709551615 diffs follow'),
    'a diff of another version': (image(*usual, diffs=[b'not a diff at all']), 'corrupt', 'is not an rbd diff'),
}


def main():
    for name, stream in made.items():
        with open(os.path.join(here, f'made-{name}.bin'), 'wb') as out:
            out.write(stream)
    valid = {}
    for file in sorted(os.listdir(here)):
        if file.endswith('.bin'):
            with open(os.path.join(here, file), 'rb') as opened:
                said = describe_image(opened.read())
            # Ceph up to 16.2 says 8 where the protection takes 1 byte
            old = file.startswith('recorded-') and any(d['header']['protected'] is not None for d in said['diffs'])
            valid[file] = {'same': not old and file not in not_the_same, **said}
    vectors = {
        'valid': valid,
        'parents': [{'text': json.dumps(note), 'note': note} for note in parents],
        'notParents': no_parents,
        'sampleOffsets': {str(size): sample_offsets(size)
                          for size in (0, 1, 16384, 16385, 4 << 20, (4 << 20) + 1, (10 << 40) + 12345)},
        'refused': {name: {'hex': stream.hex(), 'code': code, 'says': says} for name, (stream, code, says) in refused.items()},
    }
    with open(os.path.join(here, 'vectors.json'), 'w') as out:
        json.dump(vectors, out, indent=1)
        out.write('\n')


main()
