#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Extended L2: what the bits of an entry are after each step, and what the guest reads.

subclusters.py --qio PATH [--only NAME]
"""
import cases
from cases import CLUSTER, COMPRESSED, COPIED, HOST, Failure

KIB = 1024
SUB = 2 * KIB
ALL = (1 << 32) - 1


def bits(text):
    """`1 4-6` as bits."""
    word = 0
    for part in text.split():
        first, _, last = part.partition("-")
        for bit in range(int(first), int(last or first) + 1):
            word |= 1 << bit
    return word


class Disk:
    """An image of large subclusters, a raw file of what must be in it, and the engine."""

    def __init__(self, case, backed=False, options=""):
        self.case = case
        self.content = bytearray(4 << 20)
        below = ()
        if backed:
            case.raw("base", len(self.content))
            self.content[:] = case.bytes("base")
            below = ("base", "raw")
        case.create("top", *below, size="4M", options="extended_l2=on" + options)
        self.pattern = 0

    def note(self, off, length, pattern):
        self.content[off:off + length] = bytes([pattern]) * length

    def step(self, *words):
        """A command with its offset and length in bytes."""
        op, off, length, *more = words
        if op == "write":
            self.pattern = self.pattern % 255 + 1
            self.note(off, length, self.pattern)
            more = [self.pattern] + more
        elif op == "zero":
            self.note(off, length, 0)
        elif op == "discard":
            first, end = -(-off // CLUSTER) * CLUSTER, (off + length) // CLUSTER * CLUSTER
            self.note(first, max(0, end - first), 0)
        self.case.serves("top", "-c", " ".join(map(str, [op, off, length] + more)))

    def theirs(self, command, off, length, pattern):
        self.note(off, length, pattern)
        self.case.qemu_io("top", f"{command} -P {pattern} {off} {length}")

    def words(self, cluster):
        image = self.case
        table = image.word("top", image.word("top", 40)) & HOST
        at = table + 16 * cluster
        return image.word("top", at), image.word("top", at + 8)

    def are(self, cluster, data, zeros="", where=None):
        """The bits, and that there is a host cluster (@where: or not) which is the entry's alone."""
        entry, bitmap = self.words(cluster)
        data, zeros = bits(data), bits(zeros)
        wanted = zeros << 32 | data
        if bitmap != wanted:
            raise Failure(f"bitmap of cluster {cluster} is {bitmap:#x}, not {wanted:#x}")
        has = bool(entry & HOST)
        if where is not None and has != where:
            raise Failure(f"entry of cluster {cluster} is {entry:#x}")
        if data and not entry & COPIED and where is None:
            raise Failure(f"entry of cluster {cluster} is {entry:#x}: not its own")

    def judge(self):
        with open(self.case.path("whole"), "wb") as file:
            file.write(self.content)
        self.case.tool("qemu-img", "check", "-q", "top")
        self.case.tool("qemu-img", "compare", "-q", "-f", "qcow2", "-F", "raw", "top", "whole")
        self.case.serves("top", "--read-only", "-c", f"compare {self.case.path('whole')}")


