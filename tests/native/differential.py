#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Our engine and QEMU's take turns on one image; a raw file knows what must be in it.

differential.py --qio PATH [--seed N] [--rounds N] [--seconds N] [--keep]

Each seed makes an image with options by lot, often over a chain of others, with compressed clusters
or with an external data file; what QEMU reads from it fills the raw file. Each round changes it with one of the two
engines. Afterwards qemu-img check must be content, and both must read what the raw file holds.
"""
import argparse
import filecmp
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

SECTOR = 512
SKIP = 77


class Failure(Exception):
    """What a seed found."""


def run(command, stdin=None):
    return subprocess.run(command, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False)


def demand(command, stdin=None):
    result = run(command, stdin)
    if result.returncode:
        raise Failure(f"{' '.join(command)} ended with {result.returncode}:\n{result.stdout}"
                      + (f"\ncommands:\n{stdin}" if stdin else ""))
    return result.stdout


class Trial:
    """One seed: an image, its raw twin, and rounds of changes."""

    def __init__(self, seed, qio, folder):
        self.random = random.Random(seed)
        self.qio = qio
        self.image = os.path.join(folder, "image.qcow2")
        self.raw = os.path.join(folder, "image.raw")
        self.noise_file = os.path.join(folder, "noise")
        self.folder = folder
        self.history = []
        self.snapshots = 0

    def qemu_io(self, image, lines, *options):
        command = ["qemu-io", "-f", "qcow2", *options]
        for line in lines:
            command += ["-c", line]
        self.history.append(f"qemu-io {os.path.basename(image)} " + "; ".join(lines))
        output = demand(command + [image])
        if "failed" in output or "rror" in output:
            raise Failure(f"qemu-io: {output}")

    def noise(self):
        """A file for write -s that deflate makes a little or much smaller."""
        lot = self.random
        length = lot.randint(1, 64) * SECTOR
        dull = lot.randint(0, length)
        with open(self.noise_file, "wb") as file:
            file.write(lot.randbytes(length - dull) + bytes(dull))
        return self.noise_file

    def fill(self, image, size, cluster, packed):
        """Bytes, zeros and compressed clusters, mostly near the start."""
        lot = self.random
        clusters = -(-size // cluster)
        lines = []
        fresh = set(range(min(clusters, 40)))
        for _ in range(lot.randint(0, 12) if packed else 0):
            first = lot.choice(sorted(fresh)) if fresh else clusters
            count = lot.randint(1, 4)
            stretch = set(range(first, first + count))
            if not stretch <= fresh or (first + count) * cluster > size:
                continue
            fresh -= stretch
            what = f"-s {self.noise()}" if lot.random() < 0.6 else f"-P {lot.randint(1, 255)}"
            self.qemu_io(image, [f"write -q -c {what} {first * cluster} {count * cluster}"])
        for _ in range(lot.randint(0, 6)):
            off, length = self.draw_range(size, cluster)
            kind = lot.choice([f"-P {lot.randint(1, 255)}", f"-P {lot.randint(1, 255)}", "-z"])
            lines.append(f"write -q {kind} {off} {length}")
        if lines:
            self.qemu_io(image, lines)

    def draw_layer_size(self):
        """About the size of the image, or much smaller, or larger."""
        lot = self.random
        sectors = self.size // SECTOR
        return SECTOR * lot.choice([sectors, lot.randint(1, sectors), sectors + lot.randint(0, 999),
                                    max(1, sectors - lot.randint(0, 40))])

    def raw_layer(self, name):
        size = self.draw_layer_size() - self.random.choice([0, 0, self.random.randint(0, 511)])
        self.history.append(f"raw {name} of {size} bytes")
        with open(name, "wb") as file:
            file.write(self.random.randbytes(min(size, self.random.randint(1, 3 << 20))))
            file.truncate(size)
        return "raw", size

    def qcow2_layer(self, name, below):
        lot = self.random
        cluster = 512 << lot.randint(0, 12)
        version = lot.choice(["0.10", "1.1", "1.1"])
        size = self.draw_layer_size()
        extended = version == "1.1" and lot.random() < 0.25
        if extended:
            cluster = max(cluster, 16384)
        options = f"cluster_size={cluster},compat={version}" + ",extended_l2=on" * extended
        apart = version == "1.1" and lot.random() < 0.2
        if apart:
            options += f",data_file={name}.data"
        elif version == "1.1" and lot.random() < 0.4:
            options += ",compression_type=zstd"
        self.make(name, options, size, below)
        self.fill(name, size, cluster, not apart and lot.random() < 0.6)
        return "qcow2", size

    def make(self, name, options, size, below):
        command = ["qemu-img", "create", "-q", "-f", "qcow2", "-o", options]
        if below:
            command += ["-b", os.path.basename(below[0]), "-F", below[1]]
        self.history.append(" ".join(command) + f" {name} {size}")
        demand(command + [name, str(size)])

    def chain(self):
        """Files below the image: the name and the format of the first, or None."""
        below = None
        self.backed = 0
        for i in range(self.random.choice([0, 0, 1, 2, 3])):
            name = os.path.join(self.folder, f"below{i}")
            if below is None and self.random.random() < 0.5:
                form, size = self.raw_layer(name)
            else:
                form, size = self.qcow2_layer(name, below)
            below = (name, form)
            self.backed = -(-min(size, self.size) // self.cluster) * self.cluster
        return below

    def create(self):
        lot = self.random
        self.cluster = 512 << lot.choice([0, 3, 7, lot.randint(0, 12), lot.randint(0, 12)])
        self.version = lot.choice([2, 3, 3])
        options = [f"cluster_size={self.cluster}",
                   f"compat={'0.10' if self.version == 2 else '1.1'}"]
        self.refcount_bits = 16
        if self.version == 3:
            self.refcount_bits = 1 << lot.choice([4, 4, 4, 0, 1, 2, 3, 5, 6])
            options.append(f"refcount_bits={self.refcount_bits}")
            if lot.random() < 0.2:
                options.append("lazy_refcounts=on")
            if lot.random() < 0.3:
                options.append("compression_type=zstd")
        # Around a few L2 tables for small clusters, a few clusters for large ones.
        most = min(3 * self.cluster * self.cluster // 8, 24 << 20)
        self.size = SECTOR * lot.randint(1, max(1, max(most, 2 * self.cluster) // SECTOR))
        self.size = min(self.size, 24 << 20)
        below = self.chain()
        preallocation = lot.choice(["off", "off", "off", "metadata", "falloc", "full"])
        self.draw_data_file(options, below)
        if not below:
            options.append(f"preallocation={preallocation}")
        self.make(self.image, ",".join(options), self.size, below)
        self.fill(self.image, self.size, self.cluster,
                  lot.random() < 0.5 and not self.data and (below or preallocation == "off"))
        demand(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", self.image, self.raw])

    def draw_data_file(self, options, below):
        """Where the image's bytes are: in itself, or elsewhere, perhaps for others to read."""
        self.data, self.data_raw = None, False
        if self.version == 2 or self.random.random() < 0.7:
            return
        self.data = os.path.join(self.folder, "data")
        self.data_raw = not below and self.random.random() < 0.5
        options[:] = [option for option in options if "compression" not in option]
        options.append(f"data_file={self.data}")
        if self.data_raw:
            options.append("data_file_raw=on")

    def draw_range(self, size=None, cluster=None):
        """A byte range: within a cluster, or whole clusters, or anything."""
        lot = self.random
        hot = lot.random() < 0.6
        size = size or self.size
        cluster = cluster or self.cluster
        sectors = size // SECTOR
        first = lot.randrange(min(sectors, 64) if hot else sectors)
        kind = lot.randrange(3)
        if kind == 0:
            length = lot.randint(1, 16)
        elif kind == 1:
            per_cluster = cluster // SECTOR
            first -= first % per_cluster
            length = per_cluster * lot.randint(1, 4)
        else:
            length = lot.randint(1, 4096)
        return first * SECTOR, min(length, sectors - first) * SECTOR

    def write_raw(self, off, length, pattern):
        with open(self.raw, "r+b") as raw:
            raw.seek(off)
            raw.write(bytes([pattern]) * length)

    def discard_raw(self, off, length, ours):
        """Whole clusters, and the last one of the disk, become zeros."""
        if self.version == 2 and self.backed:
            # There is no entry that says so; QEMU leaves all as it is, we leave what is backed.
            if not ours or off + length <= self.backed:
                return
            length -= max(0, self.backed - off)
            off = max(off, self.backed)
        first = -(-off // self.cluster) * self.cluster
        end = off + length
        last = end if end == self.size else end // self.cluster * self.cluster
        if first < last:
            self.write_raw(first, last - first, 0)

    def draw_change(self, ours):
        """A command for one of the two, done to the raw file as well."""
        lot = self.random
        off, length = self.draw_range()
        kind = lot.choices(["write", "zero", "discard", "flush"], [10, 4, 3, 1])[0]
        if kind == "flush":
            return "flush"
        if kind == "write":
            pattern = lot.randint(1, 255)
            self.write_raw(off, length, pattern)
            fua = lot.random() < 0.2
            if ours:
                return f"write {off} {length} {pattern}" + (" fua" if fua else "")
            return f"write -q {'-f ' if fua else ''}-P {pattern} {off} {length}"
        if kind == "zero":
            self.write_raw(off, length, 0)
            keep = lot.random() < 0.5
            if ours:
                return f"zero {off} {length}" + (" nounmap" if keep else "")
            return f"write -q -z {'' if keep else '-u '}{off} {length}"
        self.discard_raw(off, length, ours)
        return f"discard {off} {length}" if ours else f"discard -q {off} {length}"

    def engine(self):
        lot = self.random
        command = [self.qio, self.image, "--lanes", str(lot.randint(1, 4))]
        if lot.random() < 0.5:
            command += ["--l2-cache", str(lot.choice([512, 4096, 65536]))]
        if lot.random() < 0.5:
            command += ["--reserve", str(self.cluster * lot.randint(1, 16))]
        return command

    def our_round(self):
        lines = []
        ends = []
        for _ in range(self.random.randint(1, 25)):
            line = self.draw_change(True)
            words = line.split()
            aio = self.random.random() < 0.5
            if len(words) > 2:
                off, length = int(words[1]), int(words[2])
                # What runs at the same time must not race for the same bytes.
                if any(off < e and o < off + length for o, e in ends):
                    lines.append("wait")
                    ends = []
                if aio:
                    ends.append((off, off + length))
            if not aio:
                ends = []
            lines.append(("aio " if aio else "") + line)
            if not aio:
                lines.append("wait")
        self.history.append("qio " + "; ".join(lines))
        demand(self.engine(), "\n".join(lines) + "\n")

    def their_round(self):
        lines = [self.draw_change(False) for _ in range(self.random.randint(1, 15))]
        self.qemu_io(self.image, lines, "-d", "unmap")

    def snapshot(self):
        if self.data or self.refcount_bits == 1 or self.snapshots >= min(2, self.refcount_bits - 1):
            return
        name = f"s{self.snapshots}"
        self.history.append(f"qemu-img snapshot -c {name}")
        result = run(["qemu-img", "snapshot", "-c", name, self.image])
        # Compressed clusters may have used up narrow refcounts already.
        if result.returncode and self.refcount_bits < 8 and "Invalid argument" in result.stdout:
            return
        if result.returncode:
            raise Failure(f"qemu-img snapshot: {result.stdout}")
        shutil.copyfile(self.raw, f"{self.raw}.{name}")
        self.snapshots += 1

    def check(self):
        demand(["qemu-img", "check", "-q", "-f", "qcow2", self.image])
        demand(["qemu-img", "compare", "-q", "-f", "qcow2", "-F", "raw", self.image, self.raw])
        demand(self.engine() + ["--read-only", "-c", f"compare {self.raw}"])
        if self.data_raw:
            self.check_raw_data()
        for i in range(self.snapshots):
            copy = f"{self.image}.s{i}"
            demand(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", "-l", f"s{i}", self.image,
                    copy])
            demand(["qemu-img", "compare", "-q", "-f", "raw", "-F", "raw", copy,
                    f"{self.raw}.s{i}"])

    def check_raw_data(self):
        """QEMU makes the file up to the end of the last cluster."""
        copy = f"{self.data}.copy"
        shutil.copyfile(self.data, copy)
        os.truncate(copy, self.size)
        if not filecmp.cmp(copy, self.raw, shallow=False):
            raise Failure("the raw data file is not the disk")

    def run(self, rounds):
        self.create()
        for _ in range(rounds):
            if self.random.random() < 0.65:
                self.our_round()
            else:
                self.their_round()
            self.check()
            if self.random.random() < 0.15:
                self.snapshot()


