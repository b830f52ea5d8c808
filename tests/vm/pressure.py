#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What presses on the memory of a machine, and what notices it; test_memory.sh starts them.

usage: pressure.py hog MIB              use so much again and again, and check what is in it
       pressure.py writer FOLDER        dirty the pages of files, and sync now and then
       pressure.py probe SECONDS DEVICE FOLDER
                                        small reads of DEVICE, small synced writes in FOLDER;
                                        prints for both: the longest in ms, and how many there were
"""

import mmap
import os
import random
import sys
import time

MIB = 1 << 20
PAGE = 4096


def private_memory(size):
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def hog(mib):
    """Who has used all of it once says so; a page that is not what it was ends the process with 2."""
    with open('/proc/self/oom_score_adj', 'w') as file:
        file.write('1000')
    memory = private_memory(mib * MIB)
    turn = 0
    while True:
        for page in range(mib * MIB // PAGE):
            at = page * PAGE
            if memory[at:at + 16] != (b'%16d' % (page * turn) if turn else bytes(16)):
                sys.exit(2)
            memory[at:at + 16] = b'%16d' % (page * (turn + 1))
        turn += 1
        print(turn, flush=True)


def writer(folder):
    block = os.urandom(MIB)
    while True:
        fd = os.open(folder + '/dirty', os.O_WRONLY | os.O_CREAT)
        for _ in range(48):
            os.write(fd, block)
        os.fsync(fd)
        os.close(fd)
        os.unlink(folder + '/dirty')


def probe(seconds, device, folder):
    disk = os.open(device, os.O_RDONLY | os.O_DIRECT)
    size = os.lseek(disk, 0, os.SEEK_END)
    buffer = private_memory(PAGE)
    file = os.open(folder + '/probe', os.O_RDWR | os.O_CREAT)
    longest = [0, 0]
    asked = 0

    def timed(which, run):
        begin = time.monotonic()
        run()
        longest[which] = max(longest[which], time.monotonic() - begin)

    def write():
        os.pwrite(file, buffer, random.randrange(256) * PAGE)
        os.fdatasync(file)

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        timed(0, lambda: os.preadv(disk, [buffer], random.randrange(size // PAGE) * PAGE))
        timed(1, write)
        asked += 1
    print(*(int(one * 1000) for one in longest), asked)


def main():
    what, *rest = sys.argv[1:]
    if what == 'hog':
        hog(int(rest[0]))
    elif what == 'writer':
        writer(rest[0])
    elif what == 'probe':
        probe(float(rest[0]), *rest[1:])


main()
