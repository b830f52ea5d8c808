# SPDX-License-Identifier: GPL-2.0-or-later
"""What happens to an image between the rounds of a twin: snapshots, sizes, formats, bitmaps, kills.

QEMU may refuse some of it (refcounts that are too narrow, version 2, bitmaps in use); then nothing
must have happened.
"""
import os
import shutil

from twin import SECTOR, Failure, demand, run


def attempt(twin, *command):
    """True when QEMU has done it; it may also refuse."""
    twin.history.append(" ".join(command))
    result = run(list(command))
    if result.returncode < 0:
        raise Failure(f"{' '.join(command)}: {result.stdout}")
    twin.history[-1] += f" -> {result.returncode} {result.stdout.strip()}"
    return result.returncode == 0


def mend_leaks(twin):
    """Leaks are all that an attempt or a kill may leave."""
    checked = run(["qemu-img", "check", *twin.source(twin.image)])
    if checked.returncode not in (0, 3):
        raise Failure(f"qemu-img check ended with {checked.returncode}: {checked.stdout}")
    if checked.returncode == 0:
        return
    if twin.program and twin.random.random() < 0.5:
        demand([twin.program, "check", "--repair", "leaks", twin.image])
    else:
        demand(["qemu-img", "check", "-q", "-r", "leaks", *twin.source(twin.image)])


# --- snapshots ----------------------------------------------------------------------------------

def snapshot_words(twin, *words):
    """It takes no -f."""
    source = twin.source(twin.image)
    return ["snapshot", *(source[:-1] if source[0] != "-f" else []), *words, source[-1]]


def snapshot_create(twin):
    name = f"s{twin.made}"
    twin.made += 1
    # With narrow refcounts there is room for a few, and refusals leak the new L1 table.
    if attempt(twin, "qemu-img", *snapshot_words(twin, "-c", name)):
        shutil.copyfile(twin.raw, f"{twin.raw}.{name}")
        twin.snapshots.append(name)
    elif twin.refcount_bits >= 8:
        raise Failure("no snapshot could be made")
    mend_leaks(twin)


def snapshot_apply(twin):
    name = twin.random.choice(twin.snapshots)
    if attempt(twin, "qemu-img", *snapshot_words(twin, "-a", name)):
        shutil.copyfile(f"{twin.raw}.{name}", twin.raw)
        set_size(twin, os.path.getsize(twin.raw))
    mend_leaks(twin)


def snapshot_delete(twin):
    name = twin.random.choice(twin.snapshots)
    if attempt(twin, "qemu-img", *snapshot_words(twin, "-d", name)):
        twin.snapshots.remove(name)
        os.remove(f"{twin.raw}.{name}")
    mend_leaks(twin)


# --- sizes and formats --------------------------------------------------------------------------

