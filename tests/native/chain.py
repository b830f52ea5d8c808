#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Layers, data files, snapshots, marks and compressed clusters: what is served, refused, and why.

chain.py --qio PATH
"""
import os
import random
import shutil
import struct
import subprocess

import cases
from cases import CLUSTER, COMPRESSED, Failure, Watch


def names(case):
    """Relative to the overlay's folder; file:, and what looks like a protocol."""
    os.mkdir(case.path("below"))
    os.mkdir(case.path("elsewhere"))
    case.raw("below/base.raw", 2 << 20)
    os.rename(case.path("below/base.raw"), case.path("below/a:b"))
    shutil.copyfile(case.path("below/a:b"), case.path("base.raw"))
    for name in ["base.raw", "./base.raw", "below/a:b", "./below/a:b", case.path("base.raw"),
                 "file:base.raw", "file:" + case.path("base.raw"), "elsewhere/../base.raw"]:
        case.create("top", name, "raw")
        case.serves("top", "-c", f"compare {case.path('base.raw')}")
        case.serves("../top", "-c", f"compare {case.path('base.raw')}", cwd=case.path("below"))
    case.create("top", "base.raw", "raw")
    os.symlink("../top", case.path("below/link"))
    # As with QEMU, the folder is that of the name, not of what a symbolic link points at.
    case.refuses("below/link", "No such file")
    for name in ["nbd:localhost:10809", "nbd://localhost/x", "http://localhost/x", "a:b", ":",
                 'json:{"driver":"null-co"}', "fat:/tmp", "rbd:pool/image"]:
        case.create("top", name, "raw")
        case.refuses("top", "is not the name of a file")


def formats(case):
    """Recorded, given, or refused; never guessed."""
    case.raw("base.raw", 1 << 20)
    case.create("base.qcow2", size="1M")
    case.create("top", "base.raw", "raw")
    case.serves("top", "--backing-format", "qcow2", "-c", f"compare {case.path('base.raw')}")
    # A raw file that looks like an image is a raw file.
    case.create("top", "base.qcow2", "raw")
    case.serves("top", "-c", f"compare {case.path('base.qcow2')}")
    case.create("top", "base.raw", "qcow2")
    case.refuses("top", "base.raw")
    for form in ["vmdk", "foo"]:
        case.create("top", "base.raw", "raw")
        at = open(case.path("top"), "rb").read(512).index(b"raw\0")
        case.poke("top", at - 4, struct.pack(">I", len(form)) + form.encode().ljust(8, b"\0"))
        case.refuses("top", f"has the format {form}")
    case.create("old", "base.raw", "raw", options="compat=0.10")
    at = open(case.path("old"), "rb").read(512).index(b"raw\0") - 8
    # An extension that nobody knows, of the same length.
    case.poke("old", at, struct.pack(">I", 0x11111111))
    case.refuses("old", "does not record the format")
    case.serves("old", "--backing-format", "raw", "-c", f"compare {case.path('base.raw')}")


def formats_deeper(case):
    """What the user says of the image's own backing file is not said of what lies below that, which somebody
    else may have made: the bytes of a raw file there are a guest's."""
    case.raw("other", 1 << 20)
    case.create("base", "other", "raw", size="1M")
    case.create("middle", "base", "raw", size="1M", options="compat=0.10")
    at = open(case.path("middle"), "rb").read(512).index(b"raw\0") - 8
    case.poke("middle", at, struct.pack(">I", 0x11111111))
    case.create("top", "middle", "qcow2", size="1M")
    case.refuses("top", "does not record the format of its backing file base; record it with "
                 "qemu-img rebase -u -b base -F")
    for form in ["qcow2", "raw"]:
        case.refuses("top", "middle: does not record the format", "--backing-format", form)
    case.create("top", "middle", "raw", size="1M")
    at = open(case.path("top"), "rb").read(512).index(b"raw\0") - 8
    case.poke("top", at, struct.pack(">I", 0x11111111))
    case.refuses("top", "say --backing-format raw or qcow2, or record it")
    case.refuses("top", "middle: does not record the format", "--backing-format", "qcow2")
    case.tool("qemu-img", "rebase", "-u", "-b", "base", "-F", "raw", "middle")
    case.serves("top", "--backing-format", "qcow2", "-c", f"compare {case.path('base')}")


