#!/usr/bin/env python3
"""Prints what a pool of RADOS holds as JSON: rados-dump.py POOL → {object: {"bytes": …, "data": hex, "omap": {key: hex}}}.
Of data objects only the size; keys with zero bytes (rbd_children) are cut off there by the binding."""
import json
import os
import sys

import rados

cluster = rados.Rados(conffile=os.environ['CEPH_CONF'])
cluster.connect()
pool = cluster.open_ioctx(sys.argv[1])
found = {}
for entry in pool.list_objects():
    try:
        size, _ = pool.stat(entry.key)
    except rados.ObjectNotFound:
        continue
    found[entry.key] = {'bytes': size, 'data': '', 'omap': {}}
    if entry.key.startswith('rbd_data.'):
        continue
    found[entry.key]['data'] = pool.read(entry.key, size).hex() if size > 0 else ''
    with rados.ReadOpCtx() as operation:
        values, _ = pool.get_omap_vals(operation, '', '', 10000)
        pool.operate_read_op(operation, entry.key)
        found[entry.key]['omap'] = {key: value.hex() for key, value in values}
print(json.dumps(found))
