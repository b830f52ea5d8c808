#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Each allocation fails once: of an open and its I/O, of check, of a repair, and of info.

no_memory.py --qio PATH --program PATH --library PATH

A run in which that happens ends with a status and a sentence, and an image that it was to repair is no
worse than before.
"""
import os
import sys

import cases
from cases import Failure

STRUCK = "no_memory.c: an allocation has failed\n"


def runs(case, library, accepted, *command, before=lambda: None, after=lambda: None):
    """The command with each of its allocations failing."""
    nth = 0
    while True:
        nth += 1
        before()
        os.environ.update(LD_PRELOAD=library, NO_MEMORY=str(nth))
        result = case.run(*command)
        del os.environ["LD_PRELOAD"]
        words = result.stdout.replace(STRUCK, "")
        if words == result.stdout:
            break
        if "tests/native/" in words:
            break  # that of qio itself, which has opened the image by now
        if result.returncode not in accepted:
            raise Failure(f"allocation {nth} of {command}: status {result.returncode}: {words}")
        if result.returncode and "memory" not in words:
            raise Failure(f"allocation {nth} of {command}: no sentence about memory: {words}")
        after()
    if result.returncode > 0:
        raise Failure(f"{command}: status {result.returncode}: {words}")
    if nth == 1:
        raise Failure(f"{command}: nothing has failed")
    print(f"# {nth - 1} allocations of {os.path.basename(command[0])} {' '.join(command[1:])}")


def images(case):
    """One with layers, snapshots and compressed clusters; one with leaks."""
    case.raw("base.raw", 1 << 20)
    case.tool("qemu-img", "convert", "-c", "-O", "qcow2", "base.raw", "packed")
    case.create("top", "packed")
    case.qemu_io("top", "write -P 3 0 256k")
    case.tool("qemu-img", "snapshot", "-c", "before", "top")
    case.qemu_io("top", "write -P 4 0 64k")
    case.create("leaky")
    case.qemu_io("leaky", "write -P 3 0 256k", "write -P 4 1M 256k")
    at, _ = case.entry("leaky", 2)
    case.poke("leaky", at, bytes(8))


def opens(library):
    def serve_and_close(case):
        images(case)
        # Some it can do without.
        runs(case, library, [0, 1], case.qio, "top", "-c", "write 0 128k 5", "-c", "flush")
    return serve_and_close


def commands(library):
    def check_info_and_repair(case):
        images(case)
        case.copy("leaky", "sound")

        def judge():
            output = case.run("qemu-img", "check", "-q", "work").returncode
            if output not in (0, 3):
                raise Failure(f"qemu-img check of what a repair has left: status {output}")

        runs(case, library, [1], case.program, "check", "top")
        runs(case, library, [1], case.program, "info", "top")
        for repair in ("leaks", "all"):
            runs(case, library, [1], case.program, "check", "--repair", repair, "work",
                 before=lambda: case.copy("sound", "work"), after=judge)
    return check_info_and_repair


def main():
    at = sys.argv.index("--library")
    library = os.path.abspath(sys.argv[at + 1])
    del sys.argv[at:at + 2]
    cases.main(__doc__.splitlines()[0], [opens(library), commands(library)])


main()