def length(case):
    """Depth has a limit, and a chain has an end."""
    case.raw("0", 1 << 20)
    for i in range(1, 65):
        case.create(str(i), str(i - 1), "raw" if i == 1 else "qcow2", size="1M")
    case.serves("63", "-c", f"compare {case.path('0')}", "-c", "write 0 512 1")
    case.refuses("64", "more than 64 files")
    case.create("a", "b")
    case.create("b", "c")
    case.create("c", "a")
    case.refuses("a", "lies above it in the same chain")
    case.create("self", "below")
    case.tool("qemu-img", "rebase", "-u", "-b", "self", "-F", "qcow2", "self")
    case.refuses("self", "lies above it in the same chain")
    os.link(case.path("self"), case.path("hard"))
    case.create("top", "self")
    case.refuses("top", "lies above it in the same chain")
    os.mkdir(case.path("folder"))
    os.mkfifo(case.path("fifo"))
    for name, words in [("folder", "is a directory"), ("fifo", "neither a regular file"),
                        ("gone", "No such file"), ("/dev/null", "neither a regular file")]:
        case.create("top", name, "raw")
        case.refuses("top", words)


def allowed(case):
    """Below the folders that were named, as the files lie and not as they are called."""
    os.mkdir(case.path("in"))
    os.mkdir(case.path("inside"))
    case.raw("in/base", 1 << 20)
    case.raw("inside/base", 1 << 20)
    os.symlink("../inside/base", case.path("in/out"))
    os.symlink("in/base", case.path("link"))
    folder = ("--allow-path", case.path("in"))
    for name in ["in/base", "link", "inside/../in/base"]:
        case.create("top", name, "raw")
        case.serves("top", *folder, "-c", "flush")
    for name in ["inside/base", "in/out", "in/../inside/base"]:
        case.create("top", name, "raw")
        case.serves("top", "-c", "flush")
        case.refuses("top", "is not below a folder", *folder)
        case.serves("top", *folder, "--allow-path", case.path("inside"), "-c", "flush")


def not_opened(case):
    """What is refused for what it is, or for where it lies, is not even opened: a device could do something."""
    ends = os.openpty()
    terminal = os.ttyname(ends[1])
    os.mkdir(case.path("in"))
    case.raw("base", 1 << 20)
    watch = Watch(terminal, case.path("base"))
    for folders in [(), ("--allow-path", case.path("in"))]:
        words = "neither a regular file"
        case.create("top", terminal, "raw")
        case.refuses("top", words, *folders)
        case.create("apart", options=f"data_file={case.path('data')}", size="4M")
        at = case.bytes("apart").index(b"DATA")
        case.poke("apart", at + 4, struct.pack(">I", len(terminal)) +
                  terminal.encode().ljust(len(case.path("data")), b"\0"))
        case.refuses("apart", words, *folders)
    case.create("top", case.path("base"), "raw")
    case.refuses("top", "is not below", "--allow-path", case.path("in"))
    if watch.saw():
        raise Failure("it was opened")
    case.serves("top", "-c", "read 0 512")
    if not watch.saw():
        raise Failure("the watch sees nothing")
    for end in ends:
        os.close(end)


def subclusters(case):
    """Extended L2: every kind of subcluster and of entry, over a base that shows through."""
    case.raw("base", 3 << 20)
    for size in ["16k", "64k", "2M"]:
        options = f"extended_l2=on,cluster_size={size}"
        for more in ["", ",preallocation=metadata", f",data_file={case.path('data')}"]:
            case.create("top", "base", "raw", "8M", options + more)
            writes = ["write -P 1 3k 2k", "write -P 2 130k 100k", "write -z 140k 7k",
                      "write -z -u 2M 1M", "write -P 3 2100k 1k", "discard 4M 2M",
                      "write -P 4 4098k 2k", "write -P 5 2047k 4k", "write -z 1000k 300k"]
            if not more:
                writes += ["write -c -P 6 6M 2M", "write -P 7 7000k 3k", "write -z 7100k 3k"]
            case.tool("qemu-io", "-d", "unmap", *[word for line in writes for word in ("-c", line)],
                      "top")
            case.tool("qemu-img", "convert", "-O", "raw", "top", "whole")
            case.serves("top", "--read-only", "-c", f"compare {case.path('whole')}")
            case.create("over", "top", "qcow2", "9M")
            case.serves("over", "-c", "write 131k 1k 9", "-c", "read 130k 1k 2", "-c", "read 131k 1k 9",
                        "-c", "read 132k 1k 2", "-c", "read 140k 6k 0")


