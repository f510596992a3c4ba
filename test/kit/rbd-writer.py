#!/usr/bin/python3
"""Changes images through Ceph's own Python binding, so that what rbdelta reads was not written by rbdelta.

One command a line on stdin, as JSON; one answer a line on stdout: {"ok": result} or {"error": text, "errno": n}.
Images are named [namespace/]image in the pool of the first argument, and stay open until `close`.
"""
import base64
import json
import sys

import rados
import rbd

conf, pool = sys.argv[1:3]
cluster = rados.Rados(conffile=conf)
cluster.connect()
images = {}


def context(namespace, of_pool=pool):
    io = cluster.open_ioctx(of_pool)
    io.set_namespace(namespace)
    return io


def split(name):
    namespace, _, image = name.rpartition("/")
    return namespace, image


def opened(name):
    if name not in images:
        namespace, image = split(name)
        io = context(namespace)
        images[name] = (rbd.Image(io, image), io)
    return images[name][0]


def create(image, size, order=20, features=None, stripeUnit=0, stripeCount=0, dataPool=None):
    namespace, name = split(image)
    if namespace:
        try:
            rbd.RBD().namespace_create(context(""), namespace)
        except rbd.ImageExists:
            pass
    rbd.RBD().create(context(namespace), name, size, order, old_format=False, features=features,
                     stripe_unit=stripeUnit, stripe_count=stripeCount, data_pool=dataPool)


def clone(parent, snap, image, order=20, features=None):
    (parent_namespace, parent_name), (namespace, name) = split(parent), split(image)
    rbd.RBD().clone(context(parent_namespace), parent_name, snap, context(namespace), name, features, order)


def close(image):
    if image in images:
        opened_image, io = images.pop(image)
        opened_image.close()
        io.close()


def remove(image):
    close(image)
    namespace, name = split(image)
    rbd.RBD().remove(context(namespace), name)


def of_image(act):
    return lambda image, **options: act(opened(image), **options)


commands = {
    "create": create,
    "clone": clone,
    "close": close,
    "remove": remove,
    "write": of_image(lambda i, offset, data: i.write(base64.b64decode(data), offset)),
    "fill": of_image(lambda i, offset, length, byte: i.write(bytes([byte]) * length, offset)),
    "discard": of_image(lambda i, offset, length: i.discard(offset, length)),
    "writeZeroes": of_image(lambda i, offset, length: i.write_zeroes(offset, length)),
    "resize": of_image(lambda i, size: i.resize(size)),
    # As a hypervisor that gives the exclusive lock to nobody.
    "lock": of_image(lambda i: i.lock_acquire(rbd.RBD_LOCK_MODE_EXCLUSIVE)),
    "flush": of_image(lambda i: i.flush()),
    "flatten": of_image(lambda i: i.flatten()),
    "read": of_image(lambda i, offset, length: base64.b64encode(i.read(offset, length)).decode()),
    "createSnapshot": of_image(lambda i, name: i.create_snap(name)),
    "removeSnapshot": of_image(lambda i, name: i.remove_snap(name)),
    "protectSnapshot": of_image(lambda i, name: i.protect_snap(name)),
    "unprotectSnapshot": of_image(lambda i, name: i.unprotect_snap(name)),
    "rollback": of_image(lambda i, name: i.rollback_to_snap(name)),
    "setFeatures": of_image(lambda i, features, enabled: i.update_features(features, enabled)),
    "flags": of_image(lambda i: i.flags()),
    "id": of_image(lambda i: i.id()),
    "listSnapshots": of_image(lambda i: [{"id": s["id"], "name": s["name"], "size": s["size"]} for s in i.list_snaps()]),
}

for line in sys.stdin:
    command = json.loads(line)
    try:
        answer = {"ok": commands[command.pop("do")](**command)}
    except rbd.Error as error:
        answer = {"error": str(error), "errno": getattr(error, "errno", None)}
    print(json.dumps(answer), flush=True)

for name in list(images):
    close(name)
cluster.shutdown()
