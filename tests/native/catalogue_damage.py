#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Tables that make no sense: what the engine does when it meets them, and what a repair then makes.

catalogue_damage.py --qio PATH --program PATH [--library PATH]

CATALOGUE.md says which cases of QEMU's own tests these are.  The image is of the default kind:
refcount table at 0x10000, refcount block at 0x20000, L1 at 0x30000, first L2 at 0x40000, data behind.
"""
import errno
import os
import struct
import subprocess

import cases
from cases import CLUSTER, Failure

CLEAN = (0,)


def poked(case, pokes, lines=("write -q -P 1 0 64k",), options=None, size="64M"):
    """A fresh image, filled by QEMU, with other bytes at some places."""
    if os.path.exists(case.path("image")):
        os.unlink(case.path("image"))
    case.create("image", options=options, size=size)
    if lines:
        case.qemu_io("image", *lines)
    for at, data in pokes:
        case.poke("image", at, bytes.fromhex(data))


def stops(case, command, words="is corrupt", more=()):
    """The command fails, the image gets its mark and nothing else, and is not written to again."""
    before = case.bytes("image")
    arguments = [word for line in more for word in ("-c", line)]
    result = case.engine(case.path("image"), *arguments, "-c", command, "-c", "write 8M 4k 8")
    if result.returncode != 1 or words not in result.stdout:
        raise Failure(f"{command}: status {result.returncode}, no word of '{words}': "
                      f"{result.stdout}")
    after = case.bytes("image")
    if not after[79] & 2:
        raise Failure(f"{command}: no corrupt mark: {result.stdout}")
    if after[80:0x20000] != before[80:0x20000] or after[:72] != before[:72]:
        raise Failure(f"{command}: its metadata has changed")
    case.refuses("image", "marked corrupt")
    case.serves("image", "--read-only", "-c", "flush")


def unopened(case, words):
    """Not opened for writing, and untouched; readers may have what can be read."""
    before = case.bytes("image")
    case.refuses("image", words)
    if case.bytes("image") != before:
        raise Failure("refusing has changed it")
    case.serves("image", "--read-only", "-c", "flush")


def repaired(case, *commands, ends=CLEAN):
    """Our checker repairs it, QEMU's agrees, and it can be used again."""
    result = case.run(case.program, "check", "--repair", "all", case.path("image"))
    if result.returncode not in ends:
        raise Failure(f"repair ended with {result.returncode}: {result.stdout}")
    case.tool("qemu-img", "check", "-q", "image")
    case.serves("image", *[word for line in commands for word in ("-c", line)])
    case.tool("qemu-img", "check", "-q", "image")


# --- L1 and L2 entries ----------------------------------------------------------------------------

def table_in_place_of_another(case):
    """An L1 entry to the L1 table, the refcount table or block, or to another's L2 table."""
    for target in (0x30000, 0x10000, 0x20000):
        poked(case, [(0x30000, f"8{target:015x}")], lines=())
        unopened(case, "lies in other metadata")
        poked(case, [(0x30000, f"0{target:015x}")], lines=())
        unopened(case, "lies in other metadata")
    two = ("write -q -P 1 0 64k", "write -q -P 2 1G 64k")
    poked(case, [(0x30010, "8000000000040000")], two, size="2G")
    unopened(case, "lies in other metadata")


def data_in_place_of_a_table(case):
    """In place, or about to be copied and given up; for every kind of table."""
    for target in (0x20000, 0x40000, 0x30000, 0x10000):
        for flag in "80":
            poked(case, [(0x40000, f"{flag}{target:015x}")])
            stops(case, "write 0 512 9", more=["write 0 4k 9", "flush"] if flag == "0" else [])
        poked(case, [(0x40000, f"8{target:015x}")])
        # A discard is answered, and nothing is given up.
        stops(case, "flush", more=["discard 0 64k", "flush"])
    poked(case, [(0x40000, "8000000000020000")])
    stops(case, "write 0 4k 9")
    repaired(case, "write 0 64k 5", "read 0 64k 5")


