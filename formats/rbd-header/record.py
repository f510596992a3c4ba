"""Records vectors/ from a live cluster: python3 record.py. What each value must decode to is told by rbd itself."""
import json
import os
import sys

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(here))
from ceph import *  # noqa: E402,F403

P = METADATA_POOL
FEATURE = {name: 1 << bit for bit, name in enumerate(
    'layering striping exclusive-lock object-map fast-diff deep-flatten journaling data-pool operations migrating'
    ' non-primary dirty-cache'.split())}
OP_FEATURE = {'clone-parent': 1, 'clone-child': 2, 'group': 4, 'snap-trash': 8}


def hexed(values):
    return {key.decode('ascii'): value.hex() for key, value in sorted(values.items())}


def header(image, namespace='', **more):
    """The header of an image, and what rbd says about it."""
    spec = f'{P}/{namespace}/{image}' if namespace else f'{P}/{image}'
    info = rbd_json('info', spec)
    expected = {
        'size': info['size'],
        'order': info['order'],
        'features': sum(FEATURE[name] for name in info['features']),
        'objectPrefix': info['block_name_prefix'],
        'flags': (1 if 'object map invalid' in info['flags'] else 0) | (2 if 'fast diff invalid' in info['flags'] else 0),
        'stripeUnit': info.get('stripe_unit', info['object_size']),
        'stripeCount': info.get('stripe_count', 1),
        'opFeatures': sum(OP_FEATURE[name] for name in info['op_features']),
        'metadata': {},
        'snapshots': [
            {
                'id': snap['id'],
                'name': snap['name'],
                'size': snap['size'],
                'protection': 'protected' if snap.get('protected') in ('true', True) else 'unprotected',
                'namespace': snap['namespace']['type'],
            }
            for snap in sorted(rbd_json('snap', 'ls', '--all', spec), key=lambda snap: snap['id'])
        ],
        **more,
    }
    return {'object': f'rbd_header.{info["id"]}', 'omap': hexed(omap(f'rbd_header.{info["id"]}', namespace)), 'expected': expected}


