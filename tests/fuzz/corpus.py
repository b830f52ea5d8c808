#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A corpus as one file: many small inputs compress well together.

corpus.py pack FILE FOLDER      all files of FOLDER, the smallest first
corpus.py unpack FILE FOLDER
"""
import hashlib
import lzma
import os
import struct
import sys


def pack(inputs):
    """Bytes for all of them."""
    raw = b"".join(struct.pack(">I", len(data)) + data
                   for data in sorted(inputs, key=lambda data: (len(data), data)))
    return lzma.compress(raw, preset=9 | lzma.PRESET_EXTREME)


def unpack(packed):
    raw, at = lzma.decompress(packed), 0
    while at < len(raw):
        length, = struct.unpack_from(">I", raw, at)
        yield raw[at + 4:at + 4 + length]
        at += 4 + length


def read(path):
    with open(path, "rb") as file:
        return file.read()


def unpack_to(path, folder):
    for data in unpack(read(path)):
        with open(os.path.join(folder, hashlib.sha256(data).hexdigest()[:16]), "wb") as out:
            out.write(data)


def main():
    command, path, folder = sys.argv[1:]
    if command == "unpack":
        unpack_to(path, folder)
        return
    packed = pack([read(os.path.join(folder, name)) for name in os.listdir(folder)])
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as out:
        out.write(packed)


if __name__ == "__main__":
    main()