def layers_refused(case):
    """What a layer cannot be, says its name."""
    case.create("below")
    case.create("top", "below")
    for bit in [1, 2]:
        # Dirty or corrupt: no harm to a reader.
        case.poke("below", 72, struct.pack(">Q", bit))
        case.serves("top", "-c", "read 0 1M 0")
    case.poke("below", 72, struct.pack(">Q", 1 << 50))
    case.refuses("top", "below: ")
    case.create("below")
    case.poke("below", 4, struct.pack(">I", 4))
    case.refuses("top", "below: ")
    with open(case.path("below"), "w", encoding="ascii"):
        pass
    case.refuses("top", "below: ")


def unpacking(case):
    """A cluster is decompressed once; a damaged one fails alone; wrong sector counts."""
    case.raw("raw", 4 << 20)
    with open(case.path("raw"), "r+b") as file:
        for at in range(0, 4 << 20, 4096):
            file.seek(at)
            file.write(bytes(3000))
    for kind in ["zlib", "zstd"]:
        packed = f"packed.{kind}"
        case.tool("qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", "-o",
                  f"compression_type={kind}", "raw", packed)
        reads = [word for i in range(16) for word in ("-c", f"read {4096 * i} 4096")]
        case.serves(packed, "--lanes", "1", *reads, "-c", "unpacked 1")
        case.serves(packed, "--lanes", "1", "-c", f"compare {case.path('raw')}",
                    "-c", "unpacked 64")
        for direct in [[], ["--direct"]]:
            case.serves(packed, *direct, "-c", f"compare {case.path('raw')}")
        # More sectors than there need be; then one too few, which is an error of that cluster.
        shutil.copyfile(case.path(packed), case.path("poked"))
        at, entry = case.entry("poked", 0)
        assert entry & COMPRESSED
        case.poke("poked", at, struct.pack(">Q", entry + (5 << 54)))
        case.serves("poked", "--read-only", "-c", f"compare {case.path('raw')}")
        case.poke("poked", at, struct.pack(">Q", entry & ~(0xff << 54)))
        case.serves("poked", "--read-only", "-c",
                    f"compare {case.path('raw')} {CLUSTER} {CLUSTER}")
        result = case.engine(case.path("poked"), "--read-only", "-c", "read 4096 4096")
        if "Input/output error" not in result.stdout:
            raise Failure(f"a cluster that is cut off: {result.stdout}")
        # Where its bytes should be is nothing; and what is written whole needs no old bytes.
        case.poke("poked", at, struct.pack(">Q", COMPRESSED | 1 << 40))
        result = case.engine(case.path("poked"), "-c", "read 0 512", "-c", "write 0 512 1")
        if result.stdout.count("Input/output error") != 2:
            raise Failure(f"a cluster beyond the end: {result.stdout}")


