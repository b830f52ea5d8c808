#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Our checker and QEMU's judge the same images, sound ones and damaged ones, and repair them.

check_matrix.py --program PATH [--seed N] [--budget SECONDS] [--pokes N] [--keep] [--only NAME]

Each kind of image is made by qemu-img and filled by qemu-io.  Both checkers must find it clean and
count the same clusters.  Then, for each seed, some bytes of its metadata are changed: both must end
with the same exit status; after our repair qemu-img check must agree that the image is clean
whenever its own repair gets that far, and what could be read before through mappings that the
damage did not touch reads the same.
"""
import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

import check_images

SKIP = 77
FIGURES = ["image-end-offset", "total-clusters", "allocated-clusters", "fragmented-clusters",
           "compressed-clusters"]


TOO_LONG_S = 20


class Failure(Exception):
    """The two do not agree."""


class TooLong(Exception):
    """QEMU walks a table as often as something leads to it; that can take hours."""


def run(command, seconds=TOO_LONG_S):
    try:
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
                              text=True, errors="replace", timeout=seconds)
    except subprocess.TimeoutExpired as error:
        if command[0] == "qemu-img":
            raise TooLong() from error
        raise Failure(f"{' '.join(command)} takes more than {TOO_LONG_S} s") from error


class Judges:
    """The two checkers."""

    def __init__(self, program):
        self.program = program
        self.patience = None  # seconds for QEMU, with images that may take it for ever

    def ours(self, path, *options):
        done = run([self.program, "check", *options, path])
        sanitizer = "Sanitizer" in done.stderr or "runtime error:" in done.stderr
        if done.returncode not in (0, 1, 2, 3) or sanitizer:
            raise Failure(f"ours ended with {done.returncode}: {done.stderr[-2000:]}")
        return done

    def qemu(self, image, path, *options):
        return run(["qemu-img", "check", *options, *image.source(path)], self.patience)

    def compare_clean(self, image):
        ours, qemu = self.ours(image.path, "--json"), self.qemu(image, image.path,
                                                               "--output=json")
        if ours.returncode or qemu.returncode:
            raise Failure(f"clean image: ours {ours.returncode}, qemu {qemu.returncode}\n"
                          + ours.stderr + qemu.stderr)
        mine, theirs = json.loads(ours.stdout), json.loads(qemu.stdout)
        for key in FIGURES:
            if mine[key] != theirs.get(key, 0):
                raise Failure(f"clean image: {key}: ours {mine[key]}, "
                              f"qemu {theirs.get(key, 0)}")


def compare_info(judges, image):
    """What both print must be the same, where QEMU prints it."""
    ours = run([judges.program, "info", "--json", image.path])
    source = ["-f", "qcow2", image.path]
    qemu = run(["qemu-img", "info", "--output=json", *source])
    if ours.returncode or qemu.returncode:
        raise Failure(f"info: ours {ours.returncode}, qemu {qemu.returncode}\n{ours.stderr}"
                      f"{qemu.stderr}")
    mine, theirs = json.loads(ours.stdout), json.loads(qemu.stdout)
    for key in ("filename", "virtual-size", "actual-size", "cluster-size", "dirty-flag",
                "backing-filename", "backing-filename-format", "encrypted"):
        if mine.get(key) != theirs.get(key):
            raise Failure(f"info: {key}: ours {mine.get(key)}, qemu {theirs.get(key)}")
    snapshots = [[[s[key] for key in ("id", "name", "date-sec", "date-nsec", "vm-state-size")]
                  for s in info.get("snapshots", [])] for info in (mine, theirs)]
    if snapshots[0] != snapshots[1]:
        raise Failure(f"info: snapshots: ours {snapshots[0]}, qemu {snapshots[1]}")
    mine, theirs = mine["format-specific"]["data"], theirs["format-specific"]["data"]
    theirs.setdefault("compression-type", "zlib")
    for key, value in theirs.items():
        if key != "encrypt" and mine.get(key) != value:
            raise Failure(f"info: {key}: ours {mine.get(key)}, qemu {value}")


def content(image, path):
    """The disk's bytes, or None where it cannot be read as a whole."""
    raw = path + ".raw"
    done = run(["qemu-img", "convert", "-U", "-O", "raw", *image.source(path), raw])
    if done.returncode:
        return None
    with open(raw, "rb") as file:
        data = file.read()
    os.unlink(raw)
    return data


def compare_content(image, pristine, before, after):
    """What the damage has left as it was has been left so by the repair."""
    if before is None:
        return
    if after is None:
        raise Failure("could be read before our repair, and not afterwards")
    for at in range(0, len(pristine), image.cluster):
        good = pristine[at:at + image.cluster]
        if good.strip(b"\0") and before[at:at + image.cluster] == good and (
                after[at:at + image.cluster] != good):
            raise Failure(f"our repair has changed the disk at {at:#x}")


def compare_damaged(judges, image, damage, folder):
    """Check, repair with both, check with both.  Returns the class of the verdict."""
    path = os.path.join(folder, "damaged.qcow2")
    theirs = os.path.join(folder, "theirs.qcow2")
    image.copy(path)
    damage.apply(path)
    ours, qemu = judges.ours(path), judges.qemu(image, path)
    if ours.returncode != qemu.returncode and not damage.excused(ours, qemu):
        raise Failure(f"check: ours {ours.returncode}, qemu {qemu.returncode}\nours:\n"
                      + ours.stderr[-3000:] + "\nqemu:\n" + qemu.stderr[-3000:])
    image.copy(theirs)
    damage.apply(theirs)
    before = content(image, path)
    for mode in ("leaks", "all"):
        compare_repair(judges, image, damage, path, theirs, mode)
    compare_content(image, image.pristine, before, content(image, path))
    return ours.returncode


