#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Write headers to start fuzzing from, each the first bytes of an image.

usage: seeds.py FOLDER
"""

import os
import struct
import sys


def extension(kind, data):
    return struct.pack('>II', kind, len(data)) + data + b'\0' * (-len(data) % 8)


def header(version=3, bits=16, size=64 << 20, crypt=0, snapshots=0, backing=b'', features=(0, 0, 0),
           order=4, length=112, compression=0, extensions=b''):
    cluster = 1 << bits
    fixed = 72 if version == 2 else length
    name_at = fixed + len(extensions) + 8
    entry_bits = 4 if features[0] & 16 else 3
    l1 = (size + (1 << (2 * bits - entry_bits)) - 1) >> (2 * bits - entry_bits)
    raw = struct.pack('>IIQIIQIIQQIIQ', 0x514649fb, version, name_at if backing else 0,
                      len(backing), bits, size, crypt, l1, 3 * cluster, cluster, 1, snapshots,
                      8 * cluster if snapshots else 0)
    if version == 3:
        raw += struct.pack('>QQQII', *features, order, length)
        raw += (bytes([compression]) + b'\0' * 7)[:length - 104]
    return raw.ljust(fixed, b'\0') + extensions + b'\0' * 8 + backing


def seeds():
    names = extension(0x6803f857, b'\0\x00' + b'dirty bit'.ljust(46, b'\0'))
    yield header(extensions=names)
    yield header(version=2)
    yield header(version=2, backing=b'base.raw', extensions=extension(0xe2792aca, b'raw'))
    yield header(backing=b'base.qcow2', extensions=extension(0xe2792aca, b'qcow2') + names)
    yield header(features=(8, 0, 0), compression=1)
    yield header(features=(16, 0, 0), bits=14)
    yield header(features=(4, 0, 2), extensions=extension(0x44415441, b'disk.raw'))
    yield header(features=(1 << 40, 0, 0), extensions=names.replace(b'\0\0dirty', b'\0\x28dirty'))
    yield header(features=(0, 1, 1),
                 extensions=extension(0x23852875, struct.pack('>IIQQ', 1, 0, 32, 0x50000)))
    yield header(crypt=2, extensions=extension(0x0537be77, struct.pack('>QQ', 0x40000, 2068480)))
    for order in range(7):
        yield header(order=order, bits=9 + 2 * order, size=1 << 20, length=104)
    yield header(snapshots=3)


os.makedirs(sys.argv[1], exist_ok=True)
for i, seed in enumerate(seeds()):
    with open(os.path.join(sys.argv[1], f'header-{i:02}'), 'wb') as out:
        out.write(seed)
