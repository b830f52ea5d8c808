#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Calls that have no place in src/: unbounded, unchecked, or through a shell."""

import re
import sys

import tree

BANNED = {
    'strcpy': 'knows no size; snprintf does',
    'strcat': 'knows no size; snprintf does',
    'sprintf': 'knows no size; snprintf does',
    'vsprintf': 'knows no size; vsnprintf does',
    'gets': 'knows no size',
    'strncpy': 'may leave out the NUL; snprintf does not',
    'strtok': 'keeps hidden state',
    'atoi': 'cannot fail; strtoull can',
    'atol': 'cannot fail; strtoull can',
    'atoll': 'cannot fail; strtoull can',
    'alloca': 'the stack has no room for what somebody else chose',
    'system': 'runs a shell',
    'popen': 'runs a shell',
    'assert': 'is gone in release builds; must() and debug_assert() say which is meant',
}

CALL = re.compile(r'(?<![\w.>])(' + '|'.join(BANNED) + r')\s*\(')

report = tree.Report()


def main():
    for path in tree.files('src', 'include', ends=['.c', '.h']):
        for number, line in enumerate(tree.code(tree.read(path)).split('\n'), 1):
            for match in CALL.finditer(line):
                report(path, number, f'{match[1]}() {BANNED[match[1]]}')
    return report.done()


sys.exit(main())