def dirty(case):
    """An image that QEMU has left dirty is repaired before the first write, not for readers."""
    for options in ["lazy_refcounts=on", "lazy_refcounts=on,cluster_size=4k,refcount_bits=1"]:
        case.raw("base.raw", 1 << 20)
        if os.path.exists(case.path("top")):
            os.remove(case.path("top"))
        case.create("top", "base.raw", "raw", "3M", options)
        subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -P 5 100k 1M", "-c", "flush",
                        "-c", "abort", case.path("top")], stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, check=False)
        if not case.incompatible("top") & 1:
            raise Failure("qemu-io has not left the image dirty")
        case.tool("qemu-img", "convert", "-O", "raw", "-U", "top", "wanted.raw")
        shutil.copyfile(case.path("top"), case.path("before"))
        case.serves("top", "--read-only", "-c", f"compare {case.path('wanted.raw')}")
        if case.bytes("top") != case.bytes("before"):
            raise Failure("reading has changed the image")
        case.serves("top", "-c", f"compare {case.path('wanted.raw')}", "-c", "write 2M 64k 6")
        if case.incompatible("top") & 1:
            raise Failure("it is still marked dirty")
        case.tool("qemu-img", "check", "-q", "top")
        case.serves("top", "-c", f"compare {case.path('wanted.raw')} 0 2M")
        # Marked corrupt as well, it is nobody's to repair in passing.
        case.poke("before", 79, bytes([3]))
        shutil.copyfile(case.path("before"), case.path("top"))
        case.refuses("top", "marked corrupt")
        if case.bytes("top") != case.bytes("before"):
            raise Failure("refusing has changed the image")


