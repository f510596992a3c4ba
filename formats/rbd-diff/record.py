"""Records vectors/recorded-*.diff from a live cluster: python3 record.py"""
import os
import sys

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(here))
from ceph import *  # noqa: E402,F403
from stream import diff, write, zero  # noqa: E402

P = METADATA_POOL


def apply(image, *records, **header):
    """Writes by an import of a made stream: exact to the byte, and names may be any bytes."""
    rbd('import-diff', '--no-progress', '--sparse-size', '0', '-', f'{P}/{image}', stdin=diff(*records, **header))


def keep(name, *args):
    with open(os.path.join(here, 'vectors', f'recorded-{name}.diff'), 'wb') as out:
        out.write(rbd('export-diff', '--no-progress', *args, '-'))


def text(count, letter):
    return letter * count


def main():
    make_pools()

    rbd('create', '--size', '40000B', '--object-size', '8K', f'{P}/sizes')
    apply('sizes', write(0, text(3000, b'a')), write(20000, text(20000, b'b')), to_snap='base')
    rbd('resize', '--no-progress', '--allow-shrink', '--size', '25001B', f'{P}/sizes')
    apply('sizes', zero(0, 1024), to_snap='shrunk')
    keep('shrunk', '--from-snap', 'base', f'{P}/sizes@shrunk')
    rbd('resize', '--no-progress', '--size', '50000B', f'{P}/sizes')
    apply('sizes', write(49990, text(3, b'c')), to_snap='grown')
    keep('grown', '--from-snap', 'shrunk', f'{P}/sizes@grown')
    keep('shrunk-and-grown', '--from-snap', 'base', f'{P}/sizes@grown')
    keep('nothing', '--from-snap', 'base', f'{P}/sizes@base')
    keep('whole-object', '--whole-object', '--from-snap', 'base', f'{P}/sizes')

    rbd('create', '--size', '5G', '--object-size', '32M', f'{P}/large')
    apply('large', write((5 << 30) - (32 << 20), text(7, b'c')))
    keep('large', f'{P}/large')

    rbd('create', '--size', '100000B', '--object-size', '8K', '--stripe-unit', '4K', '--stripe-count', '2', f'{P}/striped')
    apply('striped', write(0, text(9000, b'd')), write(50000, text(2000, b'e')), to_snap='base')
    apply('striped', write(4096, text(512, b'f')), zero(50000, 1000), to_snap='next')
    keep('striped', f'{P}/striped@base')
    keep('striped-next', '--from-snap', 'base', f'{P}/striped@next')
    keep('striped-whole-object', '--whole-object', '--from-snap', 'base', f'{P}/striped@next')

    rbd('create', '--size', '64K', '--object-size', '8K', f'{P}/parent')
    apply('parent', write(8192, text(5000, b'g')), to_snap='base')
    rbd('clone', '--rbd-default-clone-format', '2', f'{P}/parent@base', f'{P}/clone')
    apply('clone', write(0, text(100, b'h')), zero(9000, 500), to_snap='c')
    keep('clone', f'{P}/clone@c')

    rbd('create', '--size', '16K', '--object-size', '8K', f'{P}/names')
    names = {'slash-and-at': b'a/b@c', 'longest': b'n' * 4096, 'not-utf-8': b'caf\xe9 \xff\xc3', 'umlaut': 'grüße\n'.encode()}
    for index, (kind, name) in enumerate(names.items()):
        apply('names', write(100 * index, b'x'), to_snap=name)
        keep(f'from-{kind}', '--from-snap', name, f'{P}/names')
        keep(f'to-{kind}', '--image', f'{P}/names', '--snap', name)
    remove_pools()


main()