def sound_when_longer(judges, image, path, theirs):
    """Is what ours lacks only the hole that QEMU has put where something in use was missing?  The leaks
    that were left meanwhile go with the next repair."""
    longer = path + ".longer"
    image.copy(longer, path)
    os.truncate(longer, max(os.path.getsize(path), os.path.getsize(theirs)))
    done = judges.qemu(image, longer)
    if done.returncode == 3:
        judges.ours(longer, "--repair", "leaks")
        done = judges.qemu(image, longer)
    os.unlink(longer)
    return done.returncode == 0


def compare_repair(judges, image, damage, path, theirs, mode):
    ours = judges.ours(path, "--repair", mode)
    qemu = judges.qemu(image, theirs, "-r", mode)
    again, theirs_again = judges.qemu(image, path), judges.qemu(image, theirs)
    text = (f"after repair {mode}: ours ended with {ours.returncode}, qemu with "
            f"{qemu.returncode}; qemu-img check then: ours {again.returncode}, theirs "
            f"{theirs_again.returncode}\nours:\n" + ours.stderr[-3000:] + "\nqemu:\n"
            + qemu.stderr[-3000:] + "\nqemu on ours:\n" + again.stderr[-3000:])
    if ours.returncode == 0 and again.returncode:
        raise Failure("we call it clean, QEMU does not: " + text)
    if theirs_again.returncode == 0 and again.returncode and not (
            damage.beyond_repair(ours) or damage.ended_by_chance(qemu)
            or image.lost_snapshots(theirs)
            or damage.made_longer(qemu) and sound_when_longer(judges, image, path, theirs)):
        raise Failure("QEMU repairs it, we do not: " + text)
    mine = judges.ours(path)
    if mine.returncode != again.returncode and not damage.excused(mine, again):
        raise Failure("the verdicts differ: " + text + f"\nours again {mine.returncode}:\n"
                      + mine.stderr[-3000:])


def one_damage(judges, image, seed, pokes, folder):
    lot = random.Random(f"{image.name}/{seed}")
    damage = check_images.Damage(image, lot, lot.randint(1, pokes))
    try:
        return compare_damaged(judges, image, damage, folder)
    except Failure as failure:
        raise Failure(f"{image.name}, seed {seed}: {failure}\npokes:\n"
                      + "\n".join(damage.pokes)) from failure


def fixed_damages(options, judges, images, folder):
    """The catalogue of damages that are known to have hurt somebody; the number of failures."""
    failures = 0
    for name, pokes in check_images.CATALOGUE:
        kind = name.split(":")[0]
        damage = check_images.Fixed(images.get(kind, images["default"]), pokes)
        try:
            compare_damaged(judges, damage.image, damage, folder)
        except Failure as failure:
            if not options.go_on:
                raise Failure(f"catalogue, {name}: {failure}") from failure
            failures += 1
            print(f"--- catalogue, {name}: {failure}", flush=True)
    print(f"{len(check_images.CATALOGUE)} damages of the catalogue; {failures} failures")
    return failures


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", required=True, help="path of qcow2-ublkd")
    parser.add_argument("--seed", type=int, default=1, help="to begin with")
    parser.add_argument("--budget", type=float, default=40, help="seconds for damaged images")
    parser.add_argument("--pokes", type=int, default=3, help="at most, for each seed")
    parser.add_argument("--only", help="images whose name has this in it")
    parser.add_argument("--keep", action="store_true", help="keep the files of a failure")
    parser.add_argument("--go-on", action="store_true", help="after a failure, and count them")
    return parser.parse_args()


def hunt(options, judges, images, folder):
    """Damaged images until the time is up."""
    until = time.monotonic() + options.budget
    judges.patience = TOO_LONG_S
    seed, count, failures = options.seed, {0: 0, 1: 0, 2: 0, 3: 0}, 0
    while time.monotonic() < until:
        for image in images.values():
            if time.monotonic() >= until:
                break
            try:
                count[one_damage(judges, image, seed, options.pokes, folder)] += 1
            except TooLong:
                print(f"{image.name}, seed {seed}: takes QEMU too long", flush=True)
            except Failure as failure:
                if not options.go_on:
                    raise
                failures += 1
                print(f"--- {failure}", flush=True)
        seed += 1
    print(f"damaged images by exit status: {count}, seeds {options.seed}..{seed - 1}; "
          f"{failures} failures")
    return failures


def main():
    options = parse()
    if not shutil.which("qemu-img") or not shutil.which("qemu-io"):
        print("qemu-img and qemu-io are not installed")
        return SKIP
    folder = tempfile.mkdtemp(prefix="check-matrix-")
    judges = Judges(options.program)
    failures = 0
    try:
        images = check_images.make_all(folder, options.only)
        for image in images.values():
            try:
                judges.compare_clean(image)
                compare_info(judges, image)
                image.pristine = content(image, image.path)
            except Failure as failure:
                raise Failure(f"{image.name}: {failure}") from failure
        print(f"{len(images)} kinds of images are clean to both, with the same figures, and "
              "described alike")
        if not options.only:
            failures = fixed_damages(options, judges, images, folder)
        failures += hunt(options, judges, images, folder)
    except Failure as failure:
        print(failure, file=sys.stderr)
        failures = 1
    if failures and options.keep:
        print(f"kept: {folder}", file=sys.stderr)
    else:
        shutil.rmtree(folder)
    return 1 if failures else 0


sys.exit(main())
