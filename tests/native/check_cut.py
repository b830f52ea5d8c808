#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A repair that is killed between any two writes can be repeated, and has destroyed nothing.

check_cut.py --program PATH --library PATH [--seconds N]

For each damage of the catalogue that is repaired, the repair is killed before its first write,
before its second, and so on; afterwards what could be read before reads the same, and another
repair comes to the same end as one that was not killed.  At no time are there more refcounts that
are too low than at the beginning.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

import check_images

SKIP = 77
CUT = 99
MOST_WRITES = 200


class Failure(Exception):
    """An interrupted repair has made it worse."""


def run(command, **environment):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
                          text=True, errors="replace", env={**os.environ, **environment})


def content(path):
    """What QEMU reads, by clusters; None where it cannot be read as a whole."""
    raw = path + ".raw"
    done = run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", path, raw])
    if done.returncode:
        return None
    with open(raw, "rb") as file:
        return file.read()


def repair(program, path, **environment):
    return run([program, "check", "--repair", "all", path], **environment)


def too_low(program, path):
    """How many refcounts are smaller than they should be."""
    done = run([program, "check", path])
    return len(re.findall(r"^ERROR cluster \d+ refcount=", done.stderr, re.M))


def lost(before, pristine, after, cluster):
    """The first place where intact content has changed, or None."""
    for at in range(0, len(pristine), cluster):
        good = pristine[at:at + cluster]
        if good.strip(b"\0") and before[at:at + cluster] == good and (
                after is None or after[at:at + cluster] != good):
            return at
    return None


def one_cut(options, image, damage, path, number, before, end):
    """True when the repair was killed at write @number."""
    image.copy(path)
    damage.apply(path)
    low = too_low(options.program, path)
    done = repair(options.program, path, LD_PRELOAD=options.library, CUT_WRITES=str(number))
    if done.returncode != CUT:
        if done.returncode != end:
            raise Failure(f"not killed, it ended with {done.returncode}, not {end}")
        return False
    now = too_low(options.program, path)
    if now > low:
        raise Failure(f"killed at write {number}, {now} refcounts are too low, not {low}")
    again = repair(options.program, path)
    if again.returncode != end:
        raise Failure(f"killed at write {number}, the next repair ends with {again.returncode}, "
                      f"not {end}\n{again.stderr[-3000:]}")
    if before is not None:
        at = lost(before, image.pristine, content(path), image.cluster)
        if at is not None:
            raise Failure(f"killed at write {number}, the disk at {at:#x} is lost")
    return True


def all_cuts(options, image, pokes, folder):
    path = os.path.join(folder, "cut.qcow2")
    damage = check_images.Fixed(image, pokes)
    image.copy(path)
    damage.apply(path)
    before = content(path)
    end = repair(options.program, path).returncode
    for number in range(1, MOST_WRITES):
        if not one_cut(options, image, damage, path, number, before, end):
            return number - 1
    return MOST_WRITES


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", required=True, help="path of qcow2-ublkd")
    parser.add_argument("--library", required=True, help="path of the library to preload")
    parser.add_argument("--seconds", type=float, default=600, help="begin no damage after that")
    return parser.parse_args()


def main():
    options = parse()
    if not shutil.which("qemu-img") or not shutil.which("qemu-io"):
        print("qemu-img and qemu-io are not installed")
        return SKIP
    until = time.monotonic() + options.seconds
    damages = cuts = 0
    with tempfile.TemporaryDirectory(prefix="check-cut-") as folder:
        images = {name: image for kind in ("default", "extended-64k", "v2-64k", "snapshots")
                  for name, image in check_images.make_all(folder, kind).items()}
        for image in images.values():
            image.pristine = content(image.path)
        try:
            for name, pokes in check_images.CATALOGUE:
                if time.monotonic() > until:
                    break
                image = images.get(name.split(":")[0], images["default"])
                cuts += all_cuts(options, image, pokes, folder)
                damages += 1
        except Failure as failure:
            print(f"{name}: {failure}", file=sys.stderr)
            return 1
    if damages and not cuts:
        print("no repair was killed: the library has no effect", file=sys.stderr)
        return 1
    print(f"{damages} damages, repair killed {cuts} times: nothing lost, and repaired afterwards")
    return 0


sys.exit(main())
