"""Frames of zstd, plainly: raw and repeated blocks only, with content size and checksum. The same bytes everywhere."""
import struct

P1, P2, P3, P4, P5 = (11400714785074694791, 14029467366897019727, 1609587929392839161, 9650029242287828579,
                      2870177450012600261)
MASK = 2 ** 64 - 1


def rotated(value, by):
    return (value << by | value >> (64 - by)) & MASK


def step(lane, value):
    return rotated((lane + value * P2) & MASK, 31) * P1 & MASK


def xxh64(data):
    at, left = 0, len(data)
    if left >= 32:
        lanes = [(P1 + P2) & MASK, P2, 0, -P1 & MASK]
        for at in range(0, left - 31, 32):
            lanes = [step(lane, value) for lane, value in zip(lanes, struct.unpack_from('<4Q', data, at))]
        at += 32
        total = sum(rotated(lane, by) for lane, by in zip(lanes, (1, 7, 12, 18))) & MASK
        for lane in lanes:
            total = ((total ^ step(0, lane)) * P1 + P4) & MASK
    else:
        total = P5
    total = (total + left) & MASK
    while left - at >= 8:
        total = (rotated(total ^ step(0, struct.unpack_from('<Q', data, at)[0]), 27) * P1 + P4) & MASK
        at += 8
    if left - at >= 4:
        total = (rotated(total ^ struct.unpack_from('<I', data, at)[0] * P1 & MASK, 23) * P2 + P3) & MASK
        at += 4
    for byte in data[at:]:
        total = rotated(total ^ byte * P5 & MASK, 11) * P1 & MASK
    for by, prime in ((33, P2), (29, P3)):
        total = (total ^ total >> by) * prime & MASK
    return total ^ total >> 32


def frame(data):
    """One frame: magic, a header with a 4-byte size, blocks, the checksum."""
    pieces = [data[at:at + 4096] for at in range(0, len(data), 4096)] or [b'']
    parts = [struct.pack('<IBI', 0xfd2fb528, 0xa4, len(data))]
    for number, piece in enumerate(pieces):
        same = len(piece) > 1 and piece.count(piece[:1]) == len(piece)
        last = number == len(pieces) - 1
        parts.append(struct.pack('<I', last | same << 1 | len(piece) << 3)[:3] + (piece[:1] if same else piece))
    return b''.join(parts) + struct.pack('<I', xxh64(data) & 0xffffffff)
