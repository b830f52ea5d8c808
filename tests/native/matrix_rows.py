# SPDX-License-Identifier: GPL-2.0-or-later
"""Every kind of image that a user can have: the rows of matrix.py."""
from typing import NamedTuple


class Row(NamedTuple):
    """How an image comes to be; see Image in matrix.py for the steps."""
    name: str
    options: str = ""  # of qemu-img create
    size: str = "8M"
    below: tuple = ()  # layers, the lowest first: (format, options, size)
    steps: tuple = ("fill",)  # once it is made, before the first round
    between: tuple = ()  # after the first round, and again after the second, and so on
    windows: tuple = ()  # of a disk that is too large to be compared: where, in bytes


RAW = ("raw", "", "8M")
QCOW2 = ("qcow2", "", "8M")
EXTENDED = "extended_l2=on"
LUKS = "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10"
P, T, G, M = 1 << 50, 1 << 40, 1 << 30, 1 << 20


def plain():
    """One option at a time."""
    for size in ("512", "1k", "2k", "4k", "8k", "16k", "32k", "64k", "128k", "256k", "512k", "1M",
                 "2M"):
        yield Row(f"cluster-{size}", f"cluster_size={size}")
    for bits in (1, 2, 4, 8, 16, 32, 64):
        yield Row(f"refcount-{bits}", f"refcount_bits={bits}")
        yield Row(f"refcount-{bits}-512", f"refcount_bits={bits},cluster_size=512", "2M")
    yield Row("v2", "compat=0.10")
    yield Row("v3", "compat=1.1")
    for kind in ("off", "metadata", "falloc", "full"):
        yield Row(f"preallocation-{kind}", f"preallocation={kind}", steps=())
        yield Row(f"preallocation-{kind}-written", f"preallocation={kind},cluster_size=4k")
    yield Row("lazy", "lazy_refcounts=on")
    for kind in ("zlib", "zstd"):
        yield Row(f"packed-{kind}", f"compression_type={kind}", steps=("pack",))
        yield Row(f"packed-{kind}-512", f"compression_type={kind},cluster_size=512", "1M",
                  steps=("pack",))
        yield Row(f"packed-{kind}-2M", f"compression_type={kind},cluster_size=2M", "9M",
                  steps=("pack",))
        yield Row(f"convert-{kind}", f"compression_type={kind}", steps=("convert",))
        yield Row(f"convert-{kind}-4k", f"compression_type={kind},cluster_size=4k",
                  str(4 * M + 1536), steps=("convert",))


def chains():
    """Layers of other formats, versions and sizes; and what is no file."""
    yield Row("over-raw", below=(RAW,))
    yield Row("over-qcow2", below=(QCOW2,))
    yield Row("over-v2", below=(("qcow2", "compat=0.10", "8M"),))
    yield Row("v2-over-qcow2", "compat=0.10", below=(QCOW2,))
    yield Row("over-4k", below=(("qcow2", "cluster_size=4k", "8M"),))
    yield Row("4k-over-2M", "cluster_size=4k", below=(("qcow2", "cluster_size=2M", "8M"),))
    yield Row("over-short", below=(("raw", "", "6M"),))
    yield Row("over-1000-bytes", below=(("raw", "", "1000"),))
    yield Row("over-odd", "cluster_size=64k", below=(("raw", "", str(5 * M + 777)),))
    yield Row("over-long-grown", size="6M", below=(RAW,), steps=("fill", "resize 9M"))
    yield Row("over-long-v2", "compat=0.10", size="6M", below=(RAW,))
    yield Row("over-long-short", below=(RAW, ("qcow2", "", "3M")))
    yield Row("over-packed", below=(RAW, ("qcow2", "compression_type=zstd", "8M", "pack")))
    yield Row("over-four", "cluster_size=16k",
              below=(("raw", "", "7M"), ("qcow2", "cluster_size=512", "8M", "pack"),
                     ("qcow2", "compat=0.10,cluster_size=64k", "9M", "pack"),
                     ("qcow2", "cluster_size=1M,refcount_bits=1", "5M")))
    yield Row("over-nbd", steps=("refused nbd+unix:///ex?socket=/run/x/s raw",))
    yield Row("over-json", steps=(
        'refused json:{"driver":"raw","file":{"driver":"file","filename":"/x"}} raw',))


