"""Writes vectors/two-points/, a repository with a full and an increment: python3 make-repository.py.

It is not the code under test, and shares nothing with it. What a released rbdelta can read, every later one must."""
import hashlib
import json
import os
import shutil
import sys

here = os.path.dirname(os.path.abspath(__file__))
sys.path += [os.path.join(here, '..', 'archive'), os.path.join(here, '..', 'rbd-diff')]
import index as archive  # noqa: E402
import stream  # noqa: E402
import zstd  # noqa: E402

BLOCK = archive.BLOCK
KEY = bytes(range(32))
REPOSITORY = '6f1c1f9e-0d0c-4a7e-9b64-5f0f4f5e2b11'
SIZE = 300000
top = os.path.join(here, 'vectors', 'two-points')
shutil.rmtree(top, ignore_errors=True)
folder = 'volumes+tenant/vm%201'


def save(path, data):
    path = os.path.join(top, path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'wb') as out:
        out.write(data if isinstance(data, bytes) else (json.dumps(data, indent=2) + '\n').encode())


def sha(data):
    return hashlib.sha256(data).digest()


def point(name, base, before, records, runs, times):
    """Writes a point of one segment for each list of records; gives its manifest, and the image as it is then."""
    image = bytearray(before)
    header = stream.diff(size=SIZE, from_snap=base and f'rbdelta-{base["point"]}', to_snap=f'rbdelta-{name}', end=b'')
    raw, told = [header], []
    for part in records:
        out = b''
        for record in part:
            if isinstance(record[1], bytes):
                out += stream.write(*record)
                image[record[0]:record[0] + len(record[1])] = record[1]
            else:
                out += stream.zero(*record)
                image[record[0]:record[0] + record[1]] = bytes(record[1])
        raw.append(out)
        told.append([(at, len(what)) if isinstance(what, bytes) else (at, what, 'zero') for at, what in part])
    raw.append(b'e')
    stored = [zstd.frame(data) for data in raw]
    # the header is in the first segment, the end in the last
    last = len(records) - 1
    place = [(0, 0)]
    for number in range(len(records)):
        place.append((number, len(stored[0]) if number == 0 else 0))
    place.append((last, place[-1][1] + len(stored[-2])))
    segments = [b''.join(data for data, (segment, _) in zip(stored, place) if segment == number)
                for number in range(len(records))]
    pages, entries, position = [], [], 8
    for number, (part, of_part) in enumerate(zip(told, runs), 1):
        digests = b''.join(archive.digest(KEY, bytes(image[block * BLOCK:(block + 1) * BLOCK]))
                           for run in of_part if 'zero' not in run for block in range(run[0], run[0] + run[1]))
        data = archive.page(archive.frame(*place[number], len(stored[number]), part, of_part, digests,
                                          sha(stored[number])[:16], len(raw[number])))
        page = zstd.frame(data)
        start, end = of_part[0][0] * BLOCK, (of_part[-1][0] + of_part[-1][1]) * BLOCK
        entries.append(archive.page_entry(position, len(page), len(data), start, end, 1, len(digests) // 16, sha(page)[:16]))
        pages.append(page)
        position += len(page)

    def edge(number):
        return archive.edge(*place[number], len(stored[number]), len(raw[number]), sha(stored[number])[:16])

    counts = {'records': sum(map(len, told)),
              'dataBytes': sum(record[1] for part in told for record in part if 'zero' not in record),
              'zeroBytes': sum(record[1] for part in told for record in part if 'zero' in record)}
    old, new = (int.from_bytes(archive.fingerprint(KEY, bytes(state)), 'little') for state in (before, image))
    directory = archive.directory({
        'reached': SIZE, 'sum': ((new - old) % 2 ** 256).to_bytes(32, 'little'), **counts,
        'streamBytes': sum(map(len, raw)), 'header': edge(0), 'end': edge(-1), 'pages': entries})
    index = archive.MAGIC + b''.join(pages) + directory + archive.trailer(len(directory))
    for number, data in enumerate(segments):
        save(f'{folder}/{name}/{number:06}.rbdiff.zst', data)
    save(f'{folder}/{name}/index', index)
    manifest = {
        'format': 1, 'repository': REPOSITORY, 'point': name,
        'image': {'pool': 'volumes', 'namespace': 'tenant', 'name': 'vm 1', 'id': '10226b8b4567', 'size': SIZE,
                  'order': 22, 'features': 61, 'stripeUnit': 4194304, 'stripeCount': 1, 'dataPool': None,
                  'parent': None, 'metadata': {'owner': 'tests'}},
        'snapshot': {'name': f'rbdelta-{name}', 'id': 4 if base is None else 5, 'created': times[0], 'ours': True},
        'base': base and {'point': base['point'], 'snapshot': base['snapshot']['name'], 'fingerprint': base['fingerprint']},
        'created': times[0], 'finished': times[1], 'tags': ['made'], 'pinned': base is None,
        'fingerprint': new.to_bytes(32, 'little').hex(),
        'digests': {'algorithm': 'hmac-sha256-128', 'blockBytes': BLOCK},
        'stream': {'bytes': sum(map(len, raw)), **counts},
        'segments': [{'name': f'{number:06}.rbdiff.zst', 'bytes': len(data), 'wrap': 'plain',
                      'frames': sum(segment == number for segment, _ in place)} for number, data in enumerate(segments)],
        'index': {'name': 'index', 'bytes': len(index), 'directoryBytes': len(directory),
                  'directorySha256': sha(directory).hex(), 'wrap': 'plain'},
        'writer': {'rbdelta': '0.1.0', 'host': 'made', 'seconds': 1.5},
    }
    save(f'{folder}/{name}/manifest.json', manifest)
    entry = {'id': name, 'pool': 'volumes', 'namespace': 'tenant', 'image': 'vm 1', 'imageId': '10226b8b4567',
             'snapshot': f'rbdelta-{name}', 'created': times[0], 'base': base and base['point'], 'size': SIZE,
             'fingerprint': manifest['fingerprint'], 'dataBytes': counts['dataBytes'],
             'storedBytes': sum(map(len, segments)) + len(index), 'tags': ['made'], 'pinned': base is None,
             'seconds': 1.5, 'proofs': {}}
    return manifest, entry, image, b''.join(raw)


save('rbdelta.json', {'format': 1, 'id': REPOSITORY, 'created': '2026-11-21T12:00:00.000Z', 'digestKey': KEY.hex()})
text = b'the end of the image'
first, first_entry, image, first_stream = point(
    '20261121T130500Z-00ff00', None, bytes(SIZE),
    [[(0, b'A' * BLOCK), (2 * BLOCK, b'B' * 4096)], [(SIZE - len(text), text)]],
    [[(0, 1), (1, 1, 'zero'), (2, 1)], [(3, 1, 'zero'), (4, 1)]],
    ('2026-11-21T13:05:01.000Z', '2026-11-21T13:05:02.500Z'))
full = bytes(image)
second, second_entry, image, second_stream = point(
    '20261122T130501Z-3fa90c', first, full,
    [[(0, BLOCK), (BLOCK + 1000, b'C' * 512), (2 * BLOCK, 2048)]],
    [[(0, 1, 'zero'), (1, 2)]],
    ('2026-11-22T13:05:02.000Z', '2026-11-22T13:05:03.500Z'))
save(f'{folder}/catalog.json', {'format': 1, 'points': [first_entry, second_entry]})
with open(os.path.join(here, 'vectors', 'two-points.json'), 'w') as out:
    out.write(json.dumps([
        {'point': name, 'streamSha256': sha(data).hex(), 'imageSha256': sha(state).hex(), 'size': SIZE}
        for name, data, state in ((first['point'], first_stream, full), (second['point'], second_stream, bytes(image)))
    ], indent=1) + '\n')
