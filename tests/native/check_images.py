# SPDX-License-Identifier: GPL-2.0-or-later
"""Images for check_matrix.py, where their metadata lies, and ways to damage it."""
import os
import struct

import tools

CLUSTERS = {"512": "1M", "4k": "4M", "16k": "4M", "64k": "4M", "2M": "32M"}
SECRET = ["--object", "secret,id=s,data=abc"]

COPIED = 1 << 63
COMPRESSED = 1 << 62
OFFSET = 0x00fffffffffffe00


def tool(*command):
    done = tools.run(command)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout}")


class Image:
    """A sound image of some kind, and where its tables are."""

    def __init__(self, name, path, luks=False):
        self.name = name
        self.path = path
        self.luks = luks

    def source(self, path):
        """Arguments of qemu-img that name the image at path."""
        if self.luks:
            return SECRET + ["--image-opts", "driver=qcow2,encrypt.key-secret=s,"
                             f"file.filename={path}"]
        return ["-f", "qcow2", path]

    def copy(self, path, source=None):
        tool("cp", "--sparse=always", source or self.path, path)

    def read(self):
        """Learn the layout, once the image is complete."""
        with open(self.path, "rb") as file:
            self.bytes = file.read()
        head = self.bytes
        self.cluster = 1 << self.u32(20)
        self.version = self.u32(4)
        incompatible = self.u64(72) if self.version == 3 else 0
        self.extended = bool(incompatible & 16)
        self.width = 1 << (self.u32(96) if self.version == 3 else 4)
        self.clusters = -(-len(head) // self.cluster)
        l1_size, l1 = self.u32(36), self.u64(40)
        self.l1 = [l1 + 8 * i for i in range(l1_size)]
        self.reftable = [self.u64(48) + 8 * i for i in range(self.cluster // 8)]
        self.blocks = [self.u64(at) for at in self.reftable if self.u64(at)]
        self.read_snapshots()
        step = 16 if self.extended else 8
        tables = {self.u64(at) & OFFSET for at in self.l1 + self.snapshot_l1}
        self.l2 = [table + at for table in sorted(tables - {0})
                   for at in range(0, self.cluster, step)]
        self.used_l2 = [at for at in self.l2 if self.u64(at)]
        self.read_bitmaps()

    def read_snapshots(self):
        self.snapshots, self.snapshot_l1 = [], []
        at = self.u64(64)
        for _ in range(self.u32(60)):
            self.snapshots.append(at)
            l1, entries = self.u64(at), self.u32(at + 8)
            self.snapshot_l1 += [l1 + 8 * i for i in range(entries)]
            ids, names = struct.unpack(">HH", self.bytes[at + 12:at + 16])
            at += (40 + self.u32(at + 36) + ids + names + 7) // 8 * 8

    def read_bitmaps(self):
        """Addresses of the directory's entries and of the tables' words."""
        self.bitmaps, self.bitmap_tables = [], []
        at = self.u32(100) if self.version == 3 else 72
        while at + 8 <= self.cluster and self.u32(at):
            if self.u32(at) == 0x23852875:
                entry = self.u64(at + 24)
                for _ in range(self.u32(at + 8)):
                    self.bitmaps.append(entry)
                    self.bitmap_tables += [self.u64(entry) + 8 * i
                                           for i in range(self.u32(entry + 8))]
                    names = struct.unpack(">H", self.bytes[entry + 18:entry + 20])[0]
                    entry += (24 + names + 7) // 8 * 8
            at += 8 + (self.u32(at + 4) + 7) // 8 * 8

    def lost_snapshots(self, path):
        """Has somebody taken all snapshots out of this copy of the image?"""
        with open(path, "rb") as file:
            return self.snapshots and not any(file.read(64)[60:])

    def raw(self, at, length):
        return self.bytes[at:at + length].ljust(length, b"\0")

    def u32(self, at):
        return struct.unpack(">I", self.raw(at, 4))[0]

    def u64(self, at):
        return struct.unpack(">Q", self.raw(at, 8))[0]


class Damage:
    """Some bytes of an image's metadata, changed by lot."""

    def __init__(self, image, lot, count):
        self.image = image
        self.lot = lot
        self.writes = []
        self.pokes = []
        kinds = [self.l2, self.l2, self.l1, self.refcount, self.refcount, self.reftable]
        kinds += [self.snapshot] if image.snapshots else []
        kinds += [self.bitmap] if image.bitmaps else []
        kinds += [self.subclusters] if image.extended else []
        kinds += [self.header] if lot.random() < 0.2 else []
        for _ in range(count):
            lot.choice(kinds)()

    def apply(self, path):
        with open(path, "r+b") as file:
            for at, data in self.writes:
                file.seek(at)
                file.write(data)

    def write(self, what, at, data):
        self.writes.append((at, data))
        self.pokes.append(f"{what}: {at:#x} = {data.hex()} (was "
                          f"{self.image.raw(at, len(data)).hex()})")

    def word(self, what, at):
        """Another word in place of that at @at: near it, or of another kind altogether."""
        lot, image = self.lot, self.image
        old = image.u64(at)
        new = lot.choice([
            lambda: old ^ 1 << lot.randrange(64),
            lambda: old ^ COPIED,
            lambda: old ^ 1,
            lambda: 0,
            lambda: old ^ 512,
            lambda: lot.randrange(image.clusters) * image.cluster | lot.choice([0, COPIED]),
            lambda: (image.clusters + lot.randrange(4)) * image.cluster | COPIED,
            lambda: image.u64(lot.choice(image.l2 + image.l1)),
            lambda: old | 1 << lot.choice([1, 5, 56, 61]),
        ])()
        self.write(what, at, struct.pack(">Q", new))

    def l2(self):
        image = self.image
        used = image.used_l2 and self.lot.random() < 0.9
        if image.l2:
            self.word("L2", self.lot.choice(image.used_l2 if used else image.l2))

    def l1(self):
        self.word("L1", self.lot.choice(self.image.l1 + self.image.snapshot_l1))

    def subclusters(self):
        if self.image.l2:
            at = self.lot.choice(self.image.used_l2 or self.image.l2) + 8
            self.write("bitmap of subclusters", at,
                       struct.pack(">Q", self.image.u64(at) ^ 1 << self.lot.randrange(64)))

    def reftable(self):
        entries = self.image.reftable[:len(self.image.blocks) + 1]
        self.word("refcount table", self.lot.choice(entries))

    def refcount(self):
        """A bit or a byte of a refcount of a cluster that the file has."""
        image, lot = self.image, self.lot
        per_block = image.cluster * 8 // image.width
        cluster = lot.randrange(image.clusters)
        block = image.u64(image.reftable[cluster // per_block])
        at = block + cluster % per_block * image.width // 8
        if image.width > 8 and lot.random() < 0.8:
            at += image.width // 8 - 1
        old = image.raw(at, 1)[0]
        new = lot.choice([0, old ^ 1 << lot.randrange(8), old + 1 & 255])
        self.write("refcount", at, bytes([new]))

    def snapshot(self):
        at = self.lot.choice(self.image.snapshots)
        field, length = self.lot.choice([(0, 8), (0, 8), (8, 4), (12, 4), (36, 4)])
        data = bytearray(self.image.raw(at + field, length))
        data[self.lot.randrange(length)] ^= 1 << self.lot.randrange(8)
        self.write("snapshot", at + field, bytes(data))

    def bitmap(self):
        if self.lot.random() < 0.5:
            return self.word("bitmap table", self.lot.choice(self.image.bitmap_tables))
        at = self.lot.choice(self.image.bitmaps) + self.lot.randrange(24)
        return self.write("bitmap directory", at,
                          bytes([self.image.raw(at, 1)[0] ^ 1 << self.lot.randrange(8)]))

    def header(self):
        lot, image = self.lot, self.image
        at, data = lot.choice([
            (48, bytes(8)),
            (56, bytes(4)),
            (48, struct.pack(">Q", lot.randrange(2 * image.clusters) * image.cluster)),
            (64, struct.pack(">Q", lot.randrange(2 * image.clusters) * image.cluster)),
            (40, struct.pack(">Q", lot.randrange(2 * image.clusters) * image.cluster)),
        ])
        self.write("header", at, data)


    def has(self, *kinds):
        return any(poke.startswith(kinds) for poke in self.pokes)

    def points_to(self, table):
        """Does an entry of an L1 table name this one?"""
        return any(poke.startswith("L1") and struct.unpack(">Q", data)[0] & OFFSET == table
                   for poke, (_, data) in zip(self.pokes, self.writes))

    def excused(self, ours, qemu):
        """A difference in verdict that is meant; see README.md."""
        # QEMU cannot read an L1 table beyond all offsets; we say that it is damaged.
        return self.has("snapshot") and (ours.returncode, qemu.returncode) == (2, 1) and (
            "L1 table is too large" in ours.stderr)

    def made_longer(self, qemu):
        """Has QEMU had a reason to let the file grow over what was in use behind its end?"""
        # It stores the bitmaps anew, or makes room for a refcount block that lay there.
        return bool(self.image.bitmaps) or "is outside image" in qemu.stderr

    def ended_by_chance(self, qemu):
        """Has QEMU given up, and then still changed refcounts, of clusters that it took for the bitmaps?"""
        return qemu.returncode == 1 and "Lost persistent bitmaps" in qemu.stderr

    def beyond_repair(self, ours):
        """Damage that QEMU's repair covers up, and ours leaves for somebody to look at."""
        # Bitmaps and snapshots that have lost their place get a new one with other content.
        if self.has("bitmap directory", "bitmap table", "snapshot"):
            return True
        # The active L1 table is taken for an L2 table, too: QEMU writes its flags anew, we leave both alone.
        l1 = self.image.l1[0] // self.image.cluster * self.image.cluster
        if self.points_to(l1) and "COPIED is set, but" in ours.stderr:
            return True
        # Data that is taken for an L2 table: QEMU zeroes its "entries", and with them the data.
        return self.has("L1", "header") and "L2 entry" in ours.stderr


class Fixed(Damage):
    """Given bytes at given places."""

    def __init__(self, image, pokes):
        self.image = image
        kind = "catalogue"
        if pokes == "incomplete":
            pokes = [(image.snapshots[0] + 36, "00000000")]
        elif pokes == "stray":
            kind, pokes = "L1", [(image.snapshot_l1[0], f"{self.like_table():016x}")]
        elif pokes == "active":
            kind, pokes = "L1", [(image.snapshot_l1[0], f"{image.l1[0]:016x}")]
        self.writes = [(at, bytes.fromhex(data)) for at, data in pokes]
        self.pokes = [f"{kind}: {at:#x} = {data}" for at, data in pokes]

    def like_table(self):
        """A cluster of data that looks like an L2 table full of zero clusters out of place."""
        for at in self.image.used_l2:
            host = self.image.u64(at) & OFFSET
            word = self.image.u64(host)
            if word & 1 and word & 0xe00 and not word & COMPRESSED:
                return host
        raise RuntimeError("no such cluster")


# --- kinds --------------------------------------------------------------------------------------

def fill(image, size, compress, zeros):
    """Patterns over the first and the last bytes of the disk, with gaps."""
    cluster = image.cluster_text
    step = max(int(tool_size(cluster)), 4096)
    most = tool_size(size) // step
    lines = []
    for i in range(min(most, 24)):
        at = i * step
        if i % 5 == 4:
            continue
        lines.append(f"write -q -P {i % 250 + 1} {at} {step if i % 3 else min(step, 4096)}")
    lines.append(f"write -q -P 77 {(most - 1) * step} {step}")
    if zeros:
        lines += [f"write -q -z {step} {step}", f"write -q -z -u {2 * step} {step}"]
    if compress:
        lines += [f"write -q -c -P {i} {(30 + i) * step} {step}" for i in range(1, 6)
                  if 31 + i < most]
    return lines


def tool_size(text):
    factor = {"k": 1 << 10, "M": 1 << 20}.get(text[-1])
    return int(text[:-1]) * factor if factor else int(text)


def kinds():
    """Name -> (cluster size, options, what is done to it)."""
    for cluster in CLUSTERS:
        yield f"v3-{cluster}", cluster, [], "z"
    yield "default", "64k", [], "z"
    yield "v2-64k", "64k", ["compat=0.10"], ""
    yield "v2-512", "512", ["compat=0.10"], "s"
    for bits in (1, 2, 4, 8, 32, 64):
        yield f"bits{bits}", "4k", [f"refcount_bits={bits}"], "z" if bits == 1 else "zs"
        yield f"bits{bits}-512", "512", [f"refcount_bits={bits}"], "c" if bits > 2 else ""
    yield "lazy", "64k", ["lazy_refcounts=on"], "z"
    for cluster in ("16k", "64k", "2M"):
        yield f"extended-{cluster}", cluster, ["extended_l2=on"], "zs" + "c" * (cluster == "64k")
    for preallocation in ("metadata", "falloc", "full"):
        yield f"prealloc-{preallocation}", "4k", [f"preallocation={preallocation}"], "z"
    yield "zlib", "64k", [], "cs"
    yield "zlib-512", "512", [], "cs"
    yield "zstd", "4k", ["compression_type=zstd"], "c"
    yield "snapshots", "4k", [], "ssz"
    yield "bitmaps", "64k", [], "b"
    yield "bitmaps-4k", "4k", [], "bsz"
    yield "data-file", "64k", ["data_file={data}"], "z"
    yield "data-file-raw", "4k", ["data_file={data}", "data_file_raw=on"], ""
    yield "backing", "4k", [], "Bz"
    yield "luks", "64k", ["encrypt.format=luks", "encrypt.key-secret=s",
                          "encrypt.hash-alg=sha512", "encrypt.iter-time=100"], ""


def make(folder, name, cluster, options, steps):
    image = Image(name, os.path.join(folder, f"{name}.qcow2"), luks=name == "luks")
    image.cluster_text = cluster
    size = CLUSTERS[cluster]
    options = [f"cluster_size={cluster}"] + [option.format(data=image.path + ".data")
                                             for option in options]
    backing = []
    if "B" in steps:
        base = image.path + ".base"
        tool("qemu-img", "create", "-q", "-f", "raw", base, size)
        tool("qemu-io", "-f", "raw", "-c", f"write -q -P 99 0 {size}", base)
        backing = ["-b", base, "-F", "raw"]
    secret = SECRET if image.luks else []
    tool("qemu-img", "create", "-q", *secret, "-f", "qcow2", "-o", ",".join(options), *backing,
         image.path, size)
    source = image.source(image.path)
    lines = fill(image, size, "c" in steps, "z" in steps)
    change(source, lines)
    for i in range(steps.count("s")):
        tool("qemu-img", "snapshot", "-c", f"snap{i}", image.path)
        change(source, [f"write -q -P {200 + i} {i * tool_size(cluster)} {cluster}"])
    for i in range(2 if "b" in steps else 0):
        tool("qemu-img", "bitmap", "--add", "-g", "4k", image.path, f"bitmap{i}")
        change(source, [f"write -q -P {210 + i} 0 {tool_size(size) // 2}"])
    image.read()
    return image


def change(source, lines):
    tool("qemu-io", *source[:-1], *[word for line in lines for word in ("-c", line)], source[-1])


def make_all(folder, only):
    images = {}
    for name, cluster, options, steps in kinds():
        if only and only not in name:
            continue
        # QEMU measures how fast it makes keys, and at times fails to.
        for attempt in range(10):
            try:
                images[name] = make(folder, name, cluster, options, steps)
                break
            except RuntimeError as error:
                if "CPU usage" not in str(error) or attempt == 9:
                    raise
    return images


# --- the catalogue: name, "IMAGE: ..." for another than the default, and what is written where ------

CATALOGUE = [
    ("L2 table in place of the L1 table", [(0x30000, "8000000000030000")]),
    ("data in place of the refcount block", [(0x40000, "8000000000020000")]),
    ("data in place of the L2 table", [(0x40000, "8000000000040000")]),
    ("data in place of the refcount table", [(0x40000, "8000000000010000")]),
    ("data in place of the header", [(0x40000, "8000000000000000")]),
    ("refcount of the header 0", [(0x20000, "0000")]),
    ("refcount of the refcount table 0", [(0x20002, "0000")]),
    ("refcount of the L1 table 0", [(0x20006, "0000")]),
    ("refcount of an L2 table 0", [(0x20008, "0000")]),
    ("refcount of data 0", [(0x2000a, "0000")]),
    ("refcounts of the first clusters 0", [(0x20000, "0000000000000000")]),
    ("L2 table misaligned", [(0x30000, "8000000000042a00")]),
    ("data misaligned", [(0x40000, "8000000000052a00")]),
    ("zero cluster misaligned", [(0x40000, "8000000000052a01")]),
    ("zero cluster within the header", [(0x40000, "8000000000002a01")]),
    ("refcount block misaligned", [(0x10000, "0000000000022a00")]),
    ("refcount block in the header", [(0x10000, "0000000000002a00")]),
    ("no refcount block", [(0x10000, "0000000000000000")]),
    ("no refcount table: no clusters", [(56, "00000000")]),
    ("no refcount table: offset 0", [(48, "0000000000000000")]),
    ("no refcount table at all", [(48, "0000000000000000"), (56, "00000000")]),
    ("refcount block far behind the end, dirty", [(0x10000, "00000000ffff2a00"),
                                                  (72, "0000000000000001")]),
    ("second refcount block behind the end", [(0x10008, "00ffffff00000000")]),
    ("second refcount block just behind the end", [(0x10008, "0000000010000000")]),
    ("second refcount block at the end of offsets", [(0x10008, "7fffffffffff0000")]),
    ("second refcount block beyond offsets", [(0x10008, "ffffffffffff0000")]),
    ("second refcount block over data", [(0x10008, "0000000000050000")]),
    ("L1 table behind the end, refcount table in the header", [(40, "00000000001f0000"),
                                                               (48, "0000000000000000")]),
    ("data 32 PiB behind the end", [(0x40000, "0080000000000000")]),
    ("data at the end of offsets", [(0x40000, "80fffffffffe0000")]),
    ("COPIED missing in L1", [(0x30000, "0000000000040000")]),
    ("COPIED missing in L2", [(0x40000, "0000000000050000")]),
    ("header referred to twice, COPIED missing", [(0x20000, "0002"),
                                                  (0x30000, "0000000000040000")]),
    ("reserved bits in L1", [(0x30000, "8100000000040001")]),
    ("reserved bits in L2", [(0x40000, "8100000000050002")]),
    ("dirty", [(72, "0000000000000001")]),
    ("corrupt", [(72, "0000000000000002")]),
    ("leak", [(0x2002a, "0001")]),
    ("unknown autoclear bit", [(88, "8000000000000000")]),
    ("snapshot table behind the end", [(64, "0000000001000000"), (60, "00000001")]),
    ("65537 snapshots", [(60, "00010001")]),
    ("snapshot table misaligned", [(64, "0000000000000200")]),
    ("extended-64k: both bits of a subcluster", [(0x40008, "ffffffffffffffff")]),
    ("extended-64k: data without a cluster", [(0x40040, "00000000000000000000000000000001")]),
    ("extended-64k: misaligned with data", [(0x40006, "02")]),
    ("v2-64k: COPIED missing", [(0x40000, "0000000000050000")]),
    ("snapshots: entry incomplete", "incomplete"),
    ("snapshots: data in place of an L2 table", "stray"),
    ("snapshots: the active L1 table in place of an L2 table", "active"),
    ("bitmaps: refcount of the header 0", [(0x20000, "0000")]),
    ("bitmaps-4k: reserved bits in the L1 table of a snapshot", [(0x7000, "8000000000004020")]),
]