def data_files():
    yield Row("data-file", "data_file=@data")
    yield Row("data-file-raw", "data_file=@data,data_file_raw=on")
    yield Row("data-file-512", "data_file=@data,cluster_size=512", "2M")
    yield Row("data-file-raw-odd", "data_file=@data,data_file_raw=on", str(8 * M + 1536))
    yield Row("data-file-over-raw", "data_file=@data", below=(RAW,))
    yield Row("data-file-over-data-file", "data_file=@data",
              below=(("qcow2", "data_file=@below", "6M"),))
    yield Row("data-file-falloc", "data_file=@data,preallocation=falloc")
    yield Row("data-file-extended", f"data_file=@data,{EXTENDED}")
    yield Row("data-file-raw-extended", f"data_file=@data,data_file_raw=on,{EXTENDED}")
    yield Row("data-file-extended-over-raw", f"data_file=@data,{EXTENDED}", below=(RAW,))


def extended():
    for size in ("16k", "64k", "2M"):
        yield Row(f"extended-{size}", f"{EXTENDED},cluster_size={size}")
        yield Row(f"extended-{size}-over-raw", f"{EXTENDED},cluster_size={size}", below=(RAW,))
    yield Row("extended-preallocated", f"{EXTENDED},preallocation=metadata")
    yield Row("extended-preallocated-over-raw", f"{EXTENDED},preallocation=metadata",
              below=(RAW,), steps=())
    yield Row("extended-packed", f"{EXTENDED},compression_type=zstd", steps=("pack",))
    yield Row("extended-snapshots", f"{EXTENDED},cluster_size=16k",
              between=("snapshot +",))
    yield Row("extended-packed-snapshots-over-short", f"{EXTENDED},refcount_bits=64",
              below=(("raw", "", "5M"),), steps=("pack",), between=("snapshot +",))
    yield Row("over-extended", below=(("qcow2", EXTENDED, "8M"),))
    yield Row("extended-over-4k-over-extended", EXTENDED,
              below=(("qcow2", f"{EXTENDED},cluster_size=16k", "7M"),
                     ("qcow2", "cluster_size=4k", "8M", "pack")))


def snapshots():
    yield Row("snapshots", between=("snapshot +",))
    yield Row("snapshots-512", "cluster_size=512", "2M", between=("snapshot +",))
    yield Row("snapshots-v2", "compat=0.10", between=("snapshot +",))
    yield Row("snapshots-refcount-2", "refcount_bits=2", between=("snapshot +",))
    yield Row("snapshots-packed-over-raw", "compression_type=zstd,cluster_size=4k", below=(RAW,),
              steps=("pack",), between=("snapshot +",))
    yield Row("snapshot-applied", steps=("fill", "snapshot +", "their round", "apply"))
    yield Row("snapshot-deleted", steps=("fill", "snapshot +", "their round", "delete"))
    yield Row("snapshot-of-another-size", steps=("fill", "snapshot +", "resize 9M", "apply"))
    yield Row("bitmaps", steps=("fill", "bitmap --add -g 64k @ b0", "bitmap --add @ b1"))
    yield Row("bitmap-disabled", "cluster_size=4k",
              steps=("fill", "bitmap --add -g 512 @ b0", "bitmap --disable @ b0", "their round"))
    yield Row("bitmap-removed", steps=("fill", "bitmap --add @ b0", "our round",
                                       "bitmap --remove @ b0"))
    yield Row("bitmaps-and-snapshots", steps=("fill", "bitmap --add @ b0"),
              between=("snapshot +",))