def data_in_place_of_the_header(case):
    """Offset 0 is no offset: it is as if nothing was there, and a new cluster comes."""
    poked(case, [(0x40000, "8000000000000000")])
    case.serves("image", "-c", "read 0 64k 0", "-c", "write 0 512 9", "-c", "read 512 512 0")
    if case.bytes("image")[:4] != b"QFI\xfb":
        raise Failure("the header is gone")


def tables_of_snapshots(case):
    """An entry to an L2 table, the L1 table or the list of snapshots that only a snapshot uses."""
    lines = ("write -q -P 1 0 64k",)
    poked(case, [], lines)
    case.tool("qemu-img", "snapshot", "-c", "s", "image")
    case.qemu_io("image", "write -q -P 2 0 64k")
    at, _ = case.entry("image", 0)
    l1_of_snapshot = case.word("image", case.word("image", 64))
    case.copy("image", "sound")
    for target in (0x40000, l1_of_snapshot, case.word("image", 64)):
        case.copy("sound", "image")
        case.poke("image", at, struct.pack(">Q", cases.COPIED | target))
        stops(case, "write 0 512 9")
        repaired(case, "write 1M 64k 5", ends=(0, 2))
        case.serves("image", "--snapshot", "s", "-c", "read 0 64k 1")


def misaligned(case):
    """Tables, data and zero clusters within a cluster of the host."""
    for at, word in [(0x30000, "8000000000042a00"), (0x40000, "8000000000052a00"),
                     (0x40000, "8000000000052a01"), (0x40000, "8000000000002a01")]:
        for command in ("read 0 512", "write 0 512 9", "discard 0 64k", "zero 0 64k"):
            if command.startswith("read") and word.endswith("1"):
                continue
            poked(case, [(at, word)])
            stops(case, command)
    # QEMU reads zeros; so do we, or not at all.
    poked(case, [(0x40000, "8000000000052a00")])
    result = case.engine(case.path("image"), "--read-only", "-c", "read 0 512")
    if "Input/output" not in result.stdout:
        raise Failure(f"read: {result.stdout}")


def zero_flag_in_version_2(case):
    poked(case, [(0x40000, "8000000000050001")], options="compat=0.10")
    result = case.engine(case.path("image"), "-c", "write 0 512 9")
    if "is corrupt" not in result.stdout:
        raise Failure(result.stdout)


def copied_and_compressed(case):
    """The flag has no meaning there; the cluster cannot be read."""
    poked(case, [], ("write -q -c -P 1 0 64k",))
    at, entry = case.entry("image", 0)
    case.poke("image", at, struct.pack(">Q", entry | cases.COPIED))
    stops(case, "read 0 512")
    repaired(case, "read 0 64k 1")


def reserved_bits(case):
    """Nobody looks at them at run time."""
    poked(case, [(0x30000, "8100000000040001"), (0x40000, "8100000000050002")])
    case.serves("image", "-c", "read 0 64k 1", "-c", "write 0 512 9", "-c", "read 0 512 9")


def behind_the_end(case):
    """Data behind the end of the file reads as zeros; a file that was cut off is no error."""
    poked(case, [(0x40000, "8000000040000000")])
    case.serves("image", "--read-only", "-c", "read 0 64k 0")
    poked(case, [], ("write -q -P 1 0 256k",))
    os.truncate(case.path("image"), 5 * CLUSTER)
    case.serves("image", "-c", "read 0 256k 0", "-c", "write 64k 512 7", "-c", "read 64k 1k")
    case.serves("image", "-c", "read 64k 512 7", "-c", "read 0 64k 0", "-c", "read 128k 128k 0")


# --- refcounts ----------------------------------------------------------------------------------

def free_metadata(case):
    """Whatever the refcounts say, no table is given to a guest."""
    for refcount in range(5):
        poked(case, [(0x20000 + 2 * refcount, "0000")])
        stops(case, "write 1M 512 9", words="has no refcount")
        repaired(case, "read 0 64k 1", "write 1M 512 9")
    poked(case, [(0x20000, "0000000000000000")])
    stops(case, "write 1M 512 9", words="has no refcount")
    repaired(case, "read 0 64k 1", "write 1M 512 9")
    # Two L2 tables; the second looks free, and what the first maps is free.
    poked(case, [(0x40000, "0000000000000000"), (0x2000a, "00000000")],
          ("write -q -P 1 0 64k", "write -q -P 2 512M 64k"), size="1G")
    stops(case, "write 64k 64k 9", words="has no refcount")
    repaired(case, "read 512M 64k 2", "write 64k 64k 9")


