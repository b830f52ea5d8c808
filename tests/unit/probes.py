#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The program has the probes that the manual page lists, with as many arguments.

usage: probes.py PROGRAM PAGE
"""
import re
import shutil
import subprocess
import sys

SKIP = 77


def of_program(program):
    notes = subprocess.run(['readelf', '-n', program], check=True, text=True,
                           stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    return {(match[1], len(match[2].split())) for match in re.finditer(
        r'Provider: qcow2_ublkd\s+Name: (\w+)\s.*?Arguments: ([^\n]*)', notes, re.S)}


def of_page(page):
    with open(page) as file:
        section = re.search(r'^\.Sh PROBES\n(.*?)^\.Sh ', file.read(), re.S | re.M)[1]
    return {(match[1], len(match[2].split()))
            for match in re.finditer(r'^\.It Fn (\w+) (.*)$', section, re.M)}


def main():
    if not shutil.which('readelf'):
        print('readelf is not installed')
        return SKIP
    program, page = of_program(sys.argv[1]), of_page(sys.argv[2])
    if not program:
        print('built without probes')
        return SKIP
    for probe in sorted(program ^ page):
        print(f'{probe[0]} with {probe[1]} arguments: only in the',
              'program' if probe in program else 'manual page')
    return program != page


sys.exit(main())
