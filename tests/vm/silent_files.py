#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A file system whose server has gone, as far as its one file is concerned.

Mounted on the folder that is named, it has a file called "file", which can be opened; who asks for its
attributes waits as long as this process lives.
"""

import ctypes
import errno
import os
import stat
import struct
import sys

LOOKUP, FORGET, GETATTR, OPEN, RELEASE, INIT, INTERRUPT, BATCH_FORGET = 1, 2, 3, 14, 18, 26, 36, 42
ROOT, FILE = 1, 2


def attributes(node):
    """struct fuse_attr"""
    mode = stat.S_IFDIR | 0o755 if node == ROOT else stat.S_IFREG | 0o644
    return struct.pack("=6Q10I", node, 0, 0, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


def answer(opcode, node, body):
    """An error and bytes, or None: no answer."""
    if opcode == INIT:
        return 0, struct.pack("=4I2H2I2H8I", 7, 31, 65536, 0, 12, 9, 65536, 1, 1, 0, *[0] * 8)
    if opcode == LOOKUP and body.rstrip(b"\0") == b"file":
        return 0, struct.pack("=4Q2I", FILE, 0, 0, 0, 0, 0) + attributes(FILE)
    if opcode == LOOKUP:
        return errno.ENOENT, b""
    if opcode == GETATTR and node == ROOT:
        return 0, struct.pack("=Q2I", 0, 0, 0) + attributes(ROOT)
    if opcode == OPEN:
        return 0, struct.pack("=Q2I", 0, 0, 0)
    if opcode == RELEASE:
        return 0, b""
    if opcode in (GETATTR, FORGET, BATCH_FORGET, INTERRUPT):
        return None
    return errno.ENOSYS, b""


def mount(connection, folder):
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"fd={connection},rootmode=40000,user_id=0,group_id=0,allow_other"
    if libc.mount(b"silent", folder.encode(), b"fuse.silent", 0, options.encode()) != 0:
        sys.exit(f"{folder}: {os.strerror(ctypes.get_errno())}")


def main():
    connection = os.open("/dev/fuse", os.O_RDWR)
    mount(connection, sys.argv[1])
    while True:
        request = os.read(connection, 1 << 17)
        _, opcode, unique, node = struct.unpack_from("=IIQQ", request)
        said = answer(opcode, node, request[40:])
        if said:
            error, body = said
            os.write(connection, struct.pack("=IiQ", 16 + len(body), -error, unique) + body)


main()