def refcount_too_low(case):
    """Met by what gives a cluster up."""
    for command in ("discard 0 64k", "zero 0 64k"):
        poked(case, [(0x2000a, "0000")])
        stops(case, "flush", words="too low", more=[command, "flush"])
        repaired(case, "write 0 64k 1", "read 0 64k 1")


def no_refcount_table(case):
    """No clusters, or in place of the header: not opened at all."""
    for pokes in ([(56, "00000000")], [(48, "0000000000000000")],
                  [(48, "0000000000000000"), (56, "00000000")]):
        poked(case, pokes)
        before = case.bytes("image")
        case.refuses("image", "refcount table")
        if case.bytes("image") != before:
            raise Failure("refusing has changed it")
        repaired(case, "read 0 64k 1", "write 1M 64k 9")


def no_refcount_block(case):
    """The first block is missing, on an empty disk and on one that is used."""
    for lines in ((), ("write -q -P 1 0 64k",)):
        poked(case, [(0x10000, "0000000000000000")], lines)
        stops(case, "write 1M 128k 9")
        repaired(case, "write 1M 128k 9", "read 0 64k", "read 1M 128k 9")
        if lines:
            case.serves("image", "-c", "read 0 64k 1")
        poked(case, [(0x10000, "0000000000000000")], lines)
        if lines:
            stops(case, "flush", more=["discard 0 64k", "flush"])


def second_block_missing(case):
    """A block lies in the first cluster that it describes; not when that is a table."""
    poked(case, [], ("write -q -P 1 0 192k",), "cluster_size=512", "2M")
    entries = case.word("image", 48)
    if not case.word("image", entries + 8):
        raise Failure("there is only one block")
    first = 256 * 512  # what the second block describes begins here
    at = case.word("image", case.word("image", 40)) & cases.HOST
    table = case.bytes("image")[at:at + 512]
    # Move an L2 table to there, and forget the block.
    case.poke("image", first, table)
    case.poke("image", case.word("image", 40), struct.pack(">Q", cases.COPIED | first))
    case.poke("image", entries + 8, bytes(8))
    before = case.bytes("image")[first:first + 512]
    result = case.engine(case.path("image"), "-c", "write 1M 256k 9", "-c", "flush")
    if case.bytes("image")[first:first + 512] != before:
        raise Failure(f"the table was written over: {result.stdout}")


def bad_refcount_block(case):
    """Misaligned, in the header, behind all offsets."""
    for word in ("0000000000022a00", "0000000000002a00", "00ffffffffff2a00"):
        poked(case, [(0x10000, word)])
        stops(case, "write 1M 512 9")
        repaired(case, "read 0 64k 1", "write 1M 512 9")
        poked(case, [(0x10000, word)])
        stops(case, "flush", more=["discard 0 65536", "flush"])
    # The second one, met when the first is full.
    poked(case, [], ("write -q -P 1 0 124k", "discard -q 121k 1k", "discard -q 123k 1k"),
          "refcount_bits=64,cluster_size=1k", "1M")
    at = case.word("image", 48) + 14
    case.poke("image", at, b"\6")
    result = case.engine(case.path("image"), "-c", "write 121k 3k 9")
    if result.returncode != 1 or not case.bytes("image")[79] & 2:
        raise Failure(f"no corrupt mark: {result.stdout}")


def dirty_and_beyond(case):
    """Marked dirty, with a block that lies nowhere: repaired at the start, or not opened."""
    poked(case, [(0x10000, "00000000ffff2a00"), (79, "01")])
    case.serves("image", "-c", "read 0 64k 1", "-c", "write 1M 64k 9")
    case.tool("qemu-img", "check", "-q", "image")


