"""
Records vectors/recorded-*.bin from a live cluster, and checks vectors/three-maps.json against it: python3 record.py

The check writes maps by hand for two snapshots and the head of an image without any data, one object for each of the
64 combinations, and compares what `rbd diff --whole-object` makes of them with the column `ceph`.
"""
import json
import os
import sys

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(here))
sys.path.insert(0, os.path.join(os.path.dirname(here), 'rbd-diff'))
from ceph import *  # noqa: E402,F403
from maps import NAMES, encode  # noqa: E402
from stream import diff, write, zero  # noqa: E402

P = METADATA_POOL


def keep(name, map_object):
    with open(os.path.join(here, 'vectors', f'recorded-{name}.bin'), 'wb') as out:
        out.write(data(map_object))


def apply(image, *records, **header):
    rbd('import-diff', '--no-progress', '--sparse-size', '0', '-', f'{P}/{image}', stdin=diff(*records, **header))


def record():
    rbd('create', '--size', '72K', '--object-size', '8K', f'{P}/life')
    name = f'rbd_object_map.{image_id("life")}'
    keep('new', name)
    apply('life', write(0, b'a' * 40000), to_snap='one')
    apply('life', write(8192, b'b'), zero(16384, 8192))
    keep('life-head', name)
    snap = rbd_json('snap', 'ls', f'{P}/life')[0]['id']
    keep('life-snapshot', f'{name}.{snap:016x}')
    rbd('resize', '--no-progress', '--size', '1G', f'{P}/life')
    apply('life', write((1 << 30) - 1, b'c'), write(1 << 29, b'c'))
    keep('life-grown', name)


def check_three_maps():
    with open(os.path.join(here, 'vectors', 'three-maps.json')) as file:
        combinations = json.load(file)['combinations']
    rbd('create', '--size', f'{4 * len(combinations)}K', '--object-size', '4K', f'{P}/maps')
    for snap in ('from', 'mid'):
        rbd('snap', 'create', f'{P}/maps@{snap}')
    snaps = {snap['name']: snap['id'] for snap in rbd_json('snap', 'ls', f'{P}/maps')}
    name = f'rbd_object_map.{image_id("maps")}'
    for version, key in ((f'{name}.{snaps["from"]:016x}', 'from'), (f'{name}.{snaps["mid"]:016x}', 'mid'), (name, 'end')):
        rados('put', version, '-', stdin=encode([NAMES.index(c[key]) for c in combinations]))
    found = {}
    for extent in rbd_json('diff', '--whole-object', '--from-snap', 'from', f'{P}/maps'):
        for index in range(extent['offset'] // 4096, (extent['offset'] + extent['length']) // 4096):
            found[index] = 'data' if extent['exists'] == 'true' else 'zero'
    wrong = [(c, found.get(i, 'none')) for i, c in enumerate(combinations) if found.get(i, 'none') != c['reported']]
    if wrong:
        raise SystemExit(f'{len(wrong)} combinations differ: {wrong}')
    print(f'{len(combinations)} combinations are as Ceph {version_of_ceph()} reports them')


version_of_ceph = version
make_pools()
record()
check_three_maps()
remove_pools()
