#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands of tests/native/qio.c, through a real block device.

device_qio.py IMAGE [OPTION...] [-c COMMAND]...

The daemon ($QCOW2_UBLKD) serves the image, what is asked goes to /dev/ublkbN, past the page cache, and
the daemon is stopped.  So whatever drives qio drives the whole of it: matrix.py --qio device_qio.py.
"""
import argparse
import concurrent.futures
import ctypes
import fcntl
import mmap
import os
import signal
import struct
import subprocess
import sys

BLKDISCARD = 0x1277
KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 1, 2, 16  # of fallocate(2)
MOST = 1 << 20  # bytes of a transfer
AT_A_TIME = 8
L2_CACHE_LEAST = 64 << 10  # that the daemon takes

libc = ctypes.CDLL(None, use_errno=True)


def number(text):
    return int(text[:-1]) << {"k": 10, "M": 20, "G": 30}[text[-1]] if text[-1] in "kMG" else int(text)


class Device:
    """A block device, and commands on it."""

    def __init__(self, path, read_only):
        self.fd = os.open(path, (os.O_RDONLY if read_only else os.O_RDWR) | os.O_DIRECT)
        self.size = os.lseek(self.fd, 0, os.SEEK_END)
        self.failed = []
        self.pool = concurrent.futures.ThreadPoolExecutor(AT_A_TIME)
        self.running = []

    def wait(self):
        for one in self.running:
            one.result()
        self.running = []

    def obey(self, line):
        words = line.split()
        if not words or words[0].startswith("#"):
            return
        if words[0] == "aio":
            self.running.append(self.pool.submit(self.attempt, words[1:]))
            return
        if words != ["wait"]:
            self.attempt(words)
        self.wait()

    def attempt(self, words):
        try:
            getattr(self, "do_" + words[0])(*words[1:])
        except (OSError, AssertionError) as error:
            self.failed.append(f"{' '.join(words)}: {error}")

    def do_write(self, off, length, pattern, *flags):
        off, length = number(off), number(length)
        for at in range(0, length, MOST):
            some = min(MOST, length - at)
            buffer = mmap.mmap(-1, some)
            buffer.write(bytes([int(pattern)]) * some)
            done = os.pwritev(self.fd, [buffer], off + at, os.RWF_DSYNC if "fua" in flags else 0)
            assert done == some, f"only {done} bytes were written"

    def read(self, off, length):
        for at in range(off, off + length, MOST):
            buffer = mmap.mmap(-1, min(MOST, off + length - at))
            done = os.preadv(self.fd, [buffer], at)
            assert done == len(buffer), f"only {done} bytes were read"
            yield at, buffer[:]

    def do_read(self, off, length, pattern=None):
        for at, data in self.read(number(off), number(length)):
            assert pattern is None or data == bytes([int(pattern)]) * len(data), f"differs at {at}"

    def do_zero(self, off, length, *flags):
        mode = KEEP_SIZE | (ZERO_RANGE if "nounmap" in flags else PUNCH_HOLE)
        if libc.fallocate(self.fd, mode, ctypes.c_int64(number(off)), ctypes.c_int64(number(length))):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def do_discard(self, off, length):
        fcntl.ioctl(self.fd, BLKDISCARD, struct.pack("QQ", number(off), number(length)))

    def do_flush(self):
        os.fsync(self.fd)

    def do_compare(self, path, off="0", length=None, file_off=None):
        """A file that ends early stands for zeros."""
        off = number(off)
        length = number(length) if length else self.size
        shift = (number(file_off) if file_off else off) - off
        with open(path, "rb") as file:
            for at, data in self.read(off, length):
                file.seek(at + shift)
                assert file.read(len(data)).ljust(len(data), b"\0") == data, f"differs behind {at}"


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("image")
    parser.add_argument("--lanes", default="2")
    parser.add_argument("--l2-cache", default="")
    parser.add_argument("--reserve", help="the daemon has its own mind about this")
    parser.add_argument("--read-only", action="store_true")
    parser.add_argument("--snapshot")
    parser.add_argument("--key-file")
    parser.add_argument("-c", dest="commands", action="append", default=[])
    return parser.parse_args()


def command_of(options):
    command = [os.environ["QCOW2_UBLKD"], "--image", options.image, "--queues", options.lanes]
    if options.l2_cache:
        command += ["--l2-cache", str(max(number(options.l2_cache), L2_CACHE_LEAST))]
    if options.snapshot:
        command += ["--snapshot", options.snapshot]
    if options.key_file:
        command += ["--key-file", options.key_file]
    return command + (["--read-only"] if options.read_only else [])


def main():
    options = parse()
    daemon = subprocess.Popen(command_of(options), stdout=subprocess.PIPE, text=True)
    path = daemon.stdout.readline().strip()
    if not path:
        return daemon.wait()
    device = Device(path, options.read_only or bool(options.snapshot))
    for line in options.commands or sys.stdin:
        device.obey(line)
    device.wait()
    os.close(device.fd)
    daemon.send_signal(signal.SIGTERM)
    status = daemon.wait()
    for line in device.failed:
        print(line, file=sys.stderr)
    return status or (1 if device.failed else 0)


sys.exit(main())