def dirty_and_lasting(case):
    """Marked dirty, with something that no repair can put right: a start leaves the image as it was, as what
    the damaged entry no longer leads to may still be saved.  The command repairs what can be repaired."""
    lines = ("write -q -P 1 0 256k",)
    damage = {
        "an L2 table within a cluster": (0x30000, "8000000000040200", 7),
        "an L2 table behind the end": (0x30000, "8000800000040000", 7),
        "data in place of an L2 table": (0x30000, "8000000000060000", 7),
        "data within a cluster": (0x40000, "8000000000050200", None),
        "data behind the end": (0x40000, "8000800000050000", 5),
    }
    for name, (at, word, freed) in damage.items():
        poked(case, [(79, "01"), (at, word)], lines)
        if name.startswith("data in place"):
            case.poke("image", 0x60000, struct.pack(">Q", 0x123456789abcdef0) * 8)
        unopened(case, "errors in it cannot be repaired")
        repaired_in_part(case)
        if freed and refcount(case, freed):
            raise Failure(f"{name}: the command leaves a leak")
    # Of a snapshot, whose clusters nobody else has.
    poked(case, [], lines)
    case.tool("qemu-img", "snapshot", "-c", "s", "image")
    case.qemu_io("image", "write -q -P 2 0 256k")
    case.poke("image", case.word("image", 64) + 6, b"\2")
    case.poke("image", 79, b"\1")
    unopened(case, "errors in it cannot be repaired")
    repaired_in_part(case)
    # A cluster too often in use for its refcount; tables that lie in others, so that they are not written.
    for options, size, pokes in (
            ("refcount_bits=1", "64M", [(0x40008, "8000000000050000")]),
            (None, "64M", [(0x40008, "8000000000050201"), (0x40018, "0000000000040000")]),
            (None, "2G", [(0x30008, "8000000000030000")])):
        poked(case, [(79, "01"), *pokes], lines, options, size)
        unopened(case, "errors in it cannot be repaired, so nothing was")
        repaired_in_part(case)
    # What is mended, or made anew, is no reason to refuse.
    for pokes in ([(0x40000, "8000000000050201")], [(0x40000, "8000800000050201")],
                  [(48, "0000800000000000")], [(0x10000, "8000800000020000")],
                  [(0x40008, "0000000000060000")]):
        poked(case, [(79, "01"), *pokes], lines)
        case.serves("image", "-c", "read 128k 128k 1", "-c", "write 1M 64k 9")
        case.tool("qemu-img", "check", "-q", "image")
        if case.incompatible("image"):
            raise Failure(f"{pokes}: it is still marked")