def set_size(twin, size):
    os.truncate(twin.raw, size)
    twin.size = size
    twin.backed = min(twin.backed_most, -(-size // twin.cluster) * twin.cluster)


def adopt_tail(twin, old):
    """QEMU may set clusters aside where its old tables were, whose bytes are then the guest's."""
    copy = f"{twin.raw}.read"
    demand(["qemu-img", "convert", *twin.source(twin.image)[:-1], "-O", "raw", twin.image, copy])
    with open(copy, "rb") as found, open(twin.raw, "r+b") as raw:
        found.seek(old)
        raw.seek(old)
        raw.write(found.read())


def resize(twin):
    """What is added reads as zeros, whatever lies below or was there before."""
    lot = twin.random
    sectors = twin.size // SECTOR
    new = SECTOR * lot.choice([lot.randint(1, sectors), sectors + lot.randint(1, 2000),
                               max(1, sectors - lot.randint(0, 200))])
    command = ["qemu-img", "resize", "-q", "-f", "qcow2", "--shrink"]
    if new > twin.size and not twin.backed_most and lot.random() < 0.5:
        command += ["--preallocation", lot.choice(["metadata", "falloc", "full"])]
    old = twin.size
    if attempt(twin, *command, twin.image, str(new)):
        set_size(twin, new)
        if "metadata" in command:
            adopt_tail(twin, old)
    mend_leaks(twin)


def amend(twin):
    """The tables move, and entries are rewritten for the other version."""
    lot = twin.random
    choice = ["lazy_refcounts=on", "lazy_refcounts=off", "compat=0.10", "compat=1.1"]
    # It looks at each refcount that the table could have, in minutes for large clusters.
    if twin.cluster <= 4096:
        choice += [f"refcount_bits={1 << lot.randint(0, 6)}"] * 4
    options = lot.choice(choice)
    if attempt(twin, "qemu-img", "amend", "-q", "-f", "qcow2", "-o", options, twin.image):
        with open(twin.image, "rb") as file:
            header = file.read(104)
        twin.version = header[7]
        twin.refcount_bits = 1 << header[99] if twin.version == 3 else 16
        twin.lazy = twin.version == 3 and bool(header[87] & 1)
    mend_leaks(twin)


def bitmap(twin):
    """They need version 3; once we have written to the image, all that is left is to remove them."""
    lot = twin.random
    if twin.bitmaps and lot.random() < 0.4:
        if attempt(twin, "qemu-img", "bitmap", "--remove", twin.image, twin.bitmaps[-1]):
            twin.bitmaps.pop()
    else:
        name = f"bitmap{twin.made}"
        twin.made += 1
        if attempt(twin, "qemu-img", "bitmap", "--add", "-g", lot.choice(["512", "64k", "2M"]),
                   twin.image, name):
            twin.bitmaps.append(name)
    mend_leaks(twin)


def pack(twin):
    """QEMU compresses a cluster, unless something is there already."""
    lot = twin.random
    first = lot.randrange(twin.size // twin.cluster) * twin.cluster
    pattern = lot.randint(1, 255)
    source = twin.source(twin.image)
    command = ["qemu-io", *source[:-1], "-c",
               f"write -c -P {pattern} {first} {twin.cluster}", source[-1]]
    twin.history.append(" ".join(command))
    if "failed" not in run(command).stdout:
        twin.write_raw(first, twin.cluster, pattern)
    mend_leaks(twin)


# --- kills --------------------------------------------------------------------------------------

def their_kill(twin):
    """QEMU leaves the image dirty; whoever writes next must repair it."""
    lines = [twin.draw_change(False) for _ in range(twin.random.randint(1, 8))]
    twin.history.append("qemu-io, killed: " + "; ".join(lines))
    source = twin.source(twin.image)
    words = [word for line in lines + ["flush", "sigraise 9"] for word in ("-c", line)]
    run(["qemu-io", *source[:-1], "-d", "unmap", *words, source[-1]])
    if twin.random.random() < 0.5:
        twin.compare()  # a reader leaves it as it is
    twin.our_round()


def our_kill(twin):
    """What was flushed is there; of what was not, each sector is old or new."""
    lines = twin.our_lines(10) + ["wait", "flush"]
    with open(twin.raw, "rb") as file:
        before = file.read()
    later = twin.our_lines(10)
    result = twin.qio_run(lines + ["flush"] + later + ["abort"])
    if result.returncode != -9:
        raise Failure(f"qio was not killed: {result.stdout}")
    mend_leaks(twin)
    judge_killed(twin, before, later)


def judge_killed(twin, before, later):
    """Then the twin is what was found."""
    with open(twin.raw, "rb") as file:
        after = file.read()
    twin.make_raw()
    with open(twin.raw, "rb") as file:
        found = file.read()
    for at in range(0, len(found), SECTOR):
        sector = found[at:at + SECTOR]
        if sector in (before[at:at + SECTOR], after[at:at + SECTOR]):
            continue
        if sector != sector[:1] * SECTOR or not written(later, at, sector[0]):
            raise Failure(f"after a kill, sector {at:#x} is neither old nor new")


def written(lines, at, pattern):
    """Does one of the commands put this byte there?"""
    for line in lines:
        words = line.removeprefix("aio ").split()
        if len(words) < 3 or not int(words[1]) <= at < int(words[1]) + int(words[2]):
            continue
        if pattern == (int(words[3]) if words[0] == "write" else 0):
            return True
    return False


def by_lot(twin):
    """One of those that can happen to this image."""
    # Size, snapshots and bitmaps are QEMU's to keep apart; data files know neither.  What needs no key
    # of QEMU's tools is for images that have none.
    kinds = [our_kill, our_kill] + ([] if twin.secret else [resize, amend])
    if not twin.data and len(twin.snapshots) < 3:
        kinds += [snapshot_create, snapshot_create]
    if twin.snapshots:
        kinds += [snapshot_apply, snapshot_delete]
    if twin.version == 3 and not twin.secret:
        kinds.append(bitmap)
    if not twin.data and twin.size >= twin.cluster:
        kinds.append(pack)
    if twin.lazy:
        kinds += [their_kill, their_kill]
    kind = twin.random.choice(kinds)
    kind(twin)
    twin.check()
