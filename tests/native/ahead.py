#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Space of the host that is set aside ahead of use: it is there when the process is killed, and after a clean
close only what is counted takes any.  And tables have theirs from the start: a flush must not be the first to need it.

ahead.py --qio PATH
"""
import argparse
import os
import struct
import sys
import tempfile

import tools

CLUSTER = 64 << 10
SKIPPED = 77
# From two lanes: what the first one has in stock lies below what the second one takes.
WRITES = ["write 0 64k 1", "write 10M 64k 2", "write 20M 4k 3", "write 30M 4k 4"]


def fail(text):
    sys.exit("ahead.py: " + text)


def counted(path):
    """How many clusters have a refcount, all in the first block."""
    with open(path, "rb") as image:
        header = image.read(112)
        image.seek(struct.unpack_from(">Q", header, 48)[0])
        image.seek(struct.unpack(">Q", image.read(8))[0])
        return sum(count > 0 for count in struct.unpack(">32768H", image.read(CLUSTER)))


def taken(path):
    """Clusters of the host's space, rounded up."""
    return -(-os.stat(path).st_blocks * 512 // CLUSTER)


def sets_aside(folder):
    """Does this host, when it is asked by somebody else?"""
    path = os.path.join(folder, "probe")
    with open(path, "wb"):
        pass
    made = tools.run(["fallocate", "--keep-size", "--length", "1M", path])
    return made.returncode == 0 and taken(path) >= (1 << 20) // CLUSTER


def served(qio, folder, name, commands, options="", size="64M", how=("--direct",)):
    path = os.path.join(folder, name)
    made = tools.run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", "compat=1.1" + options, path,
                      size])
    if made.returncode:
        fail(made.stdout)
    result = tools.run([qio, path, *how, "--lanes", "2"],
                       input="".join(line + "\n" for line in commands))
    if "no direct I/O" in result.stdout:
        print("SKIP: no direct I/O in", folder)
        sys.exit(SKIPPED)
    return path, result


def words(image, offset, count):
    image.seek(offset)
    return struct.unpack(f">{count}Q", image.read(8 * count))


def check_tables(qio, folder):
    """Of 16 KiB each, in slices of 4: the first ones have entries, and the others no holes."""
    cluster, address = 16 << 10, (1 << 56) - 512
    path, result = served(qio, folder, "tables", ["write 0 40M 1", "write 512M 16k 2"],
                          ",cluster_size=16k,refcount_bits=64", "1G", ())
    if result.returncode:
        fail(result.stdout)
    with open(path, "rb") as image:
        l1, refcounts = words(image, 40, 2)
        tables = [entry & address for entry in words(image, l1, 32) if entry]
        blocks = [entry for entry in words(image, refcounts, cluster // 8) if entry]
        if len(tables) != 3 or len(blocks) != 2:
            fail(f"tables at {tables}, refcount blocks at {blocks}")
        for at in tables + blocks[1:]:
            hole = os.lseek(image.fileno(), at, os.SEEK_HOLE)
            if hole < at + cluster:
                fail(f"the table at {at:#x} has a hole at {hole:#x}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--qio", required=True)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=os.environ.get("TEST_FOLDER")) as folder:
        check_tables(args.qio, folder)
        path, result = served(args.qio, folder, "killed", WRITES + ["flush", "abort"])
        if result.returncode >= 0:
            fail("not killed: " + result.stdout)
        stock = counted(path) - len(WRITES)
        if taken(path) < stock:
            if sets_aside(folder):
                fail(f"{taken(path)} clusters have space, {stock} are in stock")
            print("SKIP: this host sets no space aside")
            sys.exit(SKIPPED)
        for more in [], ["discard 10M 64k", "write 40M 64k 5"]:
            path, result = served(args.qio, folder, "closed", WRITES + more)
            if result.returncode:
                fail(result.stdout)
            if taken(path) > counted(path):
                fail(f"{taken(path)} clusters have space, {counted(path)} are counted")
            check = tools.run(["qemu-img", "check", "-q", path])
            if check.returncode:
                fail(check.stdout)
    print("what is set aside is given back")


main()
