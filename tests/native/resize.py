#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Disks that grow and shrink while they are written to: what they hold then, and what qemu-img makes of it.

resize.py --qio PATH [--only NAME]
"""
import json

import cases
from cases import Failure

KIB = 1024
MIB = 1024 * KIB


def fill(case, image, size, pattern):
    """Data in the middle, up to the end, and holes around."""
    third = size // 3 // 512 * 512
    case.qemu_io(image, f"write -P {pattern} 0 512",
                 f"write -P {pattern + 1} {third} {third // 2 // 512 * 512}",
                 f"write -P {pattern + 2} {size - 1024} 1024")


def check(case, image, size):
    info = json.loads(case.tool("qemu-img", "info", "--output=json", image))
    if info["virtual-size"] != size:
        raise Failure(f"{image} has {info['virtual-size']} bytes, not {size}")
    case.tool("qemu-img", "check", "-q", "-f", "qcow2", image)


def raw_of(case, image, name):
    case.tool("qemu-img", "convert", "-f", "qcow2", "-O", "raw", image, name)


def grow(case, size, steps, options=None, below=None, form="qcow2", snapshot=False, lines=()):
    """One image through @steps, under writes, beside one that qemu-img resizes."""
    case.create("top", below, form, str(size), options)
    fill(case, "top", size, 10)
    if snapshot:
        case.tool("qemu-img", "snapshot", "-c", "before", "top")
        case.qemu_io("top", "write -P 77 0 4k")
    case.copy("top", "theirs")
    raw_of(case, "top", "content")
    commands = []
    for nth, step in enumerate(steps):
        # Requests around the old end while it moves, then at the new one.
        commands += [f"aio write {size - 1024} 512 {40 + nth}",
                     f"aio write 4096 {64 * KIB} {50 + nth}",
                     f"aio discard {256 * KIB} 8192", f"resize {step}", "wait",
                     f"write {step - 512} 512 {60 + nth}"]
        case.tool("qemu-img", "resize", "-q", "-f", "qcow2", "theirs", str(step))
        case.qemu_io("theirs", f"write -P {40 + nth} {size - 1024} 512",
                     f"write -P {50 + nth} 4096 64k",
                     f"write -P {60 + nth} {step - 512} 512")
        size = step
    # What was discarded may have stayed, in part; so it is written.
    commands += [f"write 0 {MIB} 1", f"write {MIB} 512 2", *lines, "flush"]
    case.qemu_io("theirs", f"write -P 1 0 {MIB}", f"write -P 2 {MIB} 512")
    case.serves("top", *(word for command in commands for word in ("-c", command)))
    check(case, "top", size)
    raw_of(case, "theirs", "wanted")
    if size < 64 * MIB:
        case.serves("top", "--read-only", "-c", f"compare {case.path('wanted')}")
    case.tool("qemu-img", "compare", "-q", "-f", "qcow2", "-F", "raw", "top", "wanted")
    if snapshot:
        case.tool("qemu-img", "snapshot", "-a", "before", "top")
        case.tool("qemu-img", "check", "-q", "-f", "qcow2", "top")


STEPS = [MIB + MIB // 2 + 512, 3 * MIB, 9 * MIB + 512 * 3]


def small_clusters(case):
    grow(case, MIB + 512 * 5, STEPS, "cluster_size=512")


def clusters_of_4k(case):
    grow(case, MIB + 512 * 5, STEPS, "cluster_size=4k")


def clusters_of_64k(case):
    grow(case, MIB + 512 * 5, [600 * MIB, 601 * MIB, 1100 * MIB])


def clusters_of_2m(case):
    grow(case, 3 * MIB, [5 * MIB, 9 * MIB + 512], "cluster_size=2M")


def version_2(case):
    grow(case, MIB + 512 * 5, STEPS, "compat=0.10,cluster_size=1k")


def refcounts_of_a_bit(case):
    grow(case, MIB + 512 * 5, STEPS, "refcount_bits=1,cluster_size=512")


def refcounts_of_64_bits(case):
    grow(case, MIB + 512 * 5, STEPS, "refcount_bits=64,cluster_size=4k")


def all_mapped(case):
    grow(case, MIB + 512 * 5, STEPS, "preallocation=metadata,cluster_size=4k")


def subclusters(case):
    grow(case, MIB + 512 * 5, STEPS, "extended_l2=on")


def snapshots(case):
    grow(case, MIB + 512 * 5, STEPS, "cluster_size=4k", snapshot=True)


def over_a_longer_raw_file(case):
    case.raw("base", 5 * MIB)
    grow(case, MIB + 512 * 5, STEPS, None, "base", "raw")


def over_a_longer_image(case):
    case.create("base", size="5M", options="cluster_size=512")
    case.qemu_io("base", "write -P 99 0 5M")
    grow(case, MIB + 512 * 5, STEPS, "cluster_size=4k", "base")


def over_a_shorter_image(case):
    case.create("base", size="700k")
    case.qemu_io("base", "write -P 99 0 700k")
    grow(case, MIB + 512 * 5, STEPS, "compat=0.10", "base")


def a_data_file(case):
    """With noise behind the end of the disk."""
    size = MIB + 512 * 5
    case.create("top", size=str(size), options=f"cluster_size=4k,data_file={case.path('data')}")
    fill(case, "top", size, 10)
    with open(case.path("data"), "ab") as file:
        file.write(bytes([77]) * MIB)
    raw_of(case, "top", "wanted")
    commands = []
    for step in STEPS:
        commands += [f"aio write {size - 1024} 512 40", f"resize {step}", "wait",
                     f"write {step - 512} 512 60"]
        case.tool("qemu-img", "resize", "-q", "-f", "raw", "wanted", str(step))
        case.tool("qemu-io", "-f", "raw", "-c", f"write -P 40 {size - 1024} 512",
                  "-c", f"write -P 60 {step - 512} 512", case.path("wanted"))
        size = step
    case.serves("top", *(word for command in commands for word in ("-c", command)), "-c", "flush")
    check(case, "top", size)
    case.tool("qemu-img", "compare", "-q", "-f", "qcow2", "-F", "raw", "top", "wanted")


def noise_behind_the_end(case):
    """What a shrink of qemu-img, or another program, has left in the last cluster is not shown."""
    case.create("top", size="1M")
    case.qemu_io("top", "write -P 5 0 1M")
    case.poke("top", 24, (600 * KIB).to_bytes(8, "big"))
    case.serves("top", "-c", "resize 1M", "-c", f"read 0 {600 * KIB} 5",
                "-c", f"read {600 * KIB} {424 * KIB} 0")
    case.tool("qemu-img", "check", "-q", "-f", "qcow2", "top")
    raw_of(case, "top", "content")
    if case.bytes("content") != bytes([5]) * (600 * KIB) + bytes(424 * KIB):
        raise Failure("the new end is not zeros")


def refuse(case, image, size, words, *arguments):
    before = case.bytes(image)
    result = case.engine(case.path(image), *arguments, "-c", f"resize {size}")
    if result.returncode != 1 or words not in result.stdout or result.stdout.count("\n") != 1:
        raise Failure(f"{image}: status {result.returncode}, no word of '{words}': {result.stdout}")
    if case.bytes(image)[:104] != before[:104]:
        raise Failure(f"{image}: its header has changed")


def what_is_refused(case):
    case.create("plain", size="4M")
    refuse(case, "plain", MIB, "would become smaller")
    refuse(case, "plain", 4 * MIB + 100, "multiple of 512")
    refuse(case, "plain", 1 << 60, "more than there is room for")
    refuse(case, "plain", 8 * MIB, "read-only", "--read-only")
    case.create("tiny", size="4M", options="cluster_size=512")
    refuse(case, "tiny", 2048 * MIB, "cannot be made while it is served")
    case.create("old", size="4M", options="compat=0.10")
    case.tool("qemu-img", "snapshot", "-c", "one", "old")
    refuse(case, "old", 8 * MIB, "is of version 2")
    case.create("bitmaps", size="4M")
    case.tool("qemu-img", "bitmap", "--add", "bitmaps", "one")
    refuse(case, "bitmaps", 8 * MIB, "persistent bitmaps")
    case.create("apart", size="4M", options=f"data_file={case.path('data')},data_file_raw=on")
    refuse(case, "apart", 8 * MIB, "raw external data file")
    case.raw("base", 5 * MIB)
    case.create("short", "base", "raw", "4M", "compat=0.10")
    refuse(case, "short", 8 * MIB, "backing file is longer")


def shrink(case, options=None, below=None, form="qcow2", snapshot=False, v2_below=False):
    """Down, up and down again under writes; the tail is used, discarded, and never shown again."""
    cut = 3 * MIB + 512 * 5
    case.create("top", below, form, "9M", options)
    small = "cluster_size=512" in (options or "")
    case.qemu_io("top", "write -P 1 0 3M", f"write -P 2 {cut - 512} {512 if small else 1024}")
    if snapshot:
        case.qemu_io("top", "write -P 3 8M 64k")
        case.tool("qemu-img", "snapshot", "-c", "before", "top")
    end = -(-cut // (64 * KIB)) * 64 * KIB
    used = [] if v2_below else [f"write {end} 256k 4", f"discard {end} 256k"]
    rest = [f"discard {8 * MIB} {MIB}"] if snapshot else []
    up = [] if v2_below else [f"resize {9 * MIB}", f"read {cut} {9 * MIB - cut} 0",
                              f"write {8 * MIB} 512 5", f"discard {8 * MIB} {MIB}"]
    commands = [*used, *rest, f"aio write 0 {64 * KIB} 6", f"aio write {cut - 4096} 4096 7",
                f"shrink {cut}", "wait", f"read {cut - 4096} 4096 7", *up,
                f"aio write 0 {64 * KIB} 6", f"shrink {cut}", f"write {cut - 512} 512 8", "flush"]
    case.serves("top", *(word for command in commands for word in ("-c", command)))
    check(case, "top", cut)
    raw_of(case, "top", "content")
    content = case.bytes("content")
    if content != bytes([6]) * 64 * KIB + bytes([1]) * (cut - 4096 - 64 * KIB) + \
            bytes([7]) * 3584 + bytes([8]) * 512:
        raise Failure("the disk has other bytes")
    if v2_below:
        return  # nobody can say that the new end is zeros
    # For who makes it larger without us.
    case.tool("qemu-img", "resize", "-q", "-f", "qcow2", "top", "9M")
    raw_of(case, "top", "content")
    if any(case.bytes("content")[cut:]):
        raise Failure("the new end is not zeros")
    case.tool("qemu-img", "check", "-q", "-f", "qcow2", "top")
    if snapshot:
        case.tool("qemu-img", "snapshot", "-a", "before", "top")
        case.qemu_io("top", "read -P 3 8M 64k")


def shrinks(case):
    shrink(case)


def shrinks_in_small_clusters(case):
    shrink(case, "cluster_size=512")


def shrinks_in_version_2(case):
    shrink(case, "compat=0.10,cluster_size=4k")


def shrinks_by_subclusters(case):
    shrink(case, "extended_l2=on")


def shrinks_with_snapshots(case):
    shrink(case, "cluster_size=4k", snapshot=True)


def shrinks_over_a_longer_image(case):
    case.create("base", size="20M")
    case.qemu_io("base", "write -P 99 0 20M")
    shrink(case, None, "base")


def shrinks_in_version_2_over_a_longer_image(case):
    case.create("base", size="20M")
    case.qemu_io("base", "write -P 99 0 20M")
    shrink(case, "compat=0.10", "base", v2_below=True)


def shrinks_with_a_data_file(case):
    shrink(case, f"cluster_size=4k,data_file={case.path('data')}")


def what_is_behind_stays(case):
    """Whatever it is, the first byte of it is named, and the disk is as large as it was."""
    for name, options, line, at in [
            ("data", None, f"write -P 1 {5 * MIB} 512", 5 * MIB),
            ("last", None, f"write -P 1 {8 * MIB - 512} 512", 8 * MIB - 64 * KIB),
            ("packed", None, f"write -c -P 1 {6 * MIB} 64k", 6 * MIB),
            ("small", "cluster_size=512", f"write -P 1 {7 * MIB} 512", 7 * MIB),
            ("bits", "extended_l2=on", f"write -P 1 {5 * MIB + 8192} 2k", 5 * MIB)]:
        case.create(name, size="8M", options=options)
        case.qemu_io(name, line)
        before = case.bytes(name)
        result = case.engine(case.path(name), "-c", f"shrink {4 * MIB}", "-c", f"write {6 * MIB} 512 9",
                             "-c", f"read {6 * MIB} 512 9")
        if f"something is at {at}" not in result.stdout or result.stdout.count("\n") != 1:
            raise Failure(f"{name}: {result.stdout}")
        if case.bytes(name)[:104] != before[:104]:
            raise Failure(f"{name}: its header has changed")
        case.tool("qemu-img", "check", "-q", "-f", "qcow2", name)
    case.create("set_aside", size="8M", options="preallocation=metadata")
    refuse_shrink(case, "set_aside", 4 * MIB, f"something is at {4 * MIB}")
    case.create("apart", size="4M", options=f"data_file={case.path('data')},data_file_raw=on")
    refuse_shrink(case, "apart", MIB, "raw external data file")


def refuse_shrink(case, image, size, words):
    result = case.engine(case.path(image), "-c", f"shrink {size}")
    if result.returncode != 1 or words not in result.stdout:
        raise Failure(f"{image}: status {result.returncode}, no word of '{words}': {result.stdout}")


def full_device_of_tables(case):
    """Growth by little, again and again, is refused at last and not before it is a lot."""
    case.create("top", size="32k", options="cluster_size=512")
    lines = [word for nth in range(2, 60) for word in ("-c", f"resize {nth * 32}k")]
    case.serves("top", *lines)
    check(case, "top", 59 * 32 * KIB)


if __name__ == "__main__":
    cases.main(__doc__, [
        small_clusters, clusters_of_4k, clusters_of_64k, clusters_of_2m, version_2,
        refcounts_of_a_bit, refcounts_of_64_bits, all_mapped, subclusters, snapshots,
        over_a_longer_raw_file, over_a_longer_image, over_a_shorter_image, a_data_file,
        noise_behind_the_end, what_is_refused, full_device_of_tables, shrinks, shrinks_in_small_clusters,
        shrinks_in_version_2, shrinks_by_subclusters, shrinks_with_snapshots, shrinks_over_a_longer_image,
        shrinks_in_version_2_over_a_longer_image, shrinks_with_a_data_file, what_is_behind_stays,
    ])
