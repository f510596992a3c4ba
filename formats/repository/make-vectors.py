"""Writes vectors/vectors.json: python3 make-vectors.py. It is not the codec, and shares nothing with it."""
import copy
import json
import os

here = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'vectors')

FIRST, SECOND = '20261121T130500Z-00ff00', '20261122T130501Z-3fa90c'
TIME, LATER = '2026-11-21T13:05:01.000Z', '2026-11-22T13:05:02.345Z'
BEGUN = {'started': TIME, 'host': 'backup-1', 'version': '0.1.0'}

repository = {'format': 1, 'id': '6f1c1f9e-0d0c-4a7e-9b64-5f0f4f5e2b11', 'created': TIME, 'digestKey': '5a' * 32}
entry = {'id': FIRST, 'pool': 'volumes', 'namespace': '', 'image': 'vm-1', 'imageId': '10226b8b4567',
         'snapshot': f'rbdelta-{FIRST}', 'created': TIME, 'base': None, 'size': 2 ** 40, 'fingerprint': '0f' * 32,
         'dataBytes': 1 << 30, 'storedBytes': 500 << 20, 'tags': ['weekly'], 'pinned': True, 'seconds': 12.5,
         'proofs': {'audit': TIME, 'scrub': TIME, 'source': LATER, 'rehearse': LATER}}
catalog = {'format': 1, 'points': [entry, {**entry, 'id': SECOND, 'base': FIRST, 'proofs': {}, 'pinned': False,
                                           'namespace': 'tenant', 'image': 'bytes \udc80', 'tags': []}]}
snapshot = {'name': f'rbdelta-{SECOND}', 'id': 9, 'ours': True}
backup = {'format': 1, 'operation': 'backup', 'point': SECOND, 'snapshot': snapshot, 'base': FIRST,
          'baseSnapshot': f'rbdelta-{FIRST}', 'plan': {'trim': True, 'level': 3, 'deep': {'er': [1]}}, **BEGUN}
lock = {'format': 1, 'owner': {'host': 'backup-1', 'pid': 4711, 'startTime': '01f3 88213', 'id': 'c0ffee'},
        'operation': 'backup', 'acquired': TIME, 'leaseSeconds': 300}
proof = {'level': 'audit', 'finished': TIME, 'ok': True, 'percent': 100, 'what': 'complete and chained', 'version': '0.1.0'}
proofs = {'format': 1, 'proofs': [proof, {**proof, 'level': 'scrub', 'percent': 2.5, 'ok': False}],
          'scrubbed': {'percent': 2.5, 'frames': 17, 'since': LATER, 'directorySha256': 'd1' * 32, 'damaged': 2,
                       'first': 'the frame 17~4 is damaged'}}
delete = {'format': 1, 'operation': 'delete', 'points': [FIRST, SECOND], **BEGUN}
rewrite = {'format': 1, 'operation': 'rewrite', 'point': FIRST, **BEGUN}


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


valid = [
    ('repository', 'a repository', repository),
    ('catalog', 'two points', catalog),
    ('catalog', 'no points', {'format': 1, 'points': []}),
    ('intent', 'a backup', backup),
    ('intent', 'a full, before its snapshot', changed(backup, snapshot__id=None, base=None, baseSnapshot=None, plan={})),
    ('intent', 'a delete', delete),
    ('intent', 'a rewrite', rewrite),
    ('lock', 'a lock', lock),
    ('lock', 'a lock of a host that does not tell when processes began', changed(lock, owner__startTime=None)),
    ('proofs', 'two proofs', proofs),
    ('proofs', 'a scrub that found nothing so far', changed(proofs, scrubbed__damaged=0, scrubbed__first=None)),
    ('proofs', 'no proofs', {'format': 1, 'proofs': [], 'scrubbed': None}),
]

