"""Writes vectors/vectors.json: python3 make-vectors.py. It is not the codec, and shares nothing with it."""
import copy
import json
import os

here = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'vectors')

full = {
    'format': 1,
    'repository': '6f1c1f9e-0d0c-4a7e-9b64-5f0f4f5e2b11',
    'point': '20261122T130501Z-3fa90c',
    'image': {'pool': 'volumes', 'namespace': '', 'name': 'vm-1', 'id': '10226b8b4567', 'size': 2 ** 40, 'order': 22,
              'features': 61, 'stripeUnit': 4194304, 'stripeCount': 1, 'dataPool': None, 'parent': None, 'metadata': {}},
    'snapshot': {'name': 'rbdelta-20261122T130501Z-3fa90c', 'id': 7, 'created': '2026-11-22T13:05:02.000Z', 'ours': True},
    'base': None,
    'created': '2026-11-22T13:05:02.000Z', 'finished': '2026-11-22T13:07:59.123Z',
    'tags': [], 'pinned': False,
    'fingerprint': '0f' * 32,
    'digests': {'algorithm': 'hmac-sha256-128', 'blockBytes': 65536},
    'stream': {'bytes': 1160, 'records': 2, 'dataBytes': 1024, 'zeroBytes': 4096},
    'segments': [{'name': '000000.rbdiff.zst', 'bytes': 900, 'frames': 3, 'wrap': 'plain'}],
    'index': {'name': 'index', 'bytes': 400, 'directoryBytes': 209, 'directorySha256': 'a0' * 32, 'wrap': 'plain'},
    'writer': {'rbdelta': '0.1.0', 'host': 'backup-1', 'seconds': 177.123},
}


def changed(value, **fields):
    """A copy with fields set, by their path with __ between the parts; ... removes one."""
    value = copy.deepcopy(value)
    for path, new in fields.items():
        *folders, last = path.split('__')
        at = value
        for part in folders:
            at = at[int(part) if isinstance(at, list) else part]
        if new is ...:
            del at[last]
        else:
            at[last] = new
    return value


incremental = changed(
    full,
    base={'point': '20261121T130500Z-00ff00', 'snapshot': 'rbdelta-20261121T130500Z-00ff00', 'fingerprint': '01' * 32},
    image__namespace='tenant/ä', image__name='name of "any" bytes \udc80', image__dataPool='ec', image__stripeCount=4,
    image__parent={'pool': 'images', 'namespace': '', 'image': 'debian', 'snap': 'base', 'overlap': 10 << 30},
    image__metadata={'conf_rbd_cache': 'false', 'constructor': 'x', '__proto__': 'y', '': ''},
    snapshot__ours=False, snapshot__created=None, tags=['before upgrade', 'ü' * 64], pinned=True,
    segments=[{'name': f'{number:06}.rbdiff.zst', 'bytes': 2 ** 27, 'frames': 32, 'wrap': 'plain'} for number in range(3)])
file = changed(full, image__pool='file', image__name='disk.img', image__id='', image__order=0, image__features=0,
               image__stripeUnit=0, image__stripeCount=0, snapshot__id=0, snapshot__ours=False, snapshot__created=None)

