#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""How many instructions of user space does a request cost that hits?  Counted, not timed.

hit_cost.py --program PATH [--unchecked PATH]

Engine and ring, without the driver and without the kernel.  The limits are a ratchet: lower them
when the figures have become lower, never raise them without saying why in the commit.

With --unchecked, the same program over an engine without its self-checks (uncheck.py), a table of
both: what the checks cost a hit, a write into a new cluster, and a discard of one.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile

SKIP = 77
# A write that would block is tried again, which depends on the clock: that figure is only printed.
LIMITS = {"read": 472, "write": None}
FEW, MANY = 20000, 60000

# For the table: operation, requests, options of qemu-img.
MEASURED = [
    ("read", FEW, MANY, "preallocation=full", "64M"),
    ("write", FEW, MANY, "preallocation=full", "64M"),
    ("allocate", 2000, 6000, "preallocation=off", "1G"),
    ("discard", 2000, 6000, "preallocation=falloc", "512M"),
]


def create(image, preallocation, size):
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", preallocation, image, size],
                   check=True)


def count(program, image, operation, requests, folder):
    """Instructions of a whole run, without those of the driver."""
    out = os.path.join(folder, "callgrind.out")
    subprocess.run(["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={out}", program,
                    image, operation, str(requests)], check=True, stderr=subprocess.PIPE)
    text = subprocess.run(["callgrind_annotate", "--auto=no", "--threshold=100", out], check=True,
                          stdout=subprocess.PIPE, text=True).stdout
    total = 0
    for line in text.splitlines():
        match = re.match(r" *([0-9,]+) .*?([^/ ]+\.[chS]|\?\?\?):\S", line)
        if match and match.group(2) != "hit_cost.c":
            total += int(match.group(1).replace(",", ""))
    return total


def compare(programs, folder):
    """What the checks cost: requests on new images, with both programs."""
    image = os.path.join(folder, "image.qcow2")
    print("| instructions | with | without | the checks |\n| --- | ---: | ---: | ---: |")
    for operation, few, many, preallocation, size in MEASURED:
        costs = []
        for program in programs:
            totals = []
            for requests in (few, many):
                create(image, preallocation, size)
                totals.append(count(program, image, operation, requests, folder))
            costs.append((totals[1] - totals[0]) / (many - few))
        print(f"| {operation} | {costs[0]:.0f} | {costs[1]:.0f} | {costs[0] - costs[1]:.0f} |",
              flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", required=True, help="path of hit_cost")
    parser.add_argument("--unchecked", help="path of hit_cost_unchecked")
    options = parser.parse_args()
    if not shutil.which("valgrind") or not shutil.which("qemu-img"):
        print("valgrind or qemu-img is not installed")
        return SKIP
    failed = False
    with tempfile.TemporaryDirectory(prefix="hit-cost-") as folder:
        if options.unchecked:
            compare([options.program, options.unchecked], folder)
            return 0
        image = os.path.join(folder, "image.qcow2")
        create(image, "preallocation=full", "64M")
        for operation, limit in LIMITS.items():
            few = count(options.program, image, operation, FEW, folder)
            many = count(options.program, image, operation, MANY, folder)
            cost = (many - few) / (MANY - FEW)
            print(f"4k {operation} hit: {cost:.0f} instructions, limit {limit}", flush=True)
            failed |= not cost > 100 or bool(limit and cost > limit)
    return 1 if failed else 0


sys.exit(main())