def encrypted():
    for cipher in ("aes-256 xts plain64 sha256", "aes-128 xts plain64 sha1",
                   "aes-256 cbc essiv sha512"):
        alg, mode, ivgen, digest = cipher.split()
        more = ",encrypt.ivgen-hash-alg=sha256" if ivgen == "essiv" else ""
        yield Row(f"luks-{alg}-{mode}-{digest}",
                  f"{LUKS},encrypt.cipher-alg={alg},encrypt.cipher-mode={mode},"
                  f"encrypt.ivgen-alg={ivgen},encrypt.hash-alg={digest}{more}")
    yield Row("luks-over-raw", LUKS, below=(RAW,))
    yield Row("luks-snapshots-512", f"{LUKS},cluster_size=512", "2M", between=("snapshot +",))
    yield Row("luks-extended", f"{LUKS},{EXTENDED}")
    yield Row("luks-data-file", f"{LUKS},data_file=@data")
    yield Row("luks-data-file-raw", f"{LUKS},data_file=@data,data_file_raw=on")
    yield Row("aes", "encrypt.format=aes,encrypt.key-secret=s", steps=("refused",))


def sizes():
    yield Row("size-0", size="0", steps=())
    yield Row("size-512", size="512")
    yield Row("size-1000", size="1000")
    yield Row("size-odd", size="8390144")
    yield Row("size-2P", size="2P", steps=(), windows=(0, P - M, 2 * P - M))
    yield Row("size-128G-512", "cluster_size=512", "128G", steps=(),
              windows=(0, 64 * G, 128 * G - M))
    yield Row("size-1E-2M", "cluster_size=2M", "1E", steps=(),
              windows=(0, 600 * P, 1024 * P - 4 * M))
    yield Row("size-1P-extended", EXTENDED, "1P", steps=(), windows=(0, 3 * T, P - M))
    yield Row("shrunk", steps=("fill", "resize 5M"))
    yield Row("shrunk-512", "cluster_size=512", "2M", steps=("fill", "resize 1536000"))
    yield Row("grown", steps=("fill", "resize 9M"))
    for kind in ("metadata", "falloc", "full"):
        yield Row(f"grown-{kind}", steps=("fill", f"resize 12M --preallocation={kind}"))
    yield Row("shrunk-and-grown-over-raw", below=(RAW,),
              steps=("fill", f"resize {520 * 1024}", f"resize {567 * 1024}"))


def afterwards():
    """Amended, left dirty, marked corrupt; and several at once."""
    yield Row("amended-to-v2", steps=("fill", "amend compat=0.10"))
    yield Row("amended-to-v3", "compat=0.10", steps=("fill", "amend compat=1.1"))
    for bits in (1, 64):
        yield Row(f"amended-refcount-{bits}", "cluster_size=4k",
                  steps=("fill", f"amend refcount_bits={bits}"))
    yield Row("amended-lazy-with-snapshot", steps=("fill", "snapshot +",
                                                   "amend lazy_refcounts=on"))
    yield Row("dirty", "lazy_refcounts=on", steps=("fill", "dirty"))
    yield Row("dirty-over-raw-512", "lazy_refcounts=on,cluster_size=512", "2M", below=(RAW,),
              steps=("fill", "dirty"))
    yield Row("corrupt", steps=("fill", "corrupt"))
    yield Row("killed", steps=("fill", "kill"), between=("kill",))
    yield Row("all-at-once", "compression_type=zstd,cluster_size=16k,refcount_bits=32,"
              "lazy_refcounts=on", below=(RAW, ("qcow2", "compat=0.10", "5M", "pack")),
              steps=("pack", "bitmap --add @ b0", "snapshot +", "resize 9M"),
              between=("snapshot +", "kill"))
    yield Row("all-at-once-extended", f"compression_type=zstd,refcount_bits=32,{EXTENDED}",
              below=(RAW, ("qcow2", "compat=0.10", "5M", "pack")),
              steps=("pack", "bitmap --add @ b0", "snapshot +", "resize 9M"),
              between=("snapshot +", "kill"))


def rows():
    for family in (plain, chains, data_files, extended, snapshots, encrypted, sizes, afterwards):
        yield from family()
