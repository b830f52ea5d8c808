#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Lanes against each other on images of several kinds, each checked by qemu-img afterwards.

stress.py --program PATH [--ops N] [--seed N]
"""
import argparse
import os
import shutil
import subprocess
import sys
import tempfile

SKIP = 77

# Options of qemu-img create, size, options of the program; then those of an image below, if any.
# With one, both are full of compressed clusters of zeros, as far as they go. @ is the folder.
KINDS = [
    ("cluster_size=512", "1M", ["--l2-cache", "2k", "--reserve", "4k"]),
    ("cluster_size=512,refcount_bits=64", "4M", ["--lanes", "2"]),
    ("cluster_size=4k,refcount_bits=1", "4M", ["--l2-cache", "8k", "--lanes", "4"]),
    ("cluster_size=4k,compat=0.10", "16M", ["--depth", "64"]),
    ("cluster_size=64k", "32M", ["--lanes", "4"]),
    ("cluster_size=64k,preallocation=metadata", "32M", ["--reserve", "128k"]),
    ("cluster_size=2M", "64M", ["--lanes", "3"]),
    ("cluster_size=64k", "16M", ["--direct"]),
    ("cluster_size=4k", "8M", ["--lanes", "4", "--l2-cache", "8k"], "cluster_size=64k"),
    ("cluster_size=64k,compression_type=zstd", "8M", ["--lanes", "4"], "cluster_size=4k"),
    ("cluster_size=64k,data_file=@data", "16M", ["--lanes", "4"]),
    ("cluster_size=4k,data_file=@data,data_file_raw=on", "8M", ["--lanes", "4", "--direct"]),
    ("cluster_size=4k,data_file=@data", "8M", ["--lanes", "4", "--l2-cache", "8k"], "compat=1.1"),
]
# An overlay that was written to before it was opened, 16 writers of 32 requests, divided among queues.
WARM_SIZE = "16448k"
WARM_QUEUES = [1, 2, 4, 8]
PIECES = [(0, 1 << 20), (3 << 20, 2 << 20)]


def prepare(folder, image, create, size, below=None):
    """Commands that make an image, and the one below it."""
    create = create.replace("@", f"{folder}/")
    if not below:
        return [["qemu-img", "create", "-q", "-f", "qcow2", "-o", create, image, size]]
    base = os.path.join(folder, "base.qcow2")
    commands = [["qemu-img", "create", "-q", "-f", "qcow2", "-o", below, base, "5M"],
                ["qemu-img", "create", "-q", "-f", "qcow2", "-o", create, "-b", base, "-F",
                 "qcow2", image, size]]
    packed = [(base, PIECES)] + [(image, PIECES[:1])] * ("data_file" not in create)
    for name, pieces in packed:
        for offset, length in pieces:
            commands.append(["qemu-io", "-f", "qcow2", "-c",
                             f"write -q -c -P 0 {offset} {length}", name])
    return commands


def warm_overlay(folder, image):
    """Commands that make an overlay, and what it holds as a raw file."""
    base, content = os.path.join(folder, "base"), os.path.join(folder, "content")
    commands = [["dd", "if=/dev/urandom", f"of={base}", "bs=1k", f"count={WARM_SIZE[:-1]}",
                 "status=none"],
                ["qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=16k", "-b", base,
                 "-F", "raw", image]]
    warm = [argument for i in range(1, 30)
            for argument in ("-c", f"write -q -P {i} {i * 523}k 20k")]
    commands += [["qemu-io", "-f", "qcow2", *warm, image],
                 ["qemu-img", "convert", "-O", "raw", image, content]]
    return commands, content


def tests(options, folder, image):
    """Lists of commands; each has an image of its own."""
    stress = [options.program, image, "--seed", str(options.seed), "--ops", str(options.ops)]
    check = ["qemu-img", "check", "-q", "-f", "qcow2", image]
    for create, size, arguments, *below in KINDS:
        yield prepare(folder, image, create, size, *below) + [
            stress + arguments, check]
    for queues in WARM_QUEUES:
        commands, content = warm_overlay(folder, image)
        yield commands + [
            stress + ["--content", content, "--areas", "16", "--lanes", str(queues),
                      "--depth", str(16 * 32 // queues), "--l2-cache", "8k"], check]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", required=True, help="path of native_stress")
    parser.add_argument("--ops", type=int, default=20000, help="requests for each kind")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if not shutil.which("qemu-img"):
        print("qemu-img is not installed")
        return SKIP
    with tempfile.TemporaryDirectory(prefix="stress-") as folder:
        image = os.path.join(folder, "image.qcow2")
        for commands in tests(options, folder, image):
            for command in commands:
                print(" ".join(command), flush=True)
                status = subprocess.run(command, check=False).returncode
                if status:
                    print(f"ended with {status}")
                    return 1
    return 0


sys.exit(main())