def damage(case):
    """Tables that make no sense stop all writes and leave the corrupt mark; data is never
    written over metadata."""
    case.create("sound", size="4M")
    case.serves("sound", "-c", "write 0 1M 3")
    at, entry = case.entry("sound", 0)
    copied = 1 << 63
    # Refcount table, refcount block, L1 table, L2 table; not aligned.
    for target in [CLUSTER, 2 * CLUSTER, 3 * CLUSTER, at - at % CLUSTER, 0x200]:
        for command in ["write 4k 4k 9", "write 0 64k 9"] + ["read 4k 4k"] * (target % CLUSTER > 0):
            shutil.copyfile(case.path("sound"), case.path("poked"))
            case.poke("poked", at, struct.pack(">Q", copied | target))
            before = case.bytes("poked")
            result = case.engine(case.path("poked"), "-c", command, "-c", "write 512k 4k 8",
                                 "-c", "read 512k 4k 3")
            if "is corrupt" not in result.stdout or result.stdout.count("Input/output") < 2:
                raise Failure(f"entry {target:#x}, {command}: {result.stdout}")
            after = case.bytes("poked")
            if not after[79] & 2 or after[80:] != before[80:] or after[:72] != before[:72]:
                raise Failure(f"entry {target:#x}, {command}: no corrupt mark, or more than that")
            case.refuses("poked", "marked corrupt")
    # A refcount that is too low, met by a discard.
    shutil.copyfile(case.path("sound"), case.path("poked"))
    case.poke("poked", 2 * CLUSTER + 2 * ((entry & 0x00fffffffffffe00) // CLUSTER), b"\0\0")
    result = case.engine(case.path("poked"), "-c", "discard 0 64k", "-c", "flush")
    if "too low" not in result.stdout or not case.bytes("poked")[79] & 2:
        raise Failure(f"a refcount that is too low: {result.stdout}")
    # Readers only read.
    shutil.copyfile(case.path("sound"), case.path("poked"))
    case.poke("poked", at, struct.pack(">Q", copied | 0x200))
    before = case.bytes("poked")
    result = case.engine(case.path("poked"), "--read-only", "-c", "read 0 4k")
    if "Input/output" not in result.stdout or case.bytes("poked") != before:
        raise Failure(f"read only: {result.stdout}")


def bitmaps(case):
    """Bitmaps that we do not keep up are marked as in use, and nothing leaks."""
    case.create("top", size="4M")
    for name in ["one", "two with a longer name"]:
        case.tool("qemu-img", "bitmap", "--add", "top", name)
    shutil.copyfile(case.path("top"), case.path("before"))
    case.serves("top", "--read-only", "-c", "read 0 4M")
    if case.bytes("top") != case.bytes("before"):
        raise Failure("reading has changed the image")
    case.serves("top", "--direct", "-c", "write 1M 1M 9")
    case.tool("qemu-img", "check", "-q", "top")
    facts = subprocess.run(["qemu-img", "info", case.path("top")], stdout=subprocess.PIPE,
                           text=True, check=True).stdout
    if facts.count("in-use") != 2 or "two with a longer name" not in facts:
        raise Failure(f"the bitmaps are not in use: {facts}")
    case.tool("qemu-img", "bitmap", "--remove", "top", "one")
    case.tool("qemu-img", "check", "-q", "top")
    # A directory that makes no sense is disowned, as by a program that knows no bitmaps.
    # Directories that are no longer in use may lie in front of it.
    at = case.bytes("before").rindex(b"one") - 12
    case.poke("before", at, b"\xff")
    case.serves("before", "-c", "write 1M 1M 9")
    if case.bytes("before")[95]:
        raise Failure("the feature bit is still set")


def snapshots(case):
    """Snapshots by id and name, of other sizes than the disk, with what they share written over."""
    case.raw("base.raw", 1 << 20)
    for options in ["compat=0.10", "compat=1.1,refcount_bits=64", "cluster_size=512",
                    "cluster_size=2M"]:
        case.create("top", "base.raw", "raw", "3M", options)
        lot = random.Random(options)
        for name in ["first", "2", "three words "]:
            for _ in range(12):
                at = lot.randrange(6144) * 512
                length = min(lot.randrange(1, 300) * 512, (3 << 20) - at)
                case.serves("top", "-c", f"write {at} {length} {lot.randrange(256)}")
            case.tool("qemu-img", "snapshot", "-c", name, "top")
            case.tool("qemu-img", "convert", "-O", "raw", "top", f"{name}.raw")
        if "compat=0.10" not in options:
            case.tool("qemu-img", "resize", "-q", "top", "5M")
        case.serves("top", "-c", "write 0 3M 7")
        case.tool("qemu-img", "check", "-q", "top")
        # The id 2 is that of "2", too; an id comes before a name.
        for wanted, raw in [("first", "first"), ("1", "first"), ("2", "2"),
                            ("three words ", "three words "), ("3", "three words ")]:
            shutil.copyfile(case.path(f"{raw}.raw"), case.path("wanted.raw"))
            case.serves("top", "--snapshot", wanted, "-c", f"compare {case.path('wanted.raw')}",
                        "-c", "read 0 3M")
        case.refuses("top", "no snapshot with the id or name", "--snapshot", "thre")
        result = case.engine(case.path("top"), "--snapshot", "1", "-c", "write 0 512 1")
        if "Read-only" not in result.stdout:
            raise Failure(f"a write to a snapshot: {result.stdout}")


def header(case, image):
    with open(case.path(image), "rb") as file:
        return file.read(4096)


def data_file(case):
    """Guest bytes in a file of their own, of the image and of what lies below it."""
    case.raw("plain", 2 << 20)
    for name in [case.path("data"), "data", "file:" + case.path("data")]:
        case.create("top", options=f"data_file={name}", size="2M")
        case.tool("qemu-img", "convert", "-n", "-f", "raw", "-O", "qcow2", "plain", "top")
        case.serves("top", "-c", f"compare {case.path('plain')}")
        case.serves("top", "--read-only", "-c", f"compare {case.path('plain')}")
    case.serves("top", "--direct", "-c", "write 0 512 5", "-c", "write 100k 1k 6")
    case.tool("qemu-io", "-r", "-c", "read -P 5 0 512", "-c", "read -P 6 100k 1k", "top")
    # A name counts from the folder of the image, wherever we are.
    os.mkdir(case.path("folder"))
    os.rename(case.path("data"), case.path("folder/data"))
    case.create("folder/rel", options="data_file=data", size="2M")
    os.unlink(case.path("data"))
    case.serves("folder/rel", "-c", "write 0 512 5", "-c", "read 0 512 5")
    case.create("over", "folder/rel", size="2M")
    case.serves("over", "-c", "read 0 512 5", "-c", "write 512 512 7", "-c", "read 512 512 7",
                "-c", "read 0 512 5")
    case.serves("folder/rel", "-c", "read 512 512 0")
    case.create("over", "folder/rel", options=f"data_file={case.path('second')}", size="2M")
    case.serves("over", "-c", "write 512 512 7", "-c", "read 0 512 5")
    case.tool("qemu-io", "-r", "-c", "read -P 7 512 512", "second", "-f", "raw")


def data_file_bits(case):
    """What vouches for the raw data file stays, what nobody keeps up goes."""
    case.create("top", options=f"data_file={case.path('data')},data_file_raw=on", size="2M")
    case.poke("top", 88, struct.pack(">Q", 1 << 40 | 2))
    case.serves("top", "--read-only", "-c", "read 0 512 0")
    if header(case, "top")[88:96] != struct.pack(">Q", 1 << 40 | 2):
        raise Failure("a reader has changed the header")
    case.serves("top", "-c", "write 0 1M 1", "-c", "zero 64k 64k", "-c", "discard 128k 64k",
                "-c", "zero 192k 64k nounmap", "-c", "zero 300k 1k", "-c", "read 300k 1k 0")
    if header(case, "top")[88:96] != struct.pack(">Q", 2):
        raise Failure("autoclear bits")
    case.serves("top", "-c", f"compare {case.path('data')}")
    with open(case.path("data"), "rb") as file:
        if file.read().count(1) != (1 << 20) - 3 * CLUSTER - 1024:
            raise Failure("the zeros are not in the raw data file")


def data_file_damage(case):
    """Clusters elsewhere than at their own address, and compressed ones, are errors."""
    case.create("top", options=f"data_file={case.path('data')}", size="2M")
    case.serves("top", "-c", "write 0 256k 3")
    at, entry = case.entry("top", 0)
    if entry != 1 << 63:
        raise Failure(f"the entry of cluster 0 is {entry:#x}")
    shutil.copyfile(case.path("top"), case.path("sound"))
    for word in [1 << 63 | 5 * CLUSTER, COMPRESSED | 5 * CLUSTER, 1 << 63 | 5 * CLUSTER | 1]:
        shutil.copyfile(case.path("sound"), case.path("top"))
        case.poke("top", at + 8, struct.pack(">Q", word))
        result = case.engine(case.path("top"), "-c", "read 64k 512", "-c", "write 64k 512 1",
                             "-c", "read 0 64k 3", "-c", "read 128k 64k 3")
        if result.stdout.count("Input/output error") != 3:  # the close too
            raise Failure(f"entry {word:#x}: {result.stdout}")


def data_file_refused(case):
    """Names as with backing files; nothing twice; nothing that cannot be kept right."""
    def make(name="data", *below):
        case.create("top", *below, options=f"data_file={case.path('data')}", size="2M")
        at = header(case, "top").index(b"DATA")
        field = name.encode().ljust(len(case.path("data")) + 7 & ~7, b"\0")
        if len(field) > (len(case.path("data")) + 7 & ~7):
            raise Failure("the name is too long for this test")
        case.poke("top", at + 4, struct.pack(">I", len(name)) + field)
        return at

    for name in ["nbd:x", "json:{}", "a:b", ":"]:
        make(name)
        case.refuses("top", "is not the name of a file")
    for name, words in [("gone", "cannot open its data file"), (".", "is a directory"),
                        ("top", "its data file"), ("a\0b", "zero byte")]:
        make(name)
        case.refuses("top", words)
    at = make()
    case.poke("top", at, struct.pack(">I", 0x11111111))
    case.refuses("top", "does not record the name of its data file")
    case.raw("base", 1 << 20)
    make("base", "base", "raw")
    case.refuses("top", "lies above it")
    make("data", "base", "raw")
    case.serves("top", "-c", "read 0 512")
    case.poke("top", 88, struct.pack(">Q", 2))
    case.refuses("top", "has a raw data file and a backing file")
    make()
    case.poke("top", 60, struct.pack(">I", 1))
    case.refuses("top", "has internal snapshots and an external data file")
    make()
    os.mkdir(case.path("in"))
    case.refuses("top", "is not below a folder", "--allow-path", case.path("in"))
    case.serves("top", "--allow-path", case.folder, "-c", "flush")


CASES = [names, damage, bitmaps, dirty, snapshots, formats, formats_deeper, length, allowed, not_opened, layers_refused,
         unpacking, subclusters, data_file, data_file_bits, data_file_damage, data_file_refused]


cases.main(__doc__.splitlines()[0], CASES)
