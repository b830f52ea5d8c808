#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Read a device again and again; at each line of standard input, the longest read since the last.

usage: stall.py DEVICE

Milliseconds, a line each.  The read that is under way when it is asked counts.
"""

import mmap
import os
import select
import sys
import time

PAGE = 4096


def main():
    device = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECT)
    size = os.lseek(device, 0, os.SEEK_END)
    page = mmap.mmap(-1, PAGE)
    longest = 0.0
    at = 0
    while True:
        begin = time.monotonic()
        if os.preadv(device, [page], at) != PAGE:
            sys.exit(f'short read at {at}')
        longest = max(longest, time.monotonic() - begin)
        at = (at + 61 * PAGE) % (size - size % PAGE)
        if select.select([sys.stdin], [], [], 0.001)[0]:
            if not os.read(0, 1):
                return
            print(f'{longest * 1000:.1f}', flush=True)
            longest = 0.0


main()