def dirty_and_unreadable(case):
    """What the file system says when it cannot read is passed on, and is no verdict on the image."""
    if not case.library:
        return
    for error in (errno.EUCLEAN, errno.ECANCELED, errno.EIO):
        poked(case, [(79, "01")])
        before = case.bytes("image")
        result = subprocess.run([case.qio, case.path("image"), "-c", "flush"],
                                env={**os.environ, "LD_PRELOAD": case.library,
                                     "READ_AT": "0x40000", "READ_ERROR": str(error)},
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        words = f"read of 65536 bytes at 0x40000: {os.strerror(error)}"
        if result.returncode != 1 or words not in result.stdout:
            raise Failure(f"{result.returncode}, no word of '{words}': {result.stdout}")
        if case.bytes("image") != before:
            raise Failure("it was written to")


def far_blocks(case):
    """Blocks behind the end of the file, or of all offsets, which describe what is not there."""
    for word in ("0000000000100000", "00ffffff00000000"):
        poked(case, [(0x10008, word)])
        unopened(case, "behind the end of the file")
        repaired(case, "read 0 64k 1", "write 1M 64k 9")
    for word in ("7fffffffffff0000", "ffffffffffff0000"):
        poked(case, [(0x10008, word)])
        case.serves("image", "-c", "write 1M 64k 9", "-c", "read 0 64k 1")
        repaired(case, "read 0 64k 1", "read 1M 64k 9")


def rebuilt_around_data(case):
    """New refcount blocks go neither where data without a refcount lies, nor behind the end of the file
    while there is room in it."""
    small = "cluster_size=512"
    poked(case, [], ("write -q -P 1 0 0x1b200",), small)
    if len(case.bytes("image")) != 0x20000:
        raise Failure("it is not as long as what one refcount block describes")
    case.poke("image", 0x1ccc8, bytes.fromhex("8000000000020000"))
    case.poke("image", 0x20000, b"\x2a" * 512)
    repaired(case, f"read {0x1b200} 512 42", f"read 0 {0x1b200} 1")
    poked(case, [(48, "00" * 12)], ("write -q -P 1 0 1M", "discard -q 200k 300k",
                                    "write -q -P 2 1023k 1k"), small)
    before = len(case.bytes("image"))
    repaired(case)
    case.serves("image", "--read-only", "-c", "read 0 200k 1", "-c", "read 500k 523k 1", "-c",
                "read 1023k 1k 2")
    if len(case.bytes("image")) > before:
        raise Failure("it has grown, and there was room")


def rebuilt_no_larger(case):
    """Refcounts made anew are those of the file, whatever its entries say: clusters behind its end, up to
    the last offset there is, get none."""
    pokes = [(48, "00" * 12)]
    pokes += [(0x40008 + 8 * i, f"{1 << 63 | 1 << bit:016x}") for i, bit in enumerate(range(30, 56))]
    poked(case, pokes)
    before = len(case.bytes("image"))
    result = case.run(case.program, "check", "--repair", "all", case.path("image"))
    if result.returncode != 2:
        raise Failure(f"what cannot be repaired is: {result.stdout}")
    case.serves("image", "--read-only", "-c", "read 0 64k 1")
    after = len(case.bytes("image"))
    if after > before + (1 << 20):
        raise Failure(f"it has grown from {before} to {after} bytes")


def refcount(case, cluster):
    """Of 16 bits, in an image of 64k clusters."""
    block = case.word("image", case.word("image", 48) + cluster // 32768 * 8)
    return case.word("image", block + cluster % 32768 * 2) >> 48 if block else 0


def repaired_in_part(case):
    """A repair that does what can be done; what it says."""
    result = case.run(case.program, "check", "--repair", "all", case.path("image"))
    if result.returncode != 2:
        raise Failure(f"repair ended with {result.returncode}: {result.stdout}")
    return result.stdout


def rebuilt_cut_off(case):
    """Refcounts made anew, in holes, are also those of what was cut off, or has gone astray behind the end:
    nobody else gets its place."""
    poked(case, [], ("write -q -P 1 0 512k", "discard -q 128k 192k"))
    os.truncate(case.path("image"), 11 * CLUSTER)
    stray = 11 + 100
    case.poke("image", 0x40000 + 20 * 8, struct.pack(">Q", cases.COPIED | stray * CLUSTER))
    case.poke("image", 0x10008, bytes.fromhex("0000000010000000"))
    unopened(case, "behind the end of the file")
    repaired_in_part(case)
    if len(case.bytes("image")) != 11 * CLUSTER:
        raise Failure("it has another length")
    for cluster in (11, 12, stray):
        if refcount(case, cluster) != 1:
            raise Failure(f"cluster {cluster} has the refcount {refcount(case, cluster)}")
    # Fill the hole that is left, and go on; what was cut off changes, and is given up.
    case.serves("image", "-c", "write 8M 256k 9", "-c", "write 384k 512 7", "-c", "flush",
                "-c", "discard 448k 64k", "-c", "discard 1280k 64k", "-c", "flush",
                "-c", "write 16M 256k 8", "-c", "read 8M 256k 9", "-c", "read 384k 512 7",
                "-c", "read 0 128k 1")
    case.serves("image", "-c", "read 8M 256k 9", "-c", "read 16M 256k 8", "-c", "read 384k 512 7",
                "-c", "read 385k 63k 0")
    case.tool("qemu-img", "check", "-q", "image")


def rebuilt_far_cut(case):
    """What lies too far behind the end loses its refcount, and nobody may write any more; no new table
    goes there.  When the file is as long as it should be, all is well again."""
    for version in ("1.1", "0.10"):
        poked(case, [(0x10008, "0000000010000000")], options=f"compat={version}")
        end = len(case.bytes("image"))
        strays = [end + (1 << 30) - CLUSTER, end + (1 << 30)]
        for i, at in enumerate(strays):
            case.poke("image", 0x40008 + 8 * i, struct.pack(">Q", cases.COPIED | at))
        if version == "0.10":
            before = case.bytes("image")
            result = case.run(case.program, "check", "--repair", "all", case.path("image"))
            if result.returncode != 1 or "cannot be made anew" not in result.stdout:
                raise Failure(f"version 2: {result.returncode}: {result.stdout}")
            if case.bytes("image") != before:
                raise Failure("version 2: it was written to")
        else:
            if "Marked as corrupt" not in repaired_in_part(case):
                raise Failure("no word of the mark")
            table = case.word("image", 48)
            if {table, case.word("image", table)} & set(strays):
                raise Failure(f"new tables at {table:#x} and {case.word('image', table):#x}")
            if refcount(case, strays[0] // CLUSTER) != 1:
                raise Failure("what is near has no refcount")
            case.refuses("image", "marked corrupt")
            case.serves("image", "--read-only", "-c", "read 0 64k 1")
        os.truncate(case.path("image"), strays[1] + CLUSTER)
        repaired(case, "read 0 64k 1", "read 64k 128k 0", "write 64k 128k 7")
        if version != "0.10" and case.incompatible("image"):
            raise Failure("it is still marked")


def rebuilt_between_strays(case):
    """Behind a file without holes, new tables go between what is referred to; if nothing is free as far as
    that is counted, nothing is written."""
    large = 2 << 20
    for gap in (2, 1):
        poked(case, [], ("write -q -P 1 0 2M",), "cluster_size=2M", "4G")
        end = -(-len(case.bytes("image")) // large)
        os.truncate(case.path("image"), end * large)
        first = end + 100
        strays = [end + i for i in range(520) if not first <= end + i < first + gap]
        at, _ = case.entry("image", 1)
        case.poke("image", at, b"".join(struct.pack(">Q", cases.COPIED | cluster * large)
                                        for cluster in strays))
        case.poke("image", case.word("image", 48) + 8, struct.pack(">Q", 1 << 40))
        header = case.bytes("image")[:large]
        if gap == 2:
            repaired_in_part(case)
            table = case.word("image", 48)
            if {table, case.word("image", table)} != {first * large, (first + 1) * large}:
                raise Failure(f"new tables at {table:#x} and {case.word('image', table):#x}")
            continue
        result = case.run(case.program, "check", "--repair", "all", case.path("image"))
        if result.returncode != 1 or "no space for a table" not in result.stdout:
            raise Failure(f"no room: {result.returncode}: {result.stdout[-500:]}")
        if case.bytes("image")[:large] != header:
            raise Failure("the header has changed")


def l1_cut_within_an_entry(case):
    """What is missing of the last entry of an L1 table is zeros, whatever was read before."""
    poked(case, [], ("write -q -P 1 0 512", "write -q -P 2 256M 512"), "cluster_size=512",
          str((256 << 20) + 32768))
    # The last entry ends with two zeros and is read behind another, which does not.
    l1 = case.word("image", 40)
    words = bytearray(case.bytes("image")[l1:l1 + 65544])
    table = case.word("image", l1 + 65536) & cases.HOST
    at = -(-len(case.bytes("image")) // CLUSTER) * CLUSTER
    case.poke("image", at, case.bytes("image")[table:table + 512])
    words[65536:] = struct.pack(">Q", cases.COPIED | at)
    if not any(words[6:8]):
        raise Failure(f"the first entry is {words[:8].hex()}")
    case.poke("image", at + 512, bytes(words))
    case.poke("image", 40, struct.pack(">Q", at + 512))
    repaired(case)
    if len(case.bytes("image")) != at + 512 + 65544:
        raise Failure("the L1 table is not at the end")
    os.truncate(case.path("image"), at + 512 + 65542)
    for command in (["check"], ["check", "--repair", "leaks"], ["check", "--repair", "all"]):
        result = case.run(case.program, *command, case.path("image"))
        if result.returncode:
            raise Failure(f"{command}: {result.returncode}: {result.stdout}")
    case.serves("image", "--read-only", "-c", "read 0 512 1", "-c", "read 256M 512 2")


def copied_missing(case):
    """Harmless: copies where none were needed, and no table that is given up is in the way."""
    poked(case, [(0x30000, "0000000000040000"), (0x40000, "0000000000050000")])
    case.serves("image", "-c", "write 0 512 9", "-c", "flush", "-c", "write 1M 40M 7", "-c",
                "write 42M 20M 6")
    case.tool("qemu-img", "check", "-q", "image")
    case.serves("image", "-c", "read 0 512 9", "-c", "read 512 65024 1", "-c", "read 1M 40M 7")


def snapshot_entries(case, version, entries, size="64k"):
    """An image of clusters of 512 bytes whose snapshot table has these entries; its offset and length."""
    small = "cluster_size=512" + (",compat=0.10" if version == 2 else "")
    poked(case, [], (f"write -q -P 1 0 {size}",), small, "1M")
    table = b"".join(entry.ljust(-(-len(entry) // 8) * 8, b"\0") for entry in entries)
    at = -(-len(case.bytes("image")) // 512) * 512
    case.poke("image", at, table.ljust(-(-len(table) // 512) * 512, b"\0"))
    case.poke("image", 60, struct.pack(">IQ", len(entries), at))
    return at, len(table)


def snapshot_entry(extra, strings=b""):
    """One without an L1 table."""
    return struct.pack(">QIHHIIQII", 0, 0, len(strings), 0, 0, 0, 0, 0, extra) + b"\0" * extra + strings


def snapshots_of_version_2(case):
    """What is no fault there stays as it is, when an entry beside it gets another length."""
    short = [snapshot_entry(0)] * 199
    snapshot_entries(case, 2, [snapshot_entry(1032)] + short)
    repaired(case, "read 0 64k 1")
    at = case.word("image", 64)
    mended = snapshot_entry(1024)
    if case.bytes("image")[at:at + len(mended) + 199 * 40] != mended + b"".join(short):
        raise Failure("other entries than the first one have changed")


def snapshots_of_version_3(case):
    """All entries get longer, each by 16 bytes and what it takes to begin at a multiple of 8."""
    entries = [snapshot_entry(i % 9, b"x" * (1 + i % 7)) for i in range(200)]
    snapshot_entries(case, 3, entries)
    repaired(case, "read 0 64k 1")


def snapshots_of_a_cut_file(case):
    """A new table behind the end leaves the refcounts of what was cut off alone, at any time."""
    if not case.library:
        return
    tries, killed = 0, True
    while killed:
        tries += 1
        at, _ = snapshot_entries(case, 3, [snapshot_entry(0)], size="65024")
        refcounts = case.word("image", case.word("image", 48))
        if b"\0\0" in [case.bytes("image")[refcounts + 2 * i:][:2] for i in range(at // 512)]:
            raise Failure("there are holes in it")
        stray = at // 512 + 4
        table = case.word("image", case.word("image", 40) + 8) & cases.HOST
        case.poke("image", table + 63 * 8, struct.pack(">Q", cases.COPIED | stray * 512))
        case.poke("image", refcounts + 2 * stray, b"\0\1")
        result = subprocess.run([case.program, "check", "--repair", "all", case.path("image")],
                                env={**os.environ, "LD_PRELOAD": case.library,
                                     "CUT_WRITES": str(tries)},
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        killed = result.returncode == 99
        if case.word("image", refcounts + 2 * stray) >> 48 != 1:
            raise Failure(f"killed at write {tries}, the refcount of cluster {stray} is gone")
    if tries < 4:
        raise Failure(f"it was killed {tries - 1} times: {result.stdout}")


def snapshot_out_of_reach(case):
    """What a snapshot alone has stays its own while its L1 table cannot be read, until its entry is put
    right again; and so does what the disk alone has, by the header."""
    header = 40
    for field, value in ((0, 0x200), (0, 1 << 40), (0, 1 << 62), (8, 1 << 63), (header, 1 << 40)):
        for mode in ("leaks", "all"):
            poked(case, [], ("write -q -P 1 0 4M",))
            case.tool("qemu-img", "snapshot", "-c", "s", "image")
            case.qemu_io("image", "write -q -P 2 0 1M")
            at = field if field == header else case.word("image", 64) + field
            entry = case.word("image", at)
            case.poke("image", at, struct.pack(">Q", entry ^ value))
            result = case.run(case.program, "check", "--repair", mode, case.path("image"))
            if result.returncode != 2 or "leaks are left" not in result.stdout:
                raise Failure(f"{value:#x}: {mode} ended with {result.returncode}: {result.stdout}")
            if field == header:
                case.refuses("image", "lies behind the end of the file")
                case.poke("image", at, struct.pack(">Q", entry))
                case.serves("image", "--read-only", "-c", "read 0 1M 2", "-c", "read 1M 3M 1")
                case.serves("image", "-c", "write 8M 4M 4", "-c", "flush", "-c", "read 0 1M 2")
            case.serves("image", "-c", "write 0 8M 3", "-c", "flush", "-c", "discard 2M 2M")
            case.poke("image", at, struct.pack(">Q", entry))
            repaired(case, "read 0 2M 3")
            case.tool("qemu-img", "snapshot", "-a", "s", "image")
            case.serves("image", "-c", "read 0 4M 1", "-c", "read 4M 4M 0")


def snapshots_too_many_bytes(case):
    """A table that would be longer than any that is read is not written."""
    entries = [snapshot_entry(8, b"x" * 972)] * 65535
    entries.append(snapshot_entry(0, b"x" * 900))
    at, length = snapshot_entries(case, 3, entries)
    before = case.bytes("image")
    result = case.run(case.program, "check", "--repair", "all", case.path("image"))
    if result.returncode != 1 or "would be larger than 64 MiB" not in result.stdout:
        raise Failure(f"table of {length} bytes: {result.returncode}: {result.stdout[-500:]}")
    if case.bytes("image") != before:
        raise Failure("it was written to")
    if case.word("image", 64) != at:
        raise Failure("the header has changed")


def repair_takes_too_much(case):
    """What is repaired at a start takes little memory: of clusters of 512 bytes, far from each other, each
    takes 152 bytes to count."""
    tables, size = 72000, 2 << 30
    poked(case, [], (), "cluster_size=512,refcount_bits=1", "64M")
    l1 = b"".join(struct.pack(">Q", cases.COPIED | at)
                  for at in range(1 << 30, (1 << 30) + tables * 512, 512))
    entries = b"".join(struct.pack(">Q", cases.COPIED | at)
                       for at in range(size, size + tables * 64 * 16384, 16384))
    case.poke("image", 1 << 29, l1)
    case.poke("image", 1 << 30, entries)
    case.poke("image", size + tables * 64 * 16384, b"\0")
    case.poke("image", 24, struct.pack(">QIIQ", tables * 32768, 0, tables, 1 << 29))
    case.poke("image", 79, b"\1")
    case.refuses("image", "a start takes no more than 640 MiB for a repair")


CASES = [table_in_place_of_another, data_in_place_of_a_table, data_in_place_of_the_header,
         tables_of_snapshots, misaligned, zero_flag_in_version_2, copied_and_compressed,
         reserved_bits, behind_the_end, free_metadata, refcount_too_low, no_refcount_table,
         no_refcount_block, second_block_missing, bad_refcount_block, dirty_and_beyond, dirty_and_lasting,
         dirty_and_unreadable, far_blocks, rebuilt_around_data, rebuilt_no_larger, rebuilt_cut_off, rebuilt_far_cut,
         rebuilt_between_strays, l1_cut_within_an_entry, copied_missing, snapshots_of_version_2,
         snapshots_of_version_3, snapshots_of_a_cut_file, snapshot_out_of_reach,
         snapshots_too_many_bytes, repair_takes_too_much]

cases.main(__doc__.splitlines()[0], CASES)
