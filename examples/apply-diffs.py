#!/usr/bin/env python3
"""Applies rbd diffs (version 1), one behind the other on standard input, to a new raw file: what `rbd import-diff` does to
an image, in forty lines, to show how little there is to it.   zstd -dc *.rbdiff.zst | apply-diffs.py FILE"""
import os
import sys

PIECE = 4 << 20
source = sys.stdin.buffer


def take(count):
    data = source.read(count)
    if len(data) != count:
        sys.exit('the stream ends in the middle')
    return data


def number(count=8):
    return int.from_bytes(take(count), 'little')


with open(sys.argv[1], 'xb') as file:
    while banner := source.read(12):
        if banner != b'rbd diff v1\n':
            sys.exit('that is no rbd diff')
        while (tag := take(1)) != b'e':
            if tag in b'ft':  # names of the snapshots that it is between
                take(number(4))
            elif tag == b's':  # from here on the image has this size; it grows by zeros
                file.truncate(number())
            elif tag == b'w':
                offset, length = number(), number()
                file.seek(offset)
                for at in range(0, length, PIECE):
                    file.write(take(min(PIECE, length - at)))
            elif tag == b'z':
                offset, length = number(), number()
                end = min(offset + length, os.fstat(file.fileno()).st_size)
                file.seek(offset)
                for at in range(offset, end, PIECE):
                    file.write(bytes(min(PIECE, end - at)))
            else:
                sys.exit(f'a record of kind {tag!r} is not known')
    os.fsync(file.fileno())
