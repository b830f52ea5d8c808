# SPDX-License-Identifier: GPL-2.0-or-later
"""An image and its twin, a raw file that says what must be in it, while two engines take turns.

A round changes the image with one of the two engines, by lot, and the raw file the same way; then
qemu-img check must be content, and both must read what the raw file holds.
"""
import filecmp
import os
import random
import shutil

import tools

SECTOR = 512
SKIP = 77


class Failure(Exception):
    """What a round found."""


def run(command, stdin=None):
    return tools.run(command, input=stdin)


def demand(command, stdin=None):
    result = run(command, stdin)
    if result.returncode:
        raise Failure(f"{' '.join(command)} ended with {result.returncode}:\n{result.stdout}"
                      + (f"\ncommands:\n{stdin}" if stdin else ""))
    return result.stdout


class Twin:
    """The image, its twin, and what both engines do to them."""

    def __init__(self, seed, qio, folder):
        self.random = random.Random(seed)
        self.qio = qio
        self.folder = folder
        self.image = self.path("image.qcow2")
        self.raw = self.path("image.raw")
        self.program = None  # qcow2-ublkd, where its checker is a judge as well
        self.history = []
        self.snapshots, self.bitmaps = [], []
        self.made = 0  # snapshots and bitmaps, ever
        # What whoever makes the image says about it.
        self.cluster, self.version, self.size = 65536, 3, 0
        self.refcount_bits = 16
        self.lazy = False
        self.backed = 0  # up to here there may be bytes in a layer below ...
        self.backed_most = 0  # ... or could be, if the disk were larger
        self.data, self.data_raw = None, False  # external data file
        self.secret = None  # passphrase

    def path(self, name):
        return os.path.join(self.folder, name)

    # --- the tools -------------------------------------------------------------------------------

    def source(self, image):
        """Arguments of QEMU's tools that name the image."""
        if image != self.image or not self.secret:
            return ["-f", "qcow2", image]
        return ["--object", f"secret,id=s,data={self.secret}", "--image-opts",
                f"driver=qcow2,encrypt.key-secret=s,file.filename={image}"]

    def qemu_io(self, image, lines, *options):
        words = [word for line in lines for word in ("-c", line)]
        self.history.append(f"qemu-io {os.path.basename(image)} " + "; ".join(lines))
        source = self.source(image)
        output = demand(["qemu-io", *source[:-1], *options, *words, source[-1]])
        if "failed" in output or "rror" in output:
            raise Failure(f"qemu-io: {output}")

    def make_raw(self):
        """What QEMU reads from the image is what must be in it."""
        demand(["qemu-img", "convert", *self.source(self.image)[:-1], "-O", "raw",
                self.source(self.image)[-1], self.raw])

    def engine(self):
        lot = self.random
        command = [self.qio, self.image, "--lanes", str(lot.randint(1, 4))]
        if lot.random() < 0.5:
            command += ["--l2-cache", str(lot.choice([512, 4096, 65536]))]
        if lot.random() < 0.5:
            command += ["--reserve", str(self.cluster * lot.randint(1, 16))]
        return command

    def noise(self):
        """A file for write -s that deflate makes a little or much smaller."""
        lot = self.random
        length = lot.randint(1, 64) * SECTOR
        dull = lot.randint(0, length)
        with open(self.path("noise"), "wb") as file:
            file.write(lot.randbytes(length - dull) + bytes(dull))
        return file.name

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

    # --- changes by lot --------------------------------------------------------------------------

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
        if ours and self.data_raw and self.secret:
            return  # a hole would read as anything, and an entry that says zero is no part of the data
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

    def our_lines(self, most=25):
        """Commands for qio, some at the same time, but never two for the same bytes."""
        lines = []
        ends = []
        for _ in range(self.random.randint(1, most)):
            line = self.draw_change(True)
            words = line.split()
            aio = self.random.random() < 0.5
            if len(words) > 2:
                off, length = int(words[1]), int(words[2])
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
        return lines

    def qio_run(self, lines, *options):
        """The exit status may be anything; what it says is in .stdout."""
        self.history.append(f"qio {' '.join(options)} " + "; ".join(lines))
        return run(self.engine() + list(options), "\n".join(lines) + "\n")

    def our_round(self):
        lines = self.our_lines()
        result = self.qio_run(lines)
        if result.returncode:
            raise Failure(f"qio ended with {result.returncode}:\n{result.stdout}\ncommands:\n"
                          + "\n".join(lines))

    def their_round(self):
        lines = [self.draw_change(False) for _ in range(self.random.randint(1, 15))]
        self.qemu_io(self.image, lines, "-d", "unmap")

    # --- judges ----------------------------------------------------------------------------------

    def check(self):
        """Sound to QEMU, and to both what the raw file holds."""
        demand(["qemu-img", "check", "-q", *self.source(self.image)])
        if self.program:
            demand([self.program, "check", self.image])
        self.compare()
        if self.data_raw:
            self.check_raw_data()
        for name in self.snapshots:
            self.compare_snapshot(name)

    def compare(self):
        demand(["qemu-img", "compare", "-q", *self.against(self.image, self.raw)])
        demand(self.engine() + ["--read-only", "-c", f"compare {self.raw}"])

    def against(self, image, raw):
        """Arguments of qemu-img compare for an image and a raw file."""
        if image != self.image or not self.secret:
            return ["-f", "qcow2", "-F", "raw", image, raw]
        return self.source(image) + [f"driver=raw,file.filename={raw}"]

    def compare_snapshot(self, name):
        raw = f"{self.raw}.{name}"
        copy = f"{self.image}.{name}"
        source = self.source(self.image)
        demand(["qemu-img", "convert", *source[:-1], "-O", "raw", "-l", name, source[-1], copy])
        # QEMU shows no more of a snapshot than today's disk has.
        known = f"{copy}.raw"
        shutil.copyfile(raw, known)
        os.truncate(known, min(os.path.getsize(raw), os.path.getsize(copy)))
        demand(["qemu-img", "compare", "-q", "-f", "raw", "-F", "raw", copy, known])
        demand(self.engine() + ["--snapshot", name, "-c", f"compare {raw}"])

    def check_raw_data(self):
        """QEMU makes the file up to the end of the last cluster."""
        if self.secret:
            return  # it is the encrypted disk
        copy = f"{self.data}.copy"
        shutil.copyfile(self.data, copy)
        os.truncate(copy, self.size)
        if not filecmp.cmp(copy, self.raw, shallow=False):
            raise Failure("the raw data file is not the disk")
