#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Write what to start fuzzing from: headers, tables, or whole small images; what campaigns have
collected (corpus/TARGET.xz); and what has once found a bug (regressions/TARGET-WHAT).

usage: seeds.py FOLDER header|snapshots|bitmaps|luks|check|image|inflate
"""

import glob
import os
import random
import shutil
import struct
import sys
import zlib

sys.dont_write_bytecode = True
import corpus  # noqa: E402


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


def headers():
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


def snapshot(l1=0x70000, entries=1, name=b's1', extra=24):
    return (struct.pack('>QIHHIIQII', l1, entries, 1, len(name), 1700000000, 5, 6, 0, extra)
            + b'\0' * extra + b'1' + name).ljust(-(-(41 + extra + len(name)) // 8) * 8, b'\0')


def snapshots():
    for kind in (0, 1, 14, 15):
        yield bytes([kind]) + snapshot()
        yield bytes([kind]) + snapshot(l1=0x200, name=b'') + snapshot(extra=16)
        yield bytes([kind]) + snapshot(extra=0) + snapshot(extra=1025)


def bitmap(table=0x40000, entries=1, flags=2, granularity=16, name=b'bm0'):
    return (struct.pack('>QIIBBHI', table, entries, flags, 1, granularity, len(name), 0)
            + name).ljust(-(-(24 + len(name)) // 8) * 8, b'\0')


def bitmaps():
    for bits in (0, 7, 12):
        yield bytes([bits]) + bitmap() + bitmap(name=b'another', flags=1)
        yield bytes([bits]) + bitmap(entries=64, granularity=9)
        yield bytes([bits]) + struct.pack('>4Q', 0, 1, 0x50000, 0x50001)


def luks(mode=b'xts-plain64', digest=b'sha256', key=64, slots=1):
    """Where the area is, and the header in it; each slot begins at a multiple of 4096."""
    stride = -(-key * 4000 // 4096) * 8
    header = struct.pack('>6sH32s32s32sII20s32sI40s', b'LUKS\xba\xbe', 1, b'aes', mode, digest,
                         8 + 8 * stride, key, b'', b'', 1000, b'')
    for i in range(8):
        header += struct.pack('>II32sII', 0xac71f3 if i < slots else 0xdead, 2000, b'',
                              8 + i * stride, 4000)
    return struct.pack('>QQ', 0x40000, (8 + 8 * stride) * 512) + header


def luks_headers():
    yield luks()
    yield luks(b'xts-plain', b'sha1', 32, 8)
    yield luks(b'xts-essiv:sha256', b'sha512', 48)
    yield luks(b'cbc-essiv:sha256', b'sha256', 32, 2)
    yield luks(b'cbc-plain64:sha1', b'sha256', 24)
    yield luks(b'ecb', slots=0)


def image(order=4, extended=False, shared=False, marked=False):
    """Clusters of 512 bytes (or 16 KiB), in the order that qemu-img has."""
    bits = 14 if extended else 9
    cluster = 1 << bits
    copied = 0 if shared else 1 << 63
    clusters = [header(bits=bits, size=1 << 16, order=order, features=(16 * extended, 0, marked),
                       snapshots=shared, length=104,
                       extensions=extension(0x23852875, struct.pack('>IIQQ', 1, 0, 32,
                                                                    6 * cluster)) * marked)]
    clusters.append(struct.pack('>Q', 2 * cluster))
    used = 11 if shared or marked else 6
    width = 1 << order
    total = sum((2 if shared and i in (4, 5) else 1) << width * i for i in range(used))
    clusters.append(total.to_bytes(-(-width * used // 8), 'little') if width < 16 else
                    b''.join((2 if shared and i in (4, 5) else 1).to_bytes(width // 8, 'big')
                             for i in range(used)))
    clusters.append(struct.pack('>Q', 4 * cluster | copied))
    entry = struct.pack('>Q', 5 * cluster | copied)
    clusters.append(entry + struct.pack('>Q', 1) * extended + (
        b'' if extended else struct.pack('>QQ', 1, 1 << 62 | 5 * cluster + 100)))
    clusters.append(b'data')
    clusters.append(bitmap(table=7 * cluster, granularity=12))
    clusters.append(struct.pack('>Q', 9 * cluster))
    clusters.append(snapshot(l1=10 * cluster))
    clusters.append(b'bits')
    clusters.append(struct.pack('>Q', 4 * cluster))
    return b''.join(c.ljust(cluster, b'\0') for c in clusters[:used])[:7 * cluster if extended
                                                                     else None]


def images():
    for order in range(7):
        yield image(order=order)
    yield image(extended=True)
    yield image(shared=True)
    yield image(marked=True)
    yield from headers()


def streams():
    """Two clusters for each size of fuzz_inflate.c, as raw deflate streams."""
    for bits in range(8):
        for cluster in (b'\0' * (512 << bits), bytes(range(256)) * (2 << bits)):
            deflate = zlib.compressobj(9, zlib.DEFLATED, -12)
            yield bytes([bits << 1]) + deflate.compress(cluster) + deflate.flush()


def requests(lot, number=24):
    """Lives of fuzz_image: how each begins and ends, and what is asked."""
    lives = b''
    for life in range(3):
        lives += bytes([[0, 4, 3][life], lot.choice([0, 0, 1, 32]), lot.randrange(8), number])
        for _ in range(number):
            where = lot.choice([4 * lot.randrange(16), 1 + 4 * lot.randrange(1, 16),
                                2 + 4 * lot.randrange(8), 3 + 4 * lot.randrange(1 << 14)])
            lives += struct.pack('<BHBB', lot.randrange(256), where,
                                 lot.choice([0, 7, 63, 129, 192]), lot.randrange(32))
    return lives


def pieces(files):
    """Whole files for fuzz_image, without their zeros."""
    out = bytes([1, len(files) - 1])
    for data in files:
        runs = [(at, data[at:at + 512].rstrip(b'\0')) for at in range(0, len(data), 512)]
        runs = [(at, run) for at, run in runs if run]
        out += struct.pack('<QB', len(data) << 2, len(runs))
        out += b''.join(struct.pack('<QH', at, len(run)) + run for at, run in runs)
    return out


def served():
    """Images for fuzz_image: all kinds that the simulator makes, as they are and poked; and files."""
    lot = random.Random(1)
    for seed in range(40):
        yield struct.pack('<BIB', 0, seed, 0) + b'\0\0' + requests(lot)
    for seed in range(40):
        pokes = b''.join(struct.pack('<BBBBHBBB', lot.choice([0, 0, 0, 1, 2, 3]), 0,
                                     lot.randrange(11), lot.randrange(4), 8 * lot.randrange(32),
                                     lot.randrange(11), lot.randrange(4), lot.randrange(4))
                         for _ in range(2))
        yield struct.pack('<BIB', 0, seed, 2) + pokes + b'\0\0' + requests(lot)
    plain = [image(order=order) for order in range(7)]
    below = header(backing=b'below0', extensions=extension(0xe2792aca, b'qcow2'), bits=9,
                   size=1 << 16)
    below = below.ljust(512, b'\0') + plain[4][512:3 * 512] + b'\0' * 2048
    for files in [[plain[0]], [plain[4]], [plain[6]], [image(extended=True)], [image(shared=True)],
                  [image(marked=True)], [below, plain[4]], [below, image(shared=True)]]:
        yield pieces(files) + b'\0\0' + requests(lot)


KINDS = {'header': headers, 'snapshots': snapshots, 'bitmaps': bitmaps, 'luks': luks_headers,
         'check': images, 'image': served, 'inflate': streams}

HERE = os.path.dirname(os.path.abspath(__file__))


def main():
    folder, kind = sys.argv[1:]
    os.makedirs(folder, exist_ok=True)
    for i, seed in enumerate(KINDS[kind]()):
        with open(os.path.join(folder, f'{kind}-{i:02}'), 'wb') as out:
            out.write(seed)
    for path in glob.glob(os.path.join(HERE, 'regressions', f'{kind}-*')):
        shutil.copy(path, folder)
    path = os.path.join(HERE, 'corpus', f'{kind}.xz')
    if os.path.exists(path):
        corpus.unpack_to(path, folder)


main()