def one_cluster(case):
    """Writes, zeros and discards of one cluster."""
    for backed in (False, True):
        disk = Disk(case, backed)
        for off, length, data in [(0, KIB, "0"), (3 * KIB, 512, "0-1"), (5 * KIB, KIB, "0-2"),
                                  (6 * KIB, 2 * KIB, "0-3"), (8 * KIB, 6 * KIB, "0-6"),
                                  (15 * KIB, 4 * KIB, "0-9"), (32 * KIB, KIB, "0-9 16"),
                                  (63 * KIB, 4 * KIB, "0-9 16 31")]:
            disk.step("write", off, length)
            disk.are(0, data)
        disk.are(1, "0-1")
        disk.step("zero", SUB, SUB)
        disk.are(0, "0 2-9 16 31", "1")
        disk.step("zero", 0, CLUSTER, "nounmap")
        disk.are(0, "", "0-31", True)
        disk.step("write", 0, CLUSTER)
        disk.are(0, "0-31")
        disk.step("zero", 0, CLUSTER // 2)
        disk.are(0, "16-31", "0-15")
        disk.step("zero", 0, CLUSTER)
        disk.are(0, "", "0-31", False)
        disk.step("write", 3 * KIB, 512)
        disk.are(0, "1", "0 2-31")
        disk.step("discard", 0, CLUSTER)
        disk.are(0, "", "0-31", False)
        disk.judge()


def packed(case):
    """A write takes a compressed cluster apart; of zeros, too."""
    disk = Disk(case)
    for cluster, op in enumerate(("write", "zero", "zero", "discard")):
        start = cluster * CLUSTER
        disk.theirs("write -c", start, CLUSTER, 7)
        if not disk.words(cluster)[0] & COMPRESSED:
            raise Failure("qemu-io has not compressed it")
        if cluster < 2:
            disk.step(op, start + 3 * KIB, 512)
            disk.are(cluster, "0-31")
        else:
            disk.step(op, start, CLUSTER)
            disk.are(cluster, "", "0-31", False)
    disk.judge()


def across(case):
    """Zeros across clusters; parts of subclusters are bytes where they do not read as zeros."""
    for backed in (False, True):
        disk = Disk(case, backed)
        disk.step("zero", 6 * CLUSTER + 31 * KIB, 2 * CLUSTER)
        if backed:
            disk.are(6, "15", "16-31")
            disk.are(7, "", "0-31", False)
            disk.are(8, "15", "0-14")
        disk.judge()


def shared(case):
    """Clusters that a snapshot has, too: what comes along into a new one."""
    steps = [("write", 30, 1, "13-18", "7"), ("write", 20, 1, "10-18", "7"),
             ("write", 40, 1, "13-20", "7"), ("write", 26, 1, "13-18", "7"),
             ("write", 14, 1, "7-18", ""), ("write", 1, 1, "0-18", ""),
             ("zero", 30, 4, "13 18", "7 15-16"), ("zero", 26, 2, "18", "7 13"),
             ("zero", 26, 1, "13-18", "7"), ("zero", 14, 1, "13 18", "7")]
    # Without something below it, an absent subcluster is zero already, and is not said to be.
    disk = Disk(case, backed=True)
    for cluster in range(len(steps)):
        start = cluster * CLUSTER
        disk.step("write", start + 13 * SUB, SUB)
        disk.step("write", start + 18 * SUB, SUB)
        disk.step("zero", start + 7 * SUB, SUB)
    before = bytes(disk.content)
    case.tool("qemu-img", "snapshot", "-c", "one", "top")
    for cluster, (op, off, length, data, zeros) in enumerate(steps):
        disk.step(op, cluster * CLUSTER + off * KIB, length * KIB)
        # Bits alone leave the cluster shared.
        disk.are(cluster, data, zeros, None if op == "write" or length == 1 and off != 14 else True)
    disk.judge()
    case.tool("qemu-img", "snapshot", "-a", "one", "top")
    disk.content[:] = before
    disk.judge()


def at_once(case):
    """Several writes to one cluster that are under way at the same time."""
    for backed in (False, True):
        disk = Disk(case, backed)
        commands = []
        for i, off in enumerate((30, 20, 40, 21, 63, 1, 9, 50)):
            disk.note(off * KIB, KIB, 100 + i)
            commands += ["-c", f"aio write {off}k 1k {100 + i}"]
        case.serves("top", *commands, "-c", "wait")
        disk.judge()


def set_aside(case):
    """Space that is preallocated is used, whatever lies in it."""
    for options in (",preallocation=metadata", f",data_file={case.path('data')}"):
        for backed in (False, True):
            disk = Disk(case, backed, options)
            if options.startswith(",pre"):
                with open(case.path("top"), "r+b") as file:
                    file.seek((disk.words(2)[0] & HOST))
                    file.write(b"\xee" * CLUSTER)
            disk.step("write", 2 * CLUSTER + 5 * KIB, 512)
            disk.step("zero", 2 * CLUSTER + 8 * KIB, 5 * KIB)
            disk.judge()


CASES = [one_cluster, packed, across, shared, at_once, set_aside]

if __name__ == "__main__":
    cases.main(__doc__.splitlines()[0], CASES)
