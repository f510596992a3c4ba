"""
Writes vectors/old.json and vectors/refused.json: python3 make-vectors.py

The old values are those of a public write-up of RBD's structures (2015), as `rados listomapvals` printed them.
"""
import json
import os
import struct

here = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'vectors')


def u8(value):
    return struct.pack('<B', value)


def u32(value):
    return struct.pack('<I', value)


def u64(value):
    return struct.pack('<Q', value)


def string(text):
    return u32(len(text.encode())) + text.encode()


def envelope(version, compat, body):
    return u8(version) + u8(compat) + u32(len(body)) + body


def snapshot(namespace, version=8, compat=8, more=b''):
    body = u64(5) + string('.mirror') + u64(1 << 20)
    if compat < 8:
        body += u64(1) + envelope(1, 1, u64(2) + string('p') + u64(3) + u64(4096))
    return envelope(version, compat, body + u8(2) + u64(3) + namespace + u32(10) + u32(20) + u32(4) + b'\1' + u64(4096) + more)


no_snap = 2 ** 64 - 2
mirror = envelope(1, 1, u32(3) + u8(1) + u8(0) + u32(2) + string('peer a') + string('peer b') + string('uuid') + u64(no_snap)
                  + u64(77) + u32(1) + u64(8) + u64(9))
record = {'id': 5, 'name': '.mirror', 'size': 1 << 20, 'protection': 'protected', 'flags': 3,
          'created': {'seconds': 10, 'nanoseconds': 20}, 'childCount': 4, 'parentOverlap': 4096, 'parent': None}

old = {
    'source': 'omap values of RBD images of 2015; the last ones are made by hand',
    'values': [
        {'codec': 'directoryValue', 'of': 'id_a89c2ae8944a', 'hex': '06000000696d61676531', 'value': 'image1', 'same': True},
        {'codec': 'directoryValue', 'of': 'name_image1', 'hex': '0c000000613839633261653839343461', 'value': 'a89c2ae8944a', 'same': True},
        {'codec': 'features', 'hex': '0100000000000000', 'value': 1, 'same': True},
        {'codec': 'object_prefix', 'hex': '150000007262645f646174612e613839633261653839343461', 'value': 'rbd_data.a89c2ae8944a', 'same': True},
        {'codec': 'order', 'hex': '16', 'value': 22, 'same': True},
        {'codec': 'size', 'hex': '0000000019000000', 'value': 25 << 32, 'same': True},
        {'codec': 'snap_seq', 'hex': '0000000000000000', 'value': 0, 'same': True},
        {'codec': 'snapshotValue', 'of': 'snapshot_0000000000000006',
         'hex': '030144000000060000000000000005000000736e617031000000001900000001000000000000000101'
                '1c000000ffffffffffffffff00000000feffffffffffffff000000000000000000',
         'value': {'id': 6, 'name': 'snap1', 'size': 25 << 32, 'protection': 'unprotected', 'flags': 0,
                   'namespace': {'type': 'user'}, 'created': None, 'childCount': 0, 'parentOverlap': None, 'parent': None},
         'same': False},
        {'codec': 'childrenKey', 'hex': '08000000000000000c0000006139353332616538393434610e00000000000000',
         'value': {'pool': 8, 'imageId': 'a9532ae8944a', 'snapId': 14}, 'same': True},
        {'codec': 'childrenValue', 'hex': '010000000c000000383939303364316235386261', 'value': ['89903d1b58ba'], 'same': True},
        {'codec': 'parentValue', 'hex': '01012800000008000000000000000c0000006139353332616538393434610e000000000000000000000019000000',
         'value': {'pool': 8, 'namespace': '', 'imageId': 'a9532ae8944a', 'snapId': 14, 'overlap': 25 << 32}, 'same': False},
        # made by hand
        {'codec': 'snapshotValue', 'of': 'mirror', 'hex': snapshot(mirror).hex(), 'same': True, 'value': {**record, 'namespace': {
            'type': 'mirror', 'state': 1, 'complete': False, 'peerUuids': ['peer a', 'peer b'], 'primaryUuid': 'uuid',
            'primarySnapId': None, 'lastCopiedObject': 77, 'snapSeqs': [[8, 9]]}}},
        {'codec': 'snapshotValue', 'of': 'a later version of the same layout', 'hex': snapshot(envelope(1, 1, u32(0)), 9, 8, b'more').hex(),
         'same': False, 'value': {**record, 'namespace': {'type': 'user'}}},
        {'codec': 'snapshotValue', 'of': 'version 8 that older readers can read', 'hex': snapshot(envelope(1, 1, u32(0)), 8, 1).hex(),
         'same': False, 'value': {**record, 'namespace': {'type': 'user'},
                                  'parent': {'pool': 2, 'namespace': '', 'imageId': 'p', 'snapId': 3, 'overlap': 4096}}},
    ],
}

refused = [
    {'codec': 'size', 'hex': '00', 'code': 'corrupt', 'says': 'needs 8 bytes'},
    {'codec': 'size', 'hex': '0000000019000000ff', 'code': 'corrupt', 'says': 'left over'},
    {'codec': 'size', 'hex': 'ffffffffffffffff', 'code': 'corrupt', 'says': 'past 2^53 - 1'},
    {'codec': 'object_prefix', 'hex': 'ffffffff72', 'code': 'corrupt', 'says': 'a string of 4294967295 bytes'},
    {'codec': 'childrenValue', 'hex': 'ffffffff00000000', 'code': 'corrupt', 'says': '4294967295 items'},
    {'codec': 'parentValue', 'hex': '0303000000000000', 'code': 'unsupported', 'says': 'version 3'},
    {'codec': 'snapshotValue', 'hex': '0909000000000000', 'code': 'unsupported', 'says': 'version 9'},
    {'codec': 'snapshotValue', 'hex': '0808ffffff000000', 'code': 'corrupt', 'says': 'a structure of 16777215 bytes'},
    {'codec': 'snapshotValue', 'hex': snapshot(envelope(1, 1, u32(0))).replace(u8(2) + u64(3), u8(7) + u64(3)).hex(), 'code': 'corrupt',
     'says': 'protection'},
]

for name, content in (('old', old), ('refused', refused)):
    with open(os.path.join(here, f'{name}.json'), 'w') as out:
        json.dump(content, out, indent=1)
        out.write('\n')
