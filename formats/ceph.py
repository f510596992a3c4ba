"""Runs rbd and rados for the recording scripts beside this file. Needs CEPH_CONF and the right to make pools."""
import json
import os
import re
import subprocess

METADATA_POOL = 'formats'
DATA_POOL = 'formats-data'


def run(*args, stdin=None, check=True, env=None):
    """Standard output of a command, as bytes."""
    done = subprocess.run(args, input=stdin, capture_output=True, env={**os.environ, **(env or {})})
    if check and done.returncode != 0:
        raise SystemExit(f'{args}: status {done.returncode}: {done.stderr.decode(errors="replace")}')
    return done.stdout


def rbd(*args, **kwargs):
    return run('rbd', *args, **kwargs)


def rbd_json(*args):
    return json.loads(rbd(*args, '--format', 'json'))


def version():
    return re.search(rb'version (\S+)', run('rbd', '--version')).group(1).decode()


def make_pools():
    pools = run('ceph', 'osd', 'pool', 'ls').decode().split()
    for pool in (METADATA_POOL, DATA_POOL):
        if pool not in pools:
            run('ceph', 'osd', 'pool', 'create', pool, '8')
            run('ceph', 'osd', 'pool', 'application', 'enable', pool, 'rbd')
    rbd('pool', 'init', METADATA_POOL)


def remove_pools():
    run('ceph', 'config', 'set', 'mon', 'mon_allow_pool_delete', 'true')
    for pool in (METADATA_POOL, DATA_POOL):
        run('ceph', 'osd', 'pool', 'rm', pool, pool, '--yes-i-really-really-mean-it', check=False)


def rados(*args, namespace='', **kwargs):
    return run('rados', '-p', METADATA_POOL, *(['-N', namespace] if namespace else []), *args, **kwargs)


def omap(name, namespace=''):
    """The omap of an object: bytes by bytes, read from the listing, since keys may be binary."""
    values, key, value, where = {}, None, b'', None
    for line in rados('listomapvals', name, namespace=namespace).decode('latin1').split('\n'):
        if re.match(r'value \(\d+ bytes\) :$', line):
            where = 'value'
        elif re.match(r'key \(\d+ bytes\):$', line):
            key, where = b'', 'key'
        elif re.match(r'[0-9a-f]{8}( |$)', line) and where is not None:
            part = bytes.fromhex(line[8:].split('|')[0].replace(' ', ''))
            if where == 'key':
                key += part
            else:
                value += part
        elif line == '' and where == 'value':
            values[key] = value
            key, value, where = None, b'', None
        elif line != '':
            key = line.encode('latin1')
    return values


def data(name, namespace=''):
    return rados('get', name, '-', namespace=namespace)


def image_id(image, namespace=''):
    spec = f'{METADATA_POOL}/{namespace}/{image}' if namespace else f'{METADATA_POOL}/{image}'
    return rbd_json('info', spec)['id']
