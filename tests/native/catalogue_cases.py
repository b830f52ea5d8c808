#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Cases of QEMU's own tests that no other script has: header, refcounts, streams, subclusters, VM state.

catalogue_cases.py --qio PATH --program PATH

CATALOGUE.md says which of QEMU's tests these are.
"""
import os
import struct

import cases
from cases import CLUSTER, COMPRESSED, COPIED, Failure

UNKNOWN = 0x12345678  # a header extension


def fresh(case, *lines, options=None, size="64M", name="image"):
    if os.path.exists(case.path(name)):
        os.unlink(case.path(name))
    case.create(name, options=options, size=size)
    if lines:
        case.qemu_io(name, *lines)


def sound(case, *lines, name="image"):
    """QEMU finds nothing wrong, and reads what it must."""
    case.tool("qemu-img", "check", "-q", name)
    if lines:
        case.qemu_io(name, *lines)


def word(value):
    return struct.pack(">Q", value)


# --- header ---------------------------------------------------------------------------------------

def autoclear(case):
    """Bits that nobody knows go before the first write, and stay for readers."""
    fresh(case)
    case.poke("image", 88, word(1 << 63 | 1 << 40))
    case.serves("image", "--read-only", "-c", "read 0 64k 0")
    if case.word("image", 88) != 1 << 63 | 1 << 40:
        raise Failure("a reader has changed them")
    case.serves("image", "-c", "write 0 64k 1")
    if case.word("image", 88):
        raise Failure("they are still there")
    sound(case, "read -P 1 0 64k")


def unknown_incompatible(case):
    """The sentence names the feature as the image does, or by its bit; readers are refused, too."""
    fresh(case)
    case.poke("image", 72, word(1 << 61))
    case.refuses("image", "61")
    case.refuses("image", "61", "--read-only")
    at = case.bytes("image").index(b"lazy refcounts") - 2
    case.poke("image", at, b"\0\x3d" + b"a feature of tomorrow".ljust(46, b"\0"))
    case.refuses("image", "a feature of tomorrow")


def header_untouched(case):
    """Extensions, header fields and padding that nobody knows survive; whatever is written."""
    fresh(case)
    head = bytearray(case.bytes("image")[:CLUSTER])
    known = head[112:504]
    head[100:104] = struct.pack(">I", 120)
    head[112:CLUSTER] = bytes(CLUSTER - 112)
    head[112:120] = b"unknown!"
    extension = struct.pack(">II", UNKNOWN, 11) + b"hello world".ljust(16, b"\0")
    head[120:120 + len(extension) + len(known)] = extension + known
    head[60000:60004] = b"tail"
    case.poke("image", 0, bytes(head))
    case.serves("image", "-c", "write 0 1M 1", "-c", "flush", "-c", "write 40M 1M 2", "-c",
                "discard 0 64k")
    if case.bytes("image")[:CLUSTER] != bytes(head):
        raise Failure("the header has changed")
    sound(case, "read -P 2 40M 1M")


# --- refcounts ------------------------------------------------------------------------------------

def wide_refcounts(case):
    """A refcount of 64 bits with its highest bit set is a number like any other."""
    for value in (1 << 63, (1 << 64) - 1):
        fresh(case, "write -q -P 1 0 64k", options="refcount_bits=64")
        case.poke("image", 0x20028, word(value))
        case.poke("image", 0x40000, word(0x50000))
        case.serves("image", "-c", "write 0 512 9", "-c", "flush", "-c", "read 512 512 1",
                    "-c", "read 0 512 9")
        if case.word("image", 0x20028) != value - 1:
            raise Failure(f"a refcount of {value:#x} is now {case.word('image', 0x20028):#x}")


def narrow_refcounts(case):
    """With one bit, no two streams share a cluster; both can be written onto."""
    fresh(case, "write -q -c -P 1 0 64k", "write -q -c -P 2 64k 64k", options="refcount_bits=1")
    case.serves("image", "-c", "write 1k 512 3", "-c", "read 64k 64k 2", "-c", "read 0 1k 1",
                "-c", "write 64k 64k 4", "-c", "flush")
    sound(case, "read -P 3 1k 512", "read -P 1 2k 62k", "read -P 4 64k 64k")


def stuffed(case, table_bytes):
    """Clusters of 512 bytes, counted in 64 bits: no place left before the end of what the table describes."""
    cluster, per_block = 512, 64
    table = table_bytes // cluster
    blocks = -(-table // (per_block - 1)) + 1
    l1 = (per_block - 1) * blocks - table - 1  # as large as it takes to fill the last block
    header = struct.pack(">4sIQIIQIIQQIIQQQQII", b"QFI\xfb", 3, 0, 0, 9, l1 << 21, 0, l1 * cluster // 8,
                         cluster, (1 + l1) * cluster, table, 0, 0, 0, 0, 0, 6, 104)
    at = (1 + l1 + table) * cluster
    with open(case.path("image"), "wb") as image:
        image.write(header)
        image.seek((1 + l1) * cluster)
        image.write(b"".join(word(at + i * cluster) for i in range(blocks)))
        image.seek(at)
        image.write(word(1) * per_block * blocks)
        image.truncate(table * cluster // 8 * per_block * cluster)


def largest_table(case):
    """A refcount table of more than two thirds of the largest still grows, up to that."""
    largest = 8 << 20
    stuffed(case, largest * 11 // 16)
    case.serves("image", "-c", "write 0 512 1", "-c", "flush", "-c", "read 0 512 1")
    if case.word("image", 52) & 0xffffffff != largest // 512:
        raise Failure("it has grown to another size")
    sound(case, "read -P 1 0 512")


# --- compressed clusters --------------------------------------------------------------------------

def shared_stream(case):
    """Two streams in a host cluster; one goes, by a discard or by being written onto."""
    for command, after in (("discard 64k 64k", 0), ("write 64k 64k 7", 7), ("zero 64k 64k", 0)):
        fresh(case, "write -q -c -P 1 0 64k", "write -q -c -P 2 64k 64k")
        case.serves("image", "-c", command, "-c", "flush", "-c", "read 0 64k 1", "-c",
                    f"read 64k 64k {after}")
        sound(case, "read -P 1 0 64k", f"read -P {after} 64k 64k")


def sector_counts(case):
    """Clusters of 2 MiB have 13 bits for sectors: one too few is an error, more are not."""
    fresh(case, "write -q -c -P 17 0 2M", "write -q -c -P 34 2M 2M", "write -q -P 51 4M 4M",
          options="cluster_size=2M")
    at, first = case.entry("image", 0)
    second = case.word("image", at + 8)
    for words, status in (((0x4006 << 48, 0x4006 << 48), 1), ((0x7ffe << 48, 0x7ffe << 48), 0)):
        for i, old in enumerate((first, second)):
            case.poke("image", at + 8 * i, word(words[i] | old & (1 << 49) - 1))
        result = case.engine(case.path("image"), "--read-only", "-c", "read 0 2M 17", "-c",
                             "read 2M 2M 34")
        if result.returncode != status:
            raise Failure(f"{words[0]:#x}: {result.stdout}")
    # More sectors are references to more clusters, which a repair counts, and a discard gives up.
    case.tool(case.program, "check", "--repair", "all", case.path("image"))
    sound(case, "read -P 17 0 2M", "read -P 34 2M 2M", "read -P 51 4M 4M")
    case.serves("image", "-c", "discard 0 2M", "-c", "flush", "-c", "read 2M 2M 34", "-c",
                "write 4M 512 1")
    sound(case, "read -P 34 2M 2M", "read -P 51 5M 3M")


def far_stream(case):
    """A stream that lies behind 4 GiB."""
    fresh(case, "write -q -c -P 5 0 64k")
    at, entry = case.entry("image", 0)
    where = entry & (1 << 54) - 1
    stream = case.bytes("image")[where:where + 1024]
    far = (5 << 30) + 100
    # What it would be if somebody took 32 bits of the offset.
    case.poke("image", far & 0xffffffff, bytes(1024))
    case.poke("image", far, stream)
    case.poke("image", at, word(COMPRESSED | 1 << 54 | far))
    case.tool("qemu-img", "check", "-q", "-r", "all", "image")
    case.serves("image", "-c", "read 0 64k 5", "-c", "write 0 512 6", "-c", "flush")
    sound(case, "read -P 6 0 512", "read -P 5 512 65024")


# --- zeros and discard ----------------------------------------------------------------------------

def zeros_set_aside(case):
    """Space under zeros is used again, wherever a write begins and ends in it."""
    fresh(case, "write -q -P 1 1M 256k", "write -q -z 1M 256k", size=str((64 << 20) + 512))
    places = [case.entry("image", 16 + i)[1] & cases.HOST for i in range(4)]
    case.serves("image", "-c", f"write {(1 << 20) + 32768} 192k 23", "-c", "flush")
    for i in range(4):
        if case.entry("image", 16 + i)[1] != COPIED | places[i]:
            raise Failure(f"cluster {16 + i} lies elsewhere")
    sound(case, "read -P 0 1M 32k", f"read -P 23 {(1 << 20) + 32768} 192k",
          f"read -P 0 {(1 << 20) + 229376} 32k")


def long_discard(case):
    """More than 2 GiB at a time."""
    fresh(case, "write -q -P 1 0 1M", "write -q -P 2 3G 1M", "write -q -P 3 5G 1M", size="6G")
    case.serves("image", "-c", "discard 512k 4G", "-c", "flush", "-c", "read 0 512k 1",
                "-c", "read 512k 512k 0", "-c", "read 3G 1M 0", "-c", "read 5G 1M 3",
                "-c", "zero 0 5G")
    sound(case, "read -P 0 0 1M", "read -P 3 5G 1M")


# --- subclusters ----------------------------------------------------------------------------------

def bad_subclusters(case):
    """Bits that contradict each other stop writes, as in QEMU; reserved ones mean nothing."""
    lines = ("write -q -P 1 0 64k",)
    table, bits = 0x40000, 0x40008
    for at, data in ((bits, struct.pack(">II", 1, 0xffffffff)), (bits, struct.pack(">II", 1, 1)),
                     (table, word(0) + struct.pack(">II", 0, 1))):
        for command in ("read 0 512", "write 0 512 9"):
            fresh(case, *lines, options="extended_l2=on")
            case.poke("image", at, data)
            result = case.engine(case.path("image"), "-c", command, "-c", "write 8M 512 8")
            if result.returncode != 1 or not case.bytes("image")[79] & 2:
                raise Failure(f"{data.hex()}, {command}: {result.stdout}")
    fresh(case, *lines, options="extended_l2=on")
    case.poke("image", table, word(case.word("image", table) | 1))
    case.serves("image", "-c", "read 0 64k 1", "-c", "write 0 512 9", "-c", "read 512 512 1")
    fresh(case, "write -q -c -P 1 0 64k", options="extended_l2=on")
    case.poke("image", bits, word(1 << 32 | 0x80))
    case.serves("image", "-c", "read 0 64k 1", "-c", "write 0 512 9", "-c", "read 512 65024 1")


# --- what belongs to others -----------------------------------------------------------------------

def bitmap_flags(case):
    """Flags that are reserved: the directory is disowned, not touched."""
    fresh(case)
    case.tool("qemu-img", "bitmap", "--add", "image", "one")
    at = case.bytes("image").rindex(b"one") - 12
    case.poke("image", at, struct.pack(">I", 4 | struct.unpack(">I", case.bytes("image")[at:at + 4])[0]))
    directory = case.bytes("image")[at - 12:at + 16]
    case.serves("image", "-c", "write 0 64k 1")
    if case.word("image", 88) & 1 or case.bytes("image")[at - 12:at + 16] != directory:
        raise Failure("a directory that nobody understands was changed, or vouched for")


def vm_state(case):
    """What lies behind the end of the disk is a snapshot's memory, and stays."""
    fresh(case, "write -q -P 1 0 1M", "write -q -b -P 5 0 1M")
    case.tool("qemu-img", "snapshot", "-c", "s", "image")
    case.qemu_io("image", "write -q -b -P 6 0 64k")
    case.serves("image", "-c", "write 0 512k 2", "-c", "discard 512k 512k", "-c", "flush",
                "-c", "zero 0 64M")
    sound(case, "read -b -P 6 0 64k", "read -b -P 5 64k 960k", "read -P 0 0 1M")
    case.tool("qemu-img", "snapshot", "-a", "s", "image")
    sound(case, "read -b -P 5 0 1M", "read -P 1 0 1M")


cases.main(__doc__.splitlines()[0], [
    autoclear, unknown_incompatible, header_untouched, wide_refcounts, narrow_refcounts, largest_table,
    shared_stream, sector_counts, far_stream, zeros_set_aside, long_discard, bad_subclusters,
    bitmap_flags, vm_state])
