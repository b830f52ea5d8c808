#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Cut the power of a disk whose writes dm-log-writes has recorded.

    replay.py LOG DISK SEED CUTS -- COMMAND...

LOG is the log device, DISK a file that is made for the replay. At CUTS places (all flushes and
marks when there are not more), DISK is what the disk could have held then: all writes up to the
last flush, and behind it, at every second place, only some of those that had completed. COMMAND
is run each time, with DISK and the last mark that was reached (or an empty string) as arguments,
and must succeed. It must not change DISK.

Kernel docs: device-mapper, "dm-log-writes"; the format is that of drivers/md/dm-log-writes.c.
"""

import os
import random
import struct
import subprocess
import sys

MAGIC = 0x6A736677736872
SECTOR = 512
FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8


def entries(log):
    """All (sector, sectors, flags, offset of the data in the log, mark)."""
    magic, version, count, sector_bytes = struct.unpack("<QQQI", os.pread(log, 28, 0))
    if magic != MAGIC or version != 1:
        sys.exit(f"not a log: magic {magic:#x}, version {version}")
    at = sector_bytes
    for _ in range(count):
        sector, sectors, flags, length = struct.unpack("<QQQQ", os.pread(log, 32, at))
        mark = os.pread(log, length, at + 32).decode() if flags & MARK else None
        at += sector_bytes
        yield sector, sectors, flags, at, mark
        if not flags & (DISCARD | MARK):
            at += sectors * sector_bytes
    if sector_bytes != SECTOR:
        sys.exit(f"sectors of {sector_bytes} bytes")


class Disk:
    """The replayed disk: what is durable, and the writes since."""

    def __init__(self, log, path):
        self.log = log
        self.file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        self.pending = []

    def apply(self, entry):
        sector, sectors, flags, data, _ = entry
        if not sectors or flags & MARK:
            return
        size = max(os.fstat(self.file).st_size, (sector + sectors) * SECTOR)
        os.truncate(self.file, size)
        if flags & DISCARD:
            for at in range(0, sectors, 2048):
                length = min(2048, sectors - at)
                os.pwrite(self.file, bytes(length * SECTOR), (sector + at) * SECTOR)
        else:
            os.pwrite(self.file, os.pread(self.log, sectors * SECTOR, data), sector * SECTOR)

    def settle(self):
        for entry in self.pending:
            self.apply(entry)
        self.pending = []

    def contents(self, entry):
        """What an entry would overwrite."""
        sector, sectors = entry[:2]
        got = os.pread(self.file, sectors * SECTOR, sector * SECTOR)
        return sector * SECTOR, got.ljust(sectors * SECTOR, b"\0")

    def cut(self, survivors, command, mark):
        """Run the command on the disk with only these of the pending writes."""
        undo = []
        size = os.fstat(self.file).st_size
        for entry in survivors:
            if not entry[2] & MARK:
                undo.append(self.contents(entry))
            self.apply(entry)
        status = subprocess.run(command + [mark], check=False).returncode
        for at, data in reversed(undo):
            os.pwrite(self.file, data, at)
        os.truncate(self.file, size)
        return status


def main():
    split = sys.argv.index("--")
    log_path, disk_path, seed, cuts = sys.argv[1:split]
    command = sys.argv[split + 1 :] + [disk_path]
    rng = random.Random(int(seed))
    log = os.open(log_path, os.O_RDONLY)
    everything = list(entries(log))
    places = [i for i, entry in enumerate(everything) if entry[2] & (FLUSH | FUA | MARK)]
    chosen = set(rng.sample(places, min(int(cuts), len(places))))
    chosen |= {i for i in places if everything[i][2] & MARK}
    disk = Disk(log, disk_path)
    mark, done, partial = "", 0, 0
    for i, entry in enumerate(everything):
        flags = entry[2]
        if i in chosen and disk.pending and done % 2:
            # Before this flush: any of the writes may be missing.
            share = rng.random()
            survivors = [e for e in disk.pending if e[2] & FUA or rng.random() < share]
            status = disk.cut(survivors, command, mark)
            partial += 1
            if status:
                sys.exit(f"before entry {i} with {len(survivors)} of {len(disk.pending)} writes")
        if flags & FLUSH:
            disk.settle()
        disk.pending.append(entry)
        if flags & MARK:
            disk.settle()
            mark = entry[4]
        elif flags & FUA:
            disk.apply(entry)
        if i in chosen:
            survivors = list(disk.pending)
            status = disk.cut(survivors, command, mark)
            done += 1
            if status:
                sys.exit(f"behind entry {i} of {len(everything)}, seed {seed}")
    print(f"# {len(everything)} writes, {done} cuts at flushes and marks, {partial} between")


if __name__ == "__main__":
    main()
