"""Builds object maps, plainly: what the vectors are made with, so that the codec is not its own judge."""
import struct

NAMES = ['NONEXISTENT', 'EXISTS', 'PENDING', 'EXISTS_CLEAN']

TABLE = []
for byte in range(256):
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    TABLE.append(byte)


def crc(data):
    """CRC-32C, from 0 and not inverted."""
    value = 0
    for byte in data:
        value = TABLE[(value ^ byte) & 255] ^ value >> 8
    return value


def pack(states):
    packed = bytearray((len(states) + 3) // 4)
    for index, state in enumerate(states):
        packed[index // 4] |= state << (6 - 2 * (index % 4))
    return bytes(packed)


def encode(states, count=None, footer=None):
    packed = pack(states)
    header = struct.pack('<BBIQ', 1, 1, 8, len(states) if count is None else count)
    blocks = [packed[at:at + 4096] for at in range(0, len(packed), 4096)]
    if footer is None:
        footer = struct.pack('<II', crc(header), len(blocks)) + b''.join(struct.pack('<I', crc(block)) for block in blocks)
    return struct.pack('<I', len(header)) + header + packed + struct.pack('<I', len(footer)) + footer
