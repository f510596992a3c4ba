"""Writes what is not recorded in vectors/: python3 make-vectors.py. It is not the codec, and shares nothing with it."""
import hashlib
import json
import os
import struct

from maps import NAMES, crc, encode, pack

here = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'vectors')


def save(name, data):
    with open(os.path.join(here, name), 'wb') as out:
        out.write(data)


def describe(data):
    """Count, how many objects are in each state, and a digest of the packed states."""
    count = struct.unpack_from('<Q', data, 10)[0]
    states = data[18:18 + (count + 3) // 4]
    numbers = [0, 0, 0, 0]
    for index in range(count):
        numbers[states[index // 4] >> (6 - 2 * (index % 4)) & 3] += 1
    return {'count': count, **dict(zip(NAMES, numbers)), 'sha256': hashlib.sha256(states).hexdigest()}


def reported(first, middle, last):
    """What a change between three maps is reported as (spec.md, 'Folding')."""
    def step(state, value, is_last):
        if state == 'HOLE':
            return 'DATA_UPDATED' if value != 'NONEXISTENT' and is_last else 'HOLE'
        if value == 'NONEXISTENT':
            return 'HOLE_UPDATED'
        if value == 'EXISTS_CLEAN':
            return 'DATA' if state == 'DATA' else 'DATA_UPDATED'
        return 'DATA_UPDATED'

    start = {'NONEXISTENT': 'HOLE', 'EXISTS': 'DATA', 'EXISTS_CLEAN': 'DATA', 'PENDING': 'DATA_UPDATED'}
    report = {'HOLE': 'none', 'DATA': 'none', 'DATA_UPDATED': 'data', 'HOLE_UPDATED': 'zero'}
    return report[step(step(start[first], middle, False), last, True)]


save('three-maps.json', ('{\n "combinations": [\n  ' + ',\n  '.join(
    json.dumps({'from': a, 'mid': b, 'end': c, 'reported': reported(a, b, c)})
    for a in NAMES for b in NAMES for c in NAMES) + '\n ]\n}\n').encode())

every = [0, 1, 2, 3]
two_blocks = [(index * 7 + index // 100) % 4 for index in range(16384 + 5)]
save('made-no-objects.bin', encode([]))
save('made-every-state.bin', encode([3, 2, 1, 0, 1, 2, 3]))
save('made-no-footer.bin', encode(every * 2, footer=b''))
save('made-trailing-bytes.bin', encode(every) + b'left over')
save('made-one-block-full.bin', encode([1] * 16384))
save('made-two-blocks.bin', encode(two_blocks))

valid = {}
for name in sorted(os.listdir(here)):
    if name.endswith('.bin'):
        data = open(os.path.join(here, name), 'rb').read()
        valid[name] = {**describe(data), 'same': name not in ('made-no-footer.bin', 'made-trailing-bytes.bin')}

whole = encode(every)
far = encode(two_blocks)


def flip(data, at, bit=1):
    return data[:at] + bytes([data[at] ^ bit]) + data[at + 1:]


refused = {
    'header checksum': (flip(whole, -9), 'corrupt', 'checksum of its header'),
    'states do not match their checksum': (flip(whole, 18), 'corrupt', 'checksum of its block 0'),
    'block checksum': (flip(whole, -1), 'corrupt', 'checksum of its block 0'),
    'second block': (flip(far, 18 + 4096), 'corrupt', 'checksum of its block 1'),
    'more objects than a map may have': (encode([], count=256_000_001), 'tooLarge', '256000000'),
    'more objects than there are states': (encode(every, count=16), 'corrupt', 'the footer'),
    'absurd count': (encode(every, count=2 ** 64 - 1), 'tooLarge', 'objects'),
    'too few blocks': (encode(every, footer=struct.pack('<II', crc(whole[4:18]), 0)), 'corrupt', 'footer'),
    'too many blocks': (encode(every, footer=struct.pack('<IIII', crc(whole[4:18]), 2, crc(pack(every)), 0)), 'corrupt', 'footer'),
    'footer of a few bytes': (encode(every, footer=b'abcd'), 'corrupt', 'footer'),
    'header too short': (struct.pack('<IBBI', 6, 1, 1, 0) + b'\0' * 30, 'corrupt', 'header'),
    'newer layout': (whole[:4] + b'\x02\x02' + whole[6:], 'unsupported', 'version 2'),
    'empty': (b'', 'corrupt', 'ends at byte 0'),
}
save('vectors.json', (json.dumps({
    'valid': valid,
    'refused': {name: {'hex': data.hex(), 'code': code, 'says': says} for name, (data, code, says) in refused.items()},
}, indent=1) + '\n').encode())
