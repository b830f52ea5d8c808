#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Every kind of image that a user can have: ours writes, QEMU writes, and both read the same.

matrix.py --qio PATH [--program PATH] [--only NAME] [--rows NAME,NAME] [--every N] [--rounds N] [--seed N] [--seconds N] [--jobs N]

The rows are in matrix_rows.py.  For each, an image is made by QEMU's tools; then our engine and QEMU's
take turns, and are judged (see twin.py).  With --seconds it begins again, with other seeds, until the
time is up; without, each row is done once.
"""
import argparse
import concurrent.futures
import os
import re
import shutil
import sys
import tempfile
import time

import interludes
import matrix_rows
from twin import SECTOR, SKIP, Failure, Twin, demand

SECRET = "not so secret"
WINDOW = 1 << 20


class Image(Twin):
    """The image of a row."""

    def __init__(self, row, seed, qio, folder):
        super().__init__(f"{row.name}/{seed}", qio, folder)
        self.row = row
        self.secret = SECRET if "encrypt" in row.options else None
        self.key_file = None
        if "luks" in row.options:
            self.key_file = self.path("key")
            with open(self.key_file, "w", encoding="ascii") as file:
                file.write(SECRET)

    # --- making it -------------------------------------------------------------------------------

    def tool(self, *words):
        self.history.append(" ".join(words))
        return demand(list(words))

    def create(self, name, options, size, below):
        command = ["qemu-img", "create", "-q", "-f", "qcow2"]
        if "encrypt" in options:
            command += ["--object", f"secret,id=s,data={SECRET}"]
        options = re.sub("@(\\w+)", lambda match: self.path(match[1]), options)
        if options:
            command += ["-o", options]
        if below:
            command += ["-b", os.path.basename(below[0]), "-F", below[1]]
        self.tool(*command, name, size)

    def layer(self, name, layer, below):
        form, options, size, *packed = layer
        if form == "raw":
            with open(name, "wb") as file:
                file.write(self.random.randbytes(self.random.randint(1, 3 << 20)))
                file.truncate(bytes_of(size))
            return
        self.create(name, options, size, below)
        cluster = header(name)["cluster"]
        self.fill(name, bytes_of(size), cluster, bool(packed))

    def make(self):
        below = None
        for i, layer in enumerate(self.row.below):
            name = self.path(f"below{i}")
            self.layer(name, layer, below)
            below = (name, layer[0])
        self.create(self.image, self.row.options, self.row.size, below)
        facts = header(self.image)
        self.cluster, self.size = facts["cluster"], facts["size"]
        if below:
            self.backed_most = -(-bytes_of(self.row.below[-1][2]) // self.cluster) * self.cluster
        self.learn()
        self.make_raw()
        for step in self.row.steps:
            self.step(step)

    def learn(self):
        """What the header says, and what follows from it."""
        facts = header(self.image)
        self.version, self.refcount_bits, self.lazy = (facts["version"], facts["refcount_bits"],
                                                       facts["lazy"])
        self.size = facts["size"]
        self.backed = min(self.backed_most, -(-self.size // self.cluster) * self.cluster)
        self.data = self.path("data") if "data_file" in self.row.options else None
        self.data_raw = "data_file_raw" in self.row.options

    # --- steps -----------------------------------------------------------------------------------

    def step(self, step):
        word, _, rest = step.partition(" ")
        {"fill": self.fill_step, "pack": self.fill_step, "convert": self.convert_step,
         "resize": self.resize_step, "amend": self.amend_step, "snapshot": self.snapshot_step,
         "apply": lambda _: interludes.snapshot_apply(self),
         "delete": lambda _: interludes.snapshot_delete(self),
         "bitmap": self.bitmap_step, "refused": self.refused_step,
         "dirty": lambda _: interludes.their_kill(self), "corrupt": self.corrupt_step,
         "kill": lambda _: interludes.our_kill(self),
         "our": lambda _: self.our_round(), "their": lambda _: self.their_round()}[word](
             rest if word != "pack" else "packed")

    def fill_step(self, packed):
        self.fill(self.image, self.size, self.cluster, bool(packed))
        self.make_raw()

    def convert_step(self, _):
        """All of it compressed, from a raw file of bytes that compress well, badly, or not at all."""
        lot = self.random
        with open(self.raw, "r+b") as raw:
            for at in range(0, self.size, 1 << 16):
                kind = lot.randrange(4)
                raw.seek(at)
                length = min(1 << 16, self.size - at)
                dull = lot.randint(0, length)
                raw.write({0: b"", 1: bytes([lot.randrange(256)]) * length,
                           2: lot.randbytes(length)}.get(
                               kind, lot.randbytes(length - dull) + bytes(dull)))
        self.tool("qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", "-o", self.row.options,
                  self.raw, self.image)

    def resize_step(self, rest):
        size, *options = rest.split()
        self.tool("qemu-img", "resize", "-q", "--shrink", *options, "-f", "qcow2", self.image, size)
        interludes.set_size(self, bytes_of(size))

    def amend_step(self, options):
        self.tool("qemu-img", "amend", "-q", "-f", "qcow2", "-o", options, self.image)
        self.learn()

    def snapshot_step(self, _):
        if len(self.snapshots) < (1 if self.refcount_bits < 4 else 4):
            interludes.snapshot_create(self)

    def bitmap_step(self, words):
        self.tool("qemu-img", "bitmap", *words.replace("@", self.image).split())

    def refused_step(self, below):
        """With a sentence, and untouched."""
        if below:
            name, form = below.rsplit(" ", 1)
            self.tool("qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", name, "-F", form,
                      self.image, "8M")
        before = read(self.image)
        result = self.qio_run(["flush"])
        if result.returncode != 1 or result.stdout.count("\n") != 1 or read(self.image) != before:
            raise Failure(f"not refused as it should be: {result.stdout}")
        self.made = None

    def corrupt_step(self, _):
        """Nobody writes to it before it is repaired; readers may."""
        with open(self.image, "r+b") as file:
            file.seek(79)
            file.write(b"\2")
        self.history.append("corrupt mark")
        if "marked corrupt" not in self.qio_run(["flush"]).stdout:
            raise Failure("an image that is marked corrupt can be written to")
        self.compare()
        demand([self.program or "qemu-img", "check"]
               + (["--repair", "all"] if self.program else ["-r", "all"]) + [self.image])

    # --- rounds ----------------------------------------------------------------------------------

    def engine(self):
        return super().engine() + (["--key-file", self.key_file] if self.key_file else [])

    def rounds(self, count):
        """Pairs of rounds."""
        if self.made is None:
            return
        if self.size == 0:
            self.qio_run(["flush"])
            return self.check()
        for _ in range(count):
            self.our_round()
            self.check()
            self.their_round()
            self.check()
            for step in self.row.between:
                self.step(step)
                self.check()


class Windows(Image):
    """A disk that is too large to be read: only some stretches of it are ever written to.

    They lie one behind the other in the raw file.
    """

    def make_raw(self):
        with open(self.raw, "wb") as file:
            file.truncate(WINDOW * len(self.row.windows))

    def draw_range(self, size=None, cluster=None):
        window = self.random.choice(self.row.windows)
        off = self.random.randrange(WINDOW // SECTOR) * SECTOR
        return window + off, SECTOR * self.random.randint(1, min(256, (WINDOW - off) // SECTOR))

    def write_raw(self, off, length, pattern):
        window = max(window for window in self.row.windows if window <= off)
        at = self.row.windows.index(window) * WINDOW + off - window
        super().write_raw(at, length, pattern)

    def compare(self):
        for i, window in enumerate(self.row.windows):
            stretch = f"driver=raw,size={WINDOW},offset="
            demand(["qemu-img", "compare", "-q", "--image-opts",
                    f"{stretch}{window},file.driver=qcow2,file.file.driver=file,"
                    f"file.file.filename={self.image}",
                    f"{stretch}{WINDOW * i},file.driver=file,file.filename={self.raw}"])
            demand(self.engine() + ["--read-only", "-c",
                                    f"compare {self.raw} {window} {WINDOW} {WINDOW * i}"])


def read(name):
    with open(name, "rb") as file:
        return file.read()


def bytes_of(text):
    factors = {"k": 10, "M": 20, "G": 30, "T": 40, "P": 50, "E": 60}
    return int(text[:-1]) << factors[text[-1]] if text[-1] in factors else int(text)


def header(name):
    with open(name, "rb") as file:
        head = file.read(104)
    version = head[7]
    return {"version": version, "cluster": 1 << head[23],
            "size": int.from_bytes(head[24:32], "big"),
            "refcount_bits": 1 << head[99] if version == 3 else 16,
            "lazy": version == 3 and bool(head[87] & 1)}


# --- rows ----------------------------------------------------------------------------------------

def do_row(row, seed, options):
    """None, or what is wrong."""
    folder = tempfile.mkdtemp(prefix="matrix-")
    image = (Windows if row.windows else Image)(row, seed, options.qio, folder)
    image.program = None if "data_file" in row.options or image.secret else options.program
    try:
        image.make()
        image.rounds(options.rounds)
    except Failure as failure:
        text = "\n".join([f"{failure}", "history:"] + ["  " + line for line in image.history])
        return Failure(text + (f"\nkept: {folder}" if options.keep else ""))
    finally:
        if not options.keep:
            shutil.rmtree(folder)
    return None


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--qio", required=True, help="path of the program qio")
    parser.add_argument("--program", help="path of qcow2-ublkd, whose checker judges as well")
    parser.add_argument("--only", default="", help="rows whose name has this in it")
    parser.add_argument("--rows", help="these rows, by their whole names")
    parser.add_argument("--every", type=int, default=1, help="the first of so many rows")
    parser.add_argument("--rounds", type=int, default=1, help="pairs of rounds for each row")
    parser.add_argument("--seed", type=int, default=1, help="to begin with")
    parser.add_argument("--seconds", type=float, default=0, help="begin again until then")
    parser.add_argument("--jobs", type=int, default=2, help="rows at the same time")
    parser.add_argument("--keep", action="store_true", help="keep the files of a failure")
    return parser.parse_args()


def once(rows, seed, options):
    """Every row; how many failed."""
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        verdicts = pool.map(lambda row: do_row(row, seed, options), rows)
        for row, verdict in zip(rows, verdicts):
            if verdict:
                failed += 1
                print(f"not ok {row.name}, seed {seed}: {verdict}", flush=True)
    return failed


def main():
    options = parse()
    if not shutil.which("qemu-img") or not shutil.which("qemu-io"):
        print("qemu-img and qemu-io are not installed")
        return SKIP
    rows = [row for row in matrix_rows.rows() if options.only in row.name][::options.every]
    if options.rows:
        rows = [row for row in matrix_rows.rows() if row.name in options.rows.split(",")]
        if len(rows) != options.rows.count(",") + 1:
            print("there is no row of one of these names")
            return 1
    until = time.monotonic() + options.seconds
    seed, failed = options.seed, 0
    while seed == options.seed or (time.monotonic() < until and not failed):
        failed = once(rows, seed, options)
        seed += 1
    print(f"{len(rows)} rows, seeds {options.seed}..{seed - 1}; {failed} failed")
    return 1 if failed or not rows else 0


sys.exit(main())
