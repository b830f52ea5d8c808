#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Images with options by lot, over chains by lot; our engine and QEMU's take turns on them.

differential.py --qio PATH [--seed N] [--rounds N] [--seconds N] [--keep]

Each seed makes an image with options by lot, often over a chain of others, with compressed clusters
or with an external data file; what QEMU reads from it fills the raw file. Each round changes it with
one of the two engines and is judged (see twin.py); between rounds other things happen to it (see
interludes.py).
"""
import argparse
import os
import shutil
import sys
import tempfile
import time

import interludes
from twin import SECTOR, SKIP, Failure, Twin, demand


SECRET = "not so secret"


class Trial(Twin):
    """One seed: an image by lot."""

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
        if "encrypt" in options:
            command += ["--object", f"secret,id=s,data={SECRET}"]
        if below:
            command += ["-b", os.path.basename(below[0]), "-F", below[1]]
        self.history.append(" ".join(command) + f" {name} {size}")
        demand(command + [name, str(size)])

    def chain(self):
        """Files below the image: the name and the format of the first, or None."""
        below = None
        for i in range(self.random.choice([0, 0, 1, 2, 3])):
            name = os.path.join(self.folder, f"below{i}")
            if below is None and self.random.random() < 0.5:
                form, size = self.raw_layer(name)
            else:
                form, size = self.qcow2_layer(name, below)
            below = (name, form)
            self.backed_most = -(-size // self.cluster) * self.cluster
            self.backed = min(self.backed_most, -(-self.size // self.cluster) * self.cluster)
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
                self.lazy = True
            if lot.random() < 0.3:
                options.append("compression_type=zstd")
        # Around a few L2 tables for small clusters, a few clusters for large ones.
        most = min(3 * self.cluster * self.cluster // 8, 24 << 20)
        if self.version == 3 and self.cluster >= 16384 and lot.random() < 0.4:
            options.append("extended_l2=on")
        self.size = SECTOR * lot.randint(1, max(1, max(most, 2 * self.cluster) // SECTOR))
        self.size = min(self.size, 24 << 20)
        below = self.chain()
        preallocation = lot.choice(["off", "off", "off", "metadata", "falloc", "full"])
        self.draw_data_file(options, below)
        self.draw_encryption(options)
        if not below:
            options.append(f"preallocation={preallocation}")
        self.make(self.image, ",".join(options), self.size, below)
        self.fill(self.image, self.size, self.cluster,
                  lot.random() < 0.5 and not self.data and (below or preallocation == "off"))
        self.make_raw()

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

    def draw_encryption(self, options):
        """QEMU makes no keys for version 2, and needs room for the header."""
        if self.version == 2 or self.random.random() < 0.85:
            return
        self.secret = SECRET
        with open(self.path("key"), "w", encoding="ascii") as file:
            file.write(SECRET)
        options += ["encrypt.format=luks", "encrypt.key-secret=s", "encrypt.iter-time=10"]

    def engine(self):
        return super().engine() + (["--key-file", self.path("key")] if self.secret else [])

    def run(self, rounds):
        self.create()
        for _ in range(rounds):
            if self.random.random() < 0.65:
                self.our_round()
            else:
                self.their_round()
            self.check()
            if self.random.random() < 0.3:
                interludes.by_lot(self)


def trial(seed, options, folder):
    one = Trial(seed, options.qio, folder)
    one.program = options.program
    try:
        one.run(options.rounds)
    except Failure as failure:
        print(f"seed {seed}: {failure}\n\nhistory:", file=sys.stderr)
        for line in one.history:
            print("  " + line, file=sys.stderr)
        judge = f"--program {options.program} " if options.program else ""
        print(f"again: {sys.argv[0]} --qio {options.qio} {judge}--rounds {options.rounds} "
              f"--seed {seed} --keep", file=sys.stderr)
        if options.keep:
            print(f"kept: {folder}", file=sys.stderr)
        return False
    return True


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--qio", required=True, help="path of the program qio")
    parser.add_argument("--program", help="path of qcow2-ublkd, whose checker judges as well")
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


if __name__ == "__main__":
    sys.exit(main())
