#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Images whose tables contradict each other: data never gets where metadata is, references that
were never counted are not dropped, and the image gets its corrupt mark.

overlap.py --qio PATH [--only CASE]
"""
import struct

import cases
from cases import CLUSTER, COPIED, HOST, Failure

MARK = 79  # the byte of the header with the corrupt mark
DATA = 5  # guest cluster whose entry is poked


def build(case, options=None):
    """An image with all kinds of metadata: their clusters by name."""
    case.create("sound", size="1G", options=options)
    case.serves("sound", "-c", "write 0 1M 3")
    case.tool("qemu-img", "snapshot", "-c", "one", "sound")
    case.tool("qemu-img", "bitmap", "--add", "-g", "64k", "sound", "bits")
    # Tables of its own again, and bits that are kept.
    case.qemu_io("sound", "write -P 4 0 1M")
    case.tool("qemu-img", "check", "-q", "sound")
    word = lambda offset: case.word("sound", offset)
    kinds = {"header": 0, "L1 table": word(40), "refcount table": word(48)}
    kinds["refcount block"] = word(word(48))
    kinds["active L2 table"] = word(word(40)) & HOST
    kinds["snapshot table"] = word(64)
    kinds["L1 table of a snapshot"] = word(word(64))
    kinds["L2 table of a snapshot"] = word(word(word(64))) & HOST
    at = case.bytes("sound").index(struct.pack(">II", 0x23852875, 24))
    kinds["bitmap directory"] = word(at + 24)
    kinds["table of a bitmap"] = word(word(at + 24))
    kinds["cluster of a bitmap"] = word(word(word(at + 24))) & HOST
    if len(set(kinds.values())) < len(kinds) or sum(not v for v in kinds.values()) > 1:
        raise Failure(f"the image is not what it was made to be: {kinds}")
    return kinds


def cluster(case, image, offset):
    return case.bytes(image)[offset:offset + CLUSTER]


def refcount(case, image, offset):
    at = case.word(image, case.word(image, 48)) + 2 * (offset // CLUSTER)
    return at, struct.unpack(">H", case.bytes(image)[at:at + 2])[0]


def check_marked(case, what, result, kinds):
    """It has said so, has the mark, and no metadata has changed beside."""
    if "is corrupt" not in result.stdout or "Input/output" not in result.stdout:
        raise Failure(f"{what}: {result.stdout}")
    if not case.bytes("poked")[MARK] & 2:
        raise Failure(f"{what}: no mark")
    for kind, offset in kinds.items():
        before, after = cluster(case, "before", offset), cluster(case, "poked", offset)
        if kind == "header":
            before, after = before[:MARK], after[:MARK]
        # What points to data may have changed before it turned out that something is wrong; and
        # bitmaps are marked as in use at once.
        if kind not in ("active L2 table", "refcount block", "bitmap directory") and before != after:
            raise Failure(f"{what}: the {kind} has changed")
    case.refuses("poked", "marked corrupt")


def poke_entry(case, value, *commands, bits=None, more=()):
    """The entry of DATA is another one; @bits: of its subclusters, in an image that has them."""
    case.copy("sound", "poked")
    if bits is None:
        case.poke("poked", case.entry("poked", DATA)[0], struct.pack(">Q", value))
    else:
        case.poke("poked", case.entry("poked", 2 * DATA)[0], struct.pack(">QQ", value, bits))
    case.copy("poked", "before")
    words = [word for command in commands for word in ("-c", command)]
    return case.engine(case.path("poked"), *more, *words, "-c", "write 6M 64k 1", "-c", "flush")


def in_place(case):
    """An entry with COPIED that points at metadata, written to."""
    kinds = build(case)
    for kind, offset in kinds.items():
        for command in ["write 330k 4k 9", "write 256k 128k 9"]:
            if kind == "header":  # an offset of 0 means: not allocated
                continue
            result = poke_entry(case, COPIED | offset, command)
            check_marked(case, f"{kind}, {command}", result, kinds)
            if cluster(case, "poked", offset) != cluster(case, "before", offset) and (
                    kind != "bitmap directory"):
                raise Failure(f"{kind}, {command}: it was written to")


def preallocated(case):
    """The same with a zero flag: space that was set aside is used again."""
    kinds = build(case)
    for kind, offset in kinds.items():
        if kind != "header":
            result = poke_entry(case, COPIED | offset | 1, "write 330k 4k 9")
            check_marked(case, kind, result, kinds)


def dropped(case):
    """A reference to metadata that nobody has counted is dropped by a copy, or by a discard."""
    kinds = build(case)
    for kind, offset in kinds.items():
        for value, command in [(offset, "write 320k 64k 9"), (offset, "discard 320k 64k"),
                               (COPIED | offset, "discard 320k 64k"),
                               (COPIED | offset, "zero 320k 64k")]:
            if kind == "header":
                continue
            result = poke_entry(case, value, command, "flush")
            check_marked(case, f"{kind}, {command}", result, kinds)
            if refcount(case, "poked", offset)[1] != refcount(case, "before", offset)[1]:
                raise Failure(f"{kind}, {command}: the refcount has changed")
    # A stream that reaches into metadata.
    offset = kinds["refcount table"]
    result = poke_entry(case, 1 << 62 | offset + 512, "discard 320k 64k", "flush")
    check_marked(case, "a compressed cluster", result, kinds)


def allocated(case):
    """Metadata whose refcount is 0 is not free."""
    kinds = build(case)
    for kind, offset in kinds.items():
        case.copy("sound", "poked")
        case.poke("poked", refcount(case, "poked", offset)[0], b"\0\0")
        case.copy("poked", "before")
        result = case.engine(case.path("poked"), "-c", "write 4M 64k 9", "-c", "write 7M 64k 9",
                             "-c", "flush")
        check_marked(case, f"{kind} without a refcount", result, kinds)


def nowhere(case):
    """Places behind the end of the file, and refcounts that are not there."""
    kinds = build(case)
    end = -(-len(case.bytes("sound")) // CLUSTER) * CLUSTER
    for distance in [0, CLUSTER, 1 << 40]:
        result = poke_entry(case, COPIED | end + distance, "write 330k 4k 9")
        check_marked(case, f"{distance} behind the end", result, kinds)
        if len(case.bytes("poked")) > end + (64 << 20):
            raise Failure("the file has grown")
    # The block with the refcount of the header itself is gone.
    case.copy("sound", "poked")
    case.poke("poked", kinds["refcount table"], bytes(8))
    case.copy("poked", "before")
    result = case.engine(case.path("poked"), "-c", "write 4M 64k 9", "-c", "flush")
    check_marked(case, "no refcount block", result, kinds)


def lost_block(case):
    """An entry of the refcount table is gone, or makes no sense: what the block counted is not taken
    for free."""
    options = "cluster_size=512"
    case.create("sound", size="4M", options=options)
    case.serves("sound", *[word for turn in range(64)
                           for word in ("-c", f"write {turn * 32768} 32k {turn + 1}")])
    table = case.word("sound", 48)
    entries = [i for i in range(64) if case.word("sound", table + 8 * i)]
    for index in entries[1:]:
        reads = [word for turn in range(64)
                 for word in ("-c", f"read {turn * 32768} 32k {turn + 1}")]
        case.copy("sound", "poked")
        case.poke("poked", table + 8 * index, bytes(8))
        case.serves("poked", "-c", "write 3M 256k 77", "-c", "flush", "-c", "write 3584k 256k 78",
                    *reads, "-c", "read 3M 256k 77", "-c", "read 3584k 256k 78")
        result = case.engine(case.path("poked"), "-c", "discard 0 2M", "-c", "flush", "-c", "flush")
        if "no block for cluster" not in result.stdout or not case.bytes("poked")[MARK] & 2:
            raise Failure(f"entry {index}: {result.stdout}")
        case.copy("sound", "poked")
        case.poke("poked", table + 8 * index, b"\xff")
        result = case.engine(case.path("poked"), "-c", "discard 0 2M", "-c", "flush", "-c", "flush")
        if "no block for cluster" not in result.stdout or not case.bytes("poked")[MARK] & 2:
            raise Failure(f"entry {index}, beyond all offsets: {result.stdout}")


def subclusters(case):
    """Extended L2: subclusters in place, ones that are missing in a cluster, zeros, and drops.  All
    kinds of metadata have their turn, and every case meets one of them."""
    kinds = build(case, "extended_l2=on")
    some, zeros = 0xffff, 0xffffffff << 32
    steps = [(COPIED, some, "write 330k 4k 9"), (COPIED, some, "write 320k 64k 9"),
             (COPIED, some, "write 331k 512 9"), (COPIED, some, "write 256k 128k 9"),
             (COPIED, some, "write 360k 4k 9"), (COPIED, some, "write 350k 6k 9"),
             (COPIED, some, "zero 331k 512"), (COPIED, zeros, "write 330k 4k 9"),
             (COPIED, zeros, "write 331k 512 9"), (COPIED, zeros, "write 320k 64k 9"),
             (COPIED, zeros | some >> 8, "write 360k 512 9"), (COPIED, 0, "write 330k 4k 9"),
             (0, some, "write 330k 4k 9"), (0, zeros, "write 320k 64k 9"),
             (COPIED, some, "discard 320k 64k"), (0, zeros, "discard 320k 64k"),
             (COPIED, zeros, "zero 320k 64k"), (COPIED, some, "zero 320k 64k")]
    offsets = [(kind, offset) for kind, offset in kinds.items() if kind != "header"]
    for turn, (flag, bits, command) in enumerate(steps * 2):
        kind, offset = offsets[turn % len(offsets)]
        result = poke_entry(case, flag | offset, command, "flush", bits=bits)
        what = f"{kind}, {flag | offset:#x} {bits:#x}, {command}"
        check_marked(case, what, result, kinds)
        if refcount(case, "poked", offset)[1] != refcount(case, "before", offset)[1]:
            raise Failure(f"{what}: the refcount has changed")


def encrypted(case):
    """The header of the encryption is metadata, and encrypted writes are looked at as well."""
    with open(case.path("key"), "w", encoding="ascii") as file:
        file.write("abc")
    key = ("--key-file", case.path("key"))
    case.tool("qemu-img", "create", "-q", "-f", "qcow2", "--object", "secret,id=s,data=abc", "-o",
              "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10", "sound", "64M")
    case.serves("sound", *key, "-c", "write 0 1M 3")
    at = case.bytes("sound").index(struct.pack(">II", 0x0537be77, 16))
    kinds = {"encryption header": case.word("sound", at + 8), "L1 table": case.word("sound", 40),
             "refcount block": case.word("sound", case.word("sound", 48))}
    for kind, offset in kinds.items():
        for value, command in [(COPIED | offset, "write 330k 4k 9"),
                               (COPIED | offset, "write 320k 64k 9"),
                               (COPIED | offset | 1, "write 330k 4k 9"),
                               (COPIED | offset | 1, "write 320k 64k 9"),
                               (offset, "write 320k 64k 9"), (COPIED | offset, "zero 321k 512"),
                               (COPIED | offset, "discard 320k 64k")]:
            result = poke_entry(case, value, command, "flush", more=key)
            check_marked(case, f"{kind}, {value:#x}, {command}", result, kinds)
    case.copy("sound", "poked")
    case.poke("poked", refcount(case, "poked", kinds["encryption header"])[0], b"\0\0")
    case.copy("poked", "before")
    result = case.engine(case.path("poked"), *key, "-c", "write 4M 64k 9", "-c", "flush")
    check_marked(case, "the encryption header without a refcount", result, kinds)


def underflow(case):
    """Refcounts that are lower than the references that go."""
    kinds = build(case)
    entry = case.entry("sound", DATA)[1]
    case.copy("sound", "keep")
    # A refcount of 0.
    case.poke("sound", refcount(case, "sound", entry & HOST)[0], b"\0\0")
    result = poke_entry(case, entry, "discard 320k 64k", "flush")
    check_marked(case, "a refcount of 0", result, kinds)
    # Two entries and a refcount of 1: the second one that goes was never counted.
    case.copy("keep", "sound")
    case.poke("sound", case.entry("sound", DATA + 1)[0], struct.pack(">Q", entry))
    result = poke_entry(case, entry, "discard 320k 64k", "flush", "discard 384k 64k", "flush")
    check_marked(case, "freed twice", result, kinds)
    # What goes with it: nothing is freed by refcounts that have just been found wrong.
    case.copy("keep", "sound")
    case.poke("sound", refcount(case, "sound", (entry & HOST) + CLUSTER)[0], b"\0\0")
    result = poke_entry(case, entry, "discard 320k 512k", "flush")
    check_marked(case, "a refcount of 0 among others", result, kinds)
    for later in range(2, 8):
        offset = (entry & HOST) + later * CLUSTER
        if cluster(case, "poked", offset) != b"\4" * CLUSTER:
            raise Failure(f"the cluster at {offset:#x} was freed")
        if refcount(case, "poked", offset)[1] != 1:
            raise Failure(f"the refcount of the cluster at {offset:#x} has changed")
    # The active disk has a table twice, and it is counted once.
    case.copy("keep", "sound")
    table = struct.pack(">Q", kinds["active L2 table"])
    case.poke("sound", kinds["L1 table"], table + table)
    result = poke_entry(case, entry, "write 0 64k 9", "flush")
    if "is corrupt" not in result.stdout or not case.bytes("poked")[MARK] & 2:
        raise Failure(f"a table twice: {result.stdout}")
    if refcount(case, "poked", kinds["active L2 table"])[1] != 1:
        raise Failure("a table that is used was freed")


def opened(case):
    """What shows in the tables that every writer has in memory is refused, and nothing touched."""
    kinds = build(case)
    l1, table = kinds["L1 table"], kinds["active L2 table"]
    end = len(case.bytes("sound"))
    pokes = [(l1, COPIED | kinds[kind], "lies in other metadata") for kind in kinds
             if kind not in ("header", "active L2 table")]
    pokes += [
        (l1, kinds["refcount block"], "lies in other metadata"),
        (l1 + 8, COPIED | table, "lies in other metadata"),
        (l1 + 8, table, "lies in other metadata"),
        (l1, COPIED | -(-end // CLUSTER) * CLUSTER, "behind the end of the file"),
        (kinds["refcount table"] + 8, kinds["refcount block"], "lies in other metadata"),
        (kinds["refcount table"] + 8, table, "lies in other metadata"),
        (kinds["refcount table"] + 8, 1 << 40, "behind the end of the file"),
        (kinds["snapshot table"], table, "lies in other metadata"),
        (kinds["L1 table of a snapshot"], kinds["refcount table"], "lies in other metadata"),
        (kinds["table of a bitmap"], table, "lies in other metadata"),
        (40, kinds["refcount table"], "lies in other metadata"),
        (48, kinds["refcount block"], "is corrupt"),
        (64, kinds["L1 table"], "lies in other metadata"),
    ]
    for at, value, words in pokes:
        case.copy("sound", "poked")
        case.poke("poked", at, struct.pack(">Q", value))
        case.copy("poked", "before")
        try:
            case.refuses("poked", words)
        except Failure as failure:
            raise Failure(f"{value:#x} at {at:#x}: {failure}") from failure
        if case.bytes("poked") != case.bytes("before"):
            raise Failure(f"{value:#x} at {at:#x}: refused, and changed")
        if at != 64:
            case.serves("poked", "--read-only", "-c", "flush")


def innocent(case):
    """What is unusual and right: no false alarm."""
    build(case)
    # An L2 table without COPIED that nobody shares: it is copied, and its place used for data.
    case.create("alone", size="64M", options="cluster_size=4k")
    case.serves("alone", "-c", "write 0 64k 3")
    l1 = case.word("alone", 40)
    table = case.word("alone", l1) & HOST
    case.poke("alone", l1, struct.pack(">Q", table))
    case.serves("alone", "-c", "write 0 4k 4", "-c", "flush", "-c", "write 4M 4M 5", "-c", "flush",
                "-c", "write 16M 8M 6", "-c", "read 0 4k 4", "-c", "read 4k 60k 3")
    case.tool("qemu-img", "check", "-q", "alone")
    # Tables that snapshots share, copied, and copied again after the snapshots have gone.
    for number in range(3):
        case.tool("qemu-img", "snapshot", "-c", f"s{number}", "sound")
        case.serves("sound", "-c", f"write 0 2M {number + 10}", "-c", "discard 1M 512k", "-c",
                    "flush", "-c", "write 3M 1M 1")
        case.tool("qemu-img", "check", "-q", "sound")
    for number in range(3):
        case.tool("qemu-img", "snapshot", "-d", f"s{number}", "sound")
        case.serves("sound", "-c", "write 0 4M 7", "-c", "flush", "-c", "write 4M 2M 8")
        case.tool("qemu-img", "check", "-q", "sound")
    # A file that is shorter than its tables say, as the crash of a host can leave it: the space is
    # used as QEMU uses it, and nothing that was written is cut off.
    for command in ["write 330k 4k 9", "write 256k 256k 9"]:
        case.create("cut", size="8M")
        case.serves("cut", "-c", "write 0 1M 3")
        last = max(case.entry("cut", i)[1] & HOST for i in range(16))
        with open(case.path("cut"), "r+b") as file:
            file.truncate(last - 12 * CLUSTER)
        case.serves("cut", "-c", command, "-c", "write 960k 64k 5", "-c", "flush",
                    "-c", "write 4M 1M 6", "-c", "read 960k 64k 5", "-c", "read 4M 1M 6",
                    "-c", f"read {command.split()[1]} {command.split()[2]} 9")
        case.serves("cut", "-c", "read 960k 64k 5", "-c", "read 4M 1M 6")
        case.tool("qemu-img", "check", "-q", "cut")


cases.main(__doc__.splitlines()[0], [in_place, preallocated, dropped, allocated, nowhere, lost_block,
                                     subclusters, encrypted, underflow, opened, innocent])
