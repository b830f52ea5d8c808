# SPDX-License-Identifier: GPL-2.0-or-later
"""Named cases: a folder of images, the engine and the tools on them, and what they must say."""
import argparse
import ctypes
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile

import tools

SKIP = 77
CLUSTER = 65536
COPIED = 1 << 63
COMPRESSED = 1 << 62
HOST = 0x00fffffffffffe00

IN_ACCESS, IN_OPEN = 1, 32  # of inotify(7)

libc = ctypes.CDLL(None, use_errno=True)

# What a qio that is still alive after this has hung.
ENGINE_TIMEOUT_S = 120


class Failure(Exception):
    """What a case found."""


class Watch:
    """Who opens or reads these files?"""

    def __init__(self, *paths):
        self.fd = libc.inotify_init1(os.O_NONBLOCK)
        for path in paths:
            if libc.inotify_add_watch(self.fd, path.encode(), IN_ACCESS | IN_OPEN) < 0:
                raise Failure(f"inotify: {os.strerror(ctypes.get_errno())}")

    def saw(self):
        try:
            return os.read(self.fd, 4096)
        except BlockingIOError:
            return b""


class Case:
    """A folder of images, and the engine."""

    def __init__(self, qio, folder, program=None, library=None):
        self.qio = qio
        self.folder = folder
        self.program = program
        self.library = library

    def path(self, name):
        return os.path.join(self.folder, name)

    def run(self, *command, cwd=None):
        """As tools.run()."""
        return tools.run(command, cwd=cwd or self.folder, timeout=ENGINE_TIMEOUT_S)

    def tool(self, *command, cwd=None):
        result = self.run(*command, cwd=cwd)
        if result.returncode:
            raise Failure(f"{' '.join(command)}: {result.stdout}")
        return result.stdout

    def qemu_io(self, image, *lines):
        """Commands for qemu-io, all of which must do."""
        words = [word for line in lines for word in ("-c", line)]
        output = self.tool("qemu-io", "-f", "qcow2", *words, image)
        if "failed" in output or "rror" in output:
            raise Failure(f"qemu-io {image} {lines}: {output}")

    def create(self, name, below=None, form="qcow2", size="4M", options=None):
        command = ["qemu-img", "create", "-q", "-f", "qcow2"]
        if below:
            command += ["-u", "-b", below]
            if form:
                command += ["-F", form]
        if options:
            command += ["-o", options]
        self.tool(*command, name, size)

    def copy(self, image, name):
        shutil.copyfile(self.path(image), self.path(name))

    def raw(self, name, length):
        with open(self.path(name), "wb") as file:
            file.write(random.Random(name).randbytes(length))

    # --- the engine ------------------------------------------------------------------------------

    def engine(self, image, *arguments, cwd="/"):
        return self.run(self.qio, image, *arguments, cwd=cwd)

    def serves(self, image, *arguments, cwd="/"):
        result = self.engine(self.path(image) if cwd == "/" else image, *arguments, cwd=cwd)
        if result.returncode:
            raise Failure(f"{image} {' '.join(arguments)}: {result.stdout}")
        return result.stdout

    def refuses(self, image, words, *arguments):
        """It is not opened, and one sentence says why."""
        result = self.engine(self.path(image), *arguments, "-c", "flush")
        if result.returncode != 1 or words not in result.stdout:
            raise Failure(f"{image}: status {result.returncode}, no word of '{words}': "
                          f"{result.stdout}")
        if result.stdout.count("\n") != 1:
            raise Failure(f"{image}: not one line: {result.stdout}")

    # --- bytes -----------------------------------------------------------------------------------

    def bytes(self, image):
        with open(self.path(image), "rb") as file:
            return file.read()

    def poke(self, image, offset, data):
        with open(self.path(image), "r+b") as file:
            file.seek(offset)
            file.write(data)

    def word(self, image, offset):
        """The be64 there; behind the end of the file there are zeros."""
        with open(self.path(image), "rb") as file:
            file.seek(offset)
            return struct.unpack(">Q", file.read(8).ljust(8, b"\0"))[0]

    def entry(self, image, guest_cluster):
        """Host offset and value of an entry of the first L2 table."""
        at = (self.word(image, self.word(image, 40)) & HOST) + 8 * guest_cluster
        return at, self.word(image, at)

    def incompatible(self, image):
        return self.word(image, 72)


def parse(about):
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--qio", required=True, help="path of the program qio")
    parser.add_argument("--program", help="path of qcow2-ublkd")
    parser.add_argument("--library", help="path of a library that a case preloads")
    parser.add_argument("--only", help="cases whose name has this in it")
    parser.add_argument("--keep", action="store_true", help="keep the files of a failure")
    return parser.parse_args()


def run_one(case, options):
    """True when it is as it must be."""
    folder = os.path.realpath(tempfile.mkdtemp(prefix="case-"))
    try:
        case(Case(os.path.abspath(options.qio), folder,
                  options.program and os.path.abspath(options.program),
                  options.library and os.path.abspath(options.library)))
        print(f"ok {case.__name__}", flush=True)
        good = True
    except (Failure, subprocess.TimeoutExpired) as failure:
        print(f"not ok {case.__name__}: {failure}", flush=True)
        good = False
    if options.keep and not good:
        print(f"kept: {folder}")
    else:
        shutil.rmtree(folder)
    return good


def main(about, cases):
    """Run the cases, and exit."""
    options = parse(about)
    if not shutil.which("qemu-img") or not shutil.which("qemu-io"):
        print("qemu-img and qemu-io are not installed")
        sys.exit(SKIP)
    chosen = [case for case in cases if not options.only or options.only in case.__name__]
    if not chosen:
        sys.exit(f"no case has {options.only} in its name")
    sys.exit(0 if all([run_one(case, options) for case in chosen]) else 1)
