#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The identifiers and priorities of messages are those that the manual page lists."""

import re
import sys

import tree

LIST = 'include/messages.h'
PAGE = 'man/qcow2-ublkd.8'
ROW = re.compile(r'\bm\((\w+), (\w+), "(\w*)"\)')
ENTRY = re.compile(r'^\.It Li ([0-9a-f]{20,}) Pq (\w+)$', re.M)
PRIORITIES = {'ERROR': 'err', 'WARN': 'warning', 'INFO': 'info'}

report = tree.Report()


def rows():
    found = {}
    for name, level, identifier in ROW.findall(tree.read(LIST)):
        if not re.fullmatch(r'[0-9a-f]{32}', identifier):
            report(LIST, 0, f'the identifier of {name} is not one: 32 digits')
        if identifier in found:
            report(LIST, 0, f'the identifier of {name} is another one\'s too')
        found[identifier] = (name, PRIORITIES.get(level, level))
    return found


def main():
    known = rows()
    entries = dict(ENTRY.findall(tree.read(PAGE)))
    for identifier, (name, priority) in known.items():
        if identifier not in entries:
            report(PAGE, 0, f'does not list {identifier}, {name}')
        elif entries[identifier] != priority:
            report(PAGE, 0, f'{identifier}, {name}: its priority is {priority}')
    for identifier in entries:
        if identifier not in known:
            report(PAGE, 0, f'lists {identifier}, which no message has')
    return report.done()


sys.exit(main())
