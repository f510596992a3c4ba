"""Records vectors/recorded-*.bin from a live cluster: python3 record.py"""
import os
import sys

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(here))
sys.path.insert(0, os.path.join(os.path.dirname(here), 'rbd-diff'))
from ceph import *  # noqa: E402,F403
from stream import diff, write  # noqa: E402

P = METADATA_POOL


def keep(name, image):
    with open(os.path.join(here, 'vectors', f'recorded-{name}.bin'), 'wb') as out:
        out.write(rbd('export', '--export-format', '2', '--no-progress', image, '-'))


def main():
    make_pools()
    rbd('create', '--size', '40000B', '--object-size', '8K', '--stripe-unit', '4K', '--stripe-count', '2',
        '--data-pool', DATA_POOL, f'{P}/all')
    rbd('image-meta', 'set', f'{P}/all', 'owner', 'Zoë')
    rbd('image-meta', 'set', f'{P}/all', 'conf_rbd_cache', 'false')
    for snap, records in (('one', [write(0, b'a' * 100)]), ('two', [write(30000, b'b' * 200)]), (None, [write(50, b'c')])):
        rbd('import-diff', '--no-progress', '-', f'{P}/all', stdin=diff(*records, to_snap=snap))
    rbd('snap', 'protect', f'{P}/all@one')
    keep('everything', f'{P}/all')
    rbd('create', '--size', '0', f'{P}/empty')
    keep('empty', f'{P}/empty')
    remove_pools()


main()