def main():
    make_pools()
    pool_id = next(p['poolnum'] for p in json.loads(run('ceph', 'osd', 'lspools', '-f', 'json')) if p['poolname'] == P)
    data_id = next(p['poolnum'] for p in json.loads(run('ceph', 'osd', 'lspools', '-f', 'json')) if p['poolname'] == DATA_POOL)
    headers, values, data_objects = {}, {}, {}

    rbd('create', '--size', '3M', '--object-size', '1M', f'{P}/plain')
    headers['plain'] = header('plain', parent=None, dataPoolId=None)

    rbd('create', '--size', '5000001B', f'{P}/snapshots')
    rbd('snap', 'create', f'{P}/snapshots@one')
    rbd('resize', '--no-progress', '--size', '9M', f'{P}/snapshots')
    rbd('snap', 'create', f'{P}/snapshots@two')
    rbd('snap', 'protect', f'{P}/snapshots@two')
    rbd('snap', 'create', f'{P}/snapshots@drei-ß')
    rbd('snap', 'limit', 'set', f'{P}/snapshots', '--limit', '7')
    rbd('image-meta', 'set', f'{P}/snapshots', 'owner', 'Zoë')
    rbd('image-meta', 'set', f'{P}/snapshots', 'conf_rbd_cache', 'false')
    headers['snapshots'] = header('snapshots', snapLimit=7, metadata={'owner': 'Zoë', 'conf_rbd_cache': 'false'})

    rbd('create', '--size', '9M', '--object-size', '1M', '--stripe-unit', '64K', '--stripe-count', '4', f'{P}/striped')
    headers['striped'] = header('striped')

    rbd('create', '--size', '8M', '--data-pool', DATA_POOL, f'{P}/datapool')
    headers['data-pool'] = header('datapool', dataPoolId=data_id)

    rbd('create', '--size', '8M', '--image-feature', 'layering,exclusive-lock', f'{P}/flags')
    rbd('snap', 'create', f'{P}/flags@s')
    rbd('feature', 'enable', f'{P}/flags', 'object-map', 'fast-diff')
    headers['maps-invalid'] = header('flags', flags=3)

    # clones of version 1: rbd_children
    rbd('create', '--size', '8M', f'{P}/parent1')
    rbd('snap', 'create', f'{P}/parent1@base')
    rbd('snap', 'protect', f'{P}/parent1@base')
    rbd('clone', '--rbd-default-clone-format', '1', f'{P}/parent1@base', f'{P}/child1')
    rbd('clone', '--rbd-default-clone-format', '1', f'{P}/parent1@base', f'{P}/child1b')
    rbd('snap', 'create', f'{P}/child1@s')
    rbd('resize', '--no-progress', '--allow-shrink', '--size', '5M', f'{P}/child1')
    parent1 = rbd_json('info', f'{P}/parent1')
    base1 = rbd_json('snap', 'ls', f'{P}/parent1')[0]['id']
    headers['parent-of-v1-clones'] = header('parent1')
    headers['v1-clone'] = header('child1', parent={
        'pool': pool_id, 'namespace': '', 'imageId': parent1['id'], 'snapId': base1, 'overlap': 5 << 20})
    ((children_key, children_value),) = omap('rbd_children').items()
    values['rbd_children'] = {
        'keyHex': children_key.hex(), 'key': {'pool': pool_id, 'imageId': parent1['id'], 'snapId': base1},
        'valueHex': children_value.hex(), 'value': sorted([image_id('child1'), image_id('child1b')])}

    # clones of version 2, one of them in a namespace; then the parent's snapshot goes to the trash
    rbd('namespace', 'create', f'{P}/ns')
    rbd('create', '--size', '8M', f'{P}/parent2')
    rbd('snap', 'create', f'{P}/parent2@base')
    for child in (f'{P}/child2', f'{P}/ns/child2ns', f'{P}/flat'):
        rbd('clone', '--rbd-default-clone-format', '2', f'{P}/parent2@base', child)
    parent2 = rbd_json('info', f'{P}/parent2')
    base2 = rbd_json('snap', 'ls', f'{P}/parent2')[0]['id']
    # the set is sorted by pool, namespace, id
    children = [{'pool': pool_id, 'imageId': image_id('child2'), 'namespace': ''},
                {'pool': pool_id, 'imageId': image_id('flat'), 'namespace': ''},
                {'pool': pool_id, 'imageId': image_id('child2ns', 'ns'), 'namespace': 'ns'}]
    link = {'pool': pool_id, 'namespace': '', 'imageId': parent2['id'], 'snapId': base2}
    headers['parent-of-v2-clones'] = header('parent2', snapChildren={str(base2): children})
    headers['v2-clone'] = header('child2', parent={**link, 'overlap': 8 << 20})
    headers['v2-clone-in-namespace'] = header('child2ns', 'ns', parent={**link, 'overlap': 8 << 20})
    # without deep-flatten the snapshots of a flattened clone go on seeing the parent
    rbd('feature', 'disable', f'{P}/flat', 'deep-flatten')
    rbd('snap', 'create', f'{P}/flat@s')
    rbd('flatten', '--no-progress', f'{P}/flat')
    headers['flattened-clone-with-snapshot'] = header('flat', parent={**link, 'overlap': None})
    rbd('snap', 'rm', '--no-progress', f'{P}/parent2@base')
    headers['trashed-snapshot'] = header('parent2')

    # groups
    rbd('create', '--size', '4M', f'{P}/grouped')
    rbd('group', 'create', f'{P}/group')
    rbd('group', 'image', 'add', f'{P}/group', f'{P}/grouped')
    rbd('group', 'snap', 'create', f'{P}/group@gs')
    group_id = omap('rbd_group_directory')[b'name_group'][4:].decode()
    headers['group-snapshot'] = header('grouped', group={'pool': pool_id, 'groupId': group_id})

    # mirroring by snapshots, as a primary without a peer
    rbd('create', '--size', '4M', f'{P}/mirrored')
    rbd('mirror', 'pool', 'enable', P, 'image')
    rbd('mirror', 'pool', 'peer', 'add', P, 'client.none@elsewhere')
    rbd('mirror', 'image', 'enable', f'{P}/mirrored', 'snapshot')
    rbd('mirror', 'image', 'snapshot', f'{P}/mirrored')
    headers['mirror-snapshots'] = header('mirrored')

    # trash
    rbd('create', '--size', '4M', f'{P}/rubbish')
    rubbish = image_id('rubbish')
    rbd('trash', 'mv', f'{P}/rubbish', '--expires-at', '2040-01-01')
    values['rbd_trash'] = {'key': f'id_{rubbish}', 'valueHex': omap('rbd_trash')[f'id_{rubbish}'.encode()].hex(),
                           'value': {'source': 'user', 'name': 'rubbish', 'state': 0}}

    directory = omap('rbd_directory')
    values['rbd_directory'] = hexed({key: value for key, value in directory.items() if b'plain' in key + value})
    data_objects['rbd_id.plain'] = {'hex': data('rbd_id.plain').hex(), 'value': image_id('plain')}

    # format 1
    rbd('create', '--image-format', '1', '--size', '6M', f'{P}/old', env={'RBD_FORCE_ALLOW_V1': '1'})
    rbd('snap', 'create', f'{P}/old@first')
    rbd('resize', '--no-progress', '--size', '8M', f'{P}/old')
    rbd('snap', 'create', f'{P}/old@second')
    snaps = rbd_json('snap', 'ls', f'{P}/old')
    info = rbd_json('info', f'{P}/old')
    data_objects['old.rbd'] = {'hex': data('old.rbd').hex(), 'value': {
        'blockName': info['block_name_prefix'], 'order': info['order'], 'size': info['size'],
        'snapSeq': max(snap['id'] for snap in snaps),
        'snapshots': [{'id': s['id'], 'name': s['name'], 'size': s['size']} for s in sorted(snaps, key=lambda s: s['id'])]}}

    recorded = {'recorded': f'Ceph {version()}', 'headers': headers, 'values': values, 'objects': data_objects}
    with open(os.path.join(here, 'vectors', 'recorded.json'), 'w') as out:
        json.dump(recorded, out, indent=1, ensure_ascii=True)
        out.write('\n')
    remove_pools()


main()