def trial(seed, options, folder):
    one = Trial(seed, options.qio, folder)
    try:
        one.run(options.rounds)
    except Failure as failure:
        print(f"seed {seed}: {failure}\n\nhistory:", file=sys.stderr)
        for line in one.history:
            print("  " + line, file=sys.stderr)
        print(f"again: {sys.argv[0]} --qio {options.qio} --rounds {options.rounds} "
              f"--seed {seed} --keep", file=sys.stderr)
        if options.keep:
            print(f"kept: {folder}", file=sys.stderr)
        return False
    return True


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--qio", required=True, help="path of the program qio")
    parser.add_argument("--seed", type=int, help="only this one")
    parser.add_argument("--first", type=int, default=1, help="seed to begin with")
    parser.add_argument("--rounds", type=int, default=6, help="of changes, for each seed")
    parser.add_argument("--seconds", type=float, default=10, help="how long, without --seed")
    parser.add_argument("--keep", action="store_true", help="keep the files of a failure")
    return parser.parse_args()


def main():
    options = parse()
    if not shutil.which("qemu-img") or not shutil.which("qemu-io"):
        print("qemu-img and qemu-io are not installed")
        return SKIP
    until = time.monotonic() + options.seconds
    seed = options.first if options.seed is None else options.seed
    seeds = 0
    while seeds == 0 or (options.seed is None and time.monotonic() < until):
        folder = tempfile.mkdtemp(prefix="differential-")
        good = trial(seed, options, folder)
        if good or not options.keep:
            shutil.rmtree(folder)
        if not good:
            return 1
        seed += 1
        seeds += 1
    print(f"{seeds} seeds of {options.rounds} rounds: the same bytes on all sides")
    return 0


sys.exit(main())