refused = [
    ('repository', 'no key', changed(repository, digestKey=...), 'corrupt', 'digestKey is missing'),
    ('repository', 'a key that is short', changed(repository, digestKey='5a'), 'corrupt', 'digestKey must be 64 hex digits, not "5a"'),
    ('repository', 'an id that is none', changed(repository, id=5), 'corrupt', 'id must be string, not 5'),
    ('repository', 'a time that is none', changed(repository, created='yesterday'), 'corrupt', 'created must be a time'),
    ('catalog', 'another order', changed(catalog, points=catalog['points'][::-1]), 'corrupt', 'points must be sorted by id'),
    ('catalog', 'a point twice', changed(catalog, points=[entry, entry]), 'corrupt', 'points must be sorted by id'),
    ('catalog', 'a point that is none', changed(catalog, points=[None]), 'corrupt', 'points.0 must be Object, not null'),
    ('catalog', 'a proof that has no time', changed(catalog, points=[changed(entry, proofs__audit=True)]), 'corrupt', 'points.0.proofs.audit must be string, not true'),
    ('catalog', 'a base that is no point', changed(catalog, points=[changed(entry, base='x')]), 'corrupt', 'points.0.base must be the id of a point, not "x"'),
    ('catalog', 'bytes below 0', changed(catalog, points=[changed(entry, storedBytes=-1)]), 'corrupt', 'points.0.storedBytes must be a whole number'),
    ('catalog', 'no points', {'format': 1}, 'corrupt', 'points is missing'),
    ('intent', 'another operation', changed(delete, operation='format'), 'unsupported', 'operation must be ("backup" | "delete" | "rewrite"), not "format"'),
    ('intent', 'no operation', changed(delete, operation=...), 'corrupt', 'operation is missing'),
    ('intent', 'a backup without a snapshot', changed(backup, snapshot=...), 'corrupt', 'snapshot is missing'),
    ('intent', 'a plan that is none', changed(backup, plan=[1]), 'corrupt', 'plan must be an object, not [1]'),
    ('intent', 'a point outside of the folder', changed(delete, points=['../x']), 'corrupt', 'points.0 must be the id of a point'),
    ('intent', 'a rewrite of nobody knows what', changed(rewrite, point='index'), 'corrupt', 'point must be the id of a point'),
    ('lock', 'no owner', changed(lock, owner=...), 'corrupt', 'owner is missing'),
    ('lock', 'a process that cannot be', changed(lock, owner__pid=0), 'corrupt', 'owner.pid must be a whole number from 1'),
    ('lock', 'a lease of nothing', changed(lock, leaseSeconds=0), 'corrupt', 'leaseSeconds must be a whole number from 1'),
    ('proofs', 'another level', changed(proofs, proofs=[{**proof, 'level': 'hope'}]), 'corrupt', 'proofs.0.level must be'),
    ('proofs', 'a level twice', changed(proofs, proofs=[proof, proof]), 'corrupt', 'proofs must be one of each level'),
    ('proofs', 'more than all', changed(proofs, scrubbed__percent=100.1), 'corrupt', 'scrubbed.percent must be from 0 to 100'),
    ('proofs', 'a scrub of nobody knows which archive', changed(proofs, scrubbed__directorySha256=...), 'corrupt', 'scrubbed.directorySha256 is missing'),
    ('proofs', 'a scrub that does not tell what it found', changed(proofs, scrubbed__damaged=...), 'corrupt', 'scrubbed.damaged is missing'),
    ('proofs', 'no word on a scrub', changed(proofs, scrubbed=...), 'corrupt', 'scrubbed is missing'),
]
for codec, value in [('repository', repository), ('catalog', catalog), ('intent', delete), ('lock', lock), ('proofs', proofs)]:
    refused += [
        (codec, 'another format', changed(value, format=2), 'unsupported', 'format 2; this rbdelta knows format 1'),
        (codec, 'format 0', changed(value, format=0), 'unsupported', 'format 0'),
        (codec, 'no format', changed(value, format=...), 'corrupt', 'format is missing'),
        (codec, 'nothing', None, 'corrupt', 'it is null, not an object'),
    ]

with open(os.path.join(here, 'vectors.json'), 'w') as out:
    out.write(json.dumps({
        'valid': [{'codec': codec, 'name': name, 'value': value} for codec, name, value in valid],
        'refused': [{'codec': codec, 'name': name, 'text': json.dumps(value) + '\n', 'code': code, 'says': says}
                    for codec, name, value, code, says in refused],
    }, indent=1) + '\n')