segment = full['segments'][0]
bad = {
    'another format': (changed(full, format=2), 'unsupported', 'format 2; this rbdelta knows format 1'),
    'a wrap of a later version': (changed(full, segments=[{**segment, 'wrap': 'age'}]), 'unsupported', 'segments.0.wrap must be "plain", not "age"'),
    'an index in a wrap of a later version': (changed(full, index__wrap='age'), 'unsupported', 'index.wrap'),
    'digests of a later version': (changed(full, digests__algorithm='blake3'), 'unsupported', 'digests.algorithm'),
    'blocks of another size': (changed(full, digests__blockBytes=4096), 'unsupported', 'digests.blockBytes'),
    'no format': (changed(full, format=...), 'corrupt', 'format is missing'),
    'a format that is no number': (changed(full, format='1'), 'corrupt', 'format must be 1, not "1"'),
    'no wrap': (changed(full, index__wrap=...), 'corrupt', 'index.wrap is missing'),
    'no repository': (changed(full, repository=...), 'corrupt', 'repository is missing'),
    'no UUID': (changed(full, repository='x'), 'corrupt', 'repository must be a UUID, not "x"'),
    'a point that is none': (changed(full, point='../../etc'), 'corrupt', 'point must be the id of a point'),
    'a size below 0': (changed(full, image__size=-1), 'corrupt', 'image.size must be a whole number'),
    'a size past 2^53 - 1': (changed(full, image__size=2 ** 53), 'corrupt', 'image.size must be a whole number'),
    'a size with a fraction': (changed(full, image__size=0.5), 'corrupt', 'image.size must be a whole number'),
    'a size that is text': (changed(full, image__size='1'), 'corrupt', 'image.size must be number, not "1"'),
    'no pool': (changed(full, image__pool=''), 'corrupt', 'image.pool must be not empty'),
    'metadata that is no text': (changed(full, image__metadata={'a': 1}), 'corrupt', 'image.metadata must be an object of strings'),
    'metadata in a list': (changed(full, image__metadata=[]), 'corrupt', 'image.metadata'),
    'half a parent': (changed(full, image__parent={'pool': 'x'}), 'corrupt', 'image.parent.namespace is missing'),
    'no base': (changed(full, base=...), 'corrupt', 'base is missing'),
    'a base without a fingerprint': (changed(incremental, base__fingerprint=...), 'corrupt', 'base.fingerprint is missing'),
    'a time of another zone': (changed(full, created='2026-11-22T13:05:02.000+01:00'), 'corrupt', 'created must be a time'),
    'a day that is not': (changed(full, finished='2026-02-30T13:05:02.000Z'), 'corrupt', 'finished must be a time'),
    'a fingerprint that is short': (changed(full, fingerprint='0f' * 31), 'corrupt', 'fingerprint must be 64 hex digits'),
    'too many tags': (changed(full, tags=['x'] * 1001), 'corrupt', 'at most 1000 tags'),
    'a tag that is too long': (changed(full, tags=['x', 'ü' * 65]), 'corrupt', 'tags.1 must be a tag of at most 128 bytes'),
    'a tag of nothing': (changed(full, tags=['']), 'corrupt', 'tags.0 must be not empty'),
    'no segments': (changed(full, segments=[]), 'corrupt', 'segments must be 1 to 1000000 segments'),
    'segments in another order': (changed(incremental, segments=incremental['segments'][::-1]), 'corrupt', 'segments must be in the order'),
    'a segment twice': (changed(full, segments=[segment, segment]), 'corrupt', 'segments must be in the order'),
    'a segment of no bytes': (changed(full, segments=[{**segment, 'bytes': 0}]), 'corrupt', 'segments.0.bytes'),
    'a segment that is the index': (changed(full, index__name=segment['name']), 'corrupt', 'that are not the same'),
    'an index that is the manifest': (changed(full, index__name='manifest.json'), 'corrupt', 'that are not the same'),
    'a directory longer than its index': (changed(full, index__directoryBytes=401), 'corrupt', 'index must be longer than its directory'),
    'a list': ([], 'corrupt', 'not an object'),
    'a list with the manifest': ([full], 'corrupt', 'not an object'),
    'null': (None, 'corrupt', 'it is null, not an object'),
    'a number': (2, 'corrupt', 'it is 2, not an object'),
}
for name in ['../x', 'a/b', '/', '..', '.', '', '.hidden', 'a\\b', 'a\0', 'ä', 'x' * 65]:
    bad[f'the name {json.dumps(name)} of a segment'] = (
        changed(full, segments=[{**segment, 'name': name}]), 'corrupt', 'segments.0.name must be the name of a file')

refused = {name: {'text': json.dumps(value) + '\n', 'code': code, 'says': says} for name, (value, code, says) in bad.items()}
refused['empty'] = {'text': '', 'code': 'corrupt', 'says': 'it is not JSON'}
refused['cut off'] = {'text': json.dumps(full)[:-1], 'code': 'corrupt', 'says': 'it is not JSON'}
refused['two of them'] = {'text': json.dumps(full) * 2, 'code': 'corrupt', 'says': 'it is not JSON'}

valid = {'a full': full, 'an increment': incremental, 'a raw file': file}
with open(os.path.join(here, 'vectors.json'), 'w') as out:
    out.write(json.dumps({
        # as the text of a file: indented by two, with a newline at its end, what is not ASCII as it is or escaped
        'valid': {name: {'manifest': value, 'text': json.dumps(value, indent=2) + '\n'} for name, value in valid.items()},
        'more': {'what a later version adds is left out': json.dumps(changed(full, later={'x': 1}, image__later=1))},
        'refused': refused,
    }, indent=1) + '\n')
