#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Files end at 800 lines, functions at 70 lines between the outer braces.

Step functions are exempt: a machine is one switch.  Longer functions are listed in length.ratchet
with their length, which may fall and not rise; a listed number that is too high fails as well, so
that the list shrinks with the functions.
"""

import os
import sys

import tree

FILE_LINES = 800
FUNCTION_LINES = 70

RATCHET = os.path.join('tests', 'lint', 'length.ratchet')

report = tree.Report()


def ratchet():
    """(path, function) -> lines; rows are `path function lines`."""
    rows = [row.split() for row in tree.read(RATCHET).split('\n')]
    return {(row[0], row[1]): int(row[2]) for row in rows if row and not row[0].startswith('#')}


def main():
    listed = ratchet()
    lengths = []
    for path in tree.files('src', 'include', 'tests', ends=['.c', '.h', '.py', '.sh']):
        text = tree.read(path)
        if text.count('\n') > FILE_LINES:
            report(path, 0, f'{text.count(chr(10))} lines, more than {FILE_LINES}')
        if not path.endswith(('.c', '.h')):
            continue
        for function in tree.functions(text):
            lengths.append(function.lines)
            if function.is_step():
                continue
            key = (path, function.name)
            limit = listed.pop(key, FUNCTION_LINES)
            if function.lines > limit:
                report(path, function.line,
                       f'{function.name}() has {function.lines} lines, more than {limit}')
            elif limit > FUNCTION_LINES and function.lines < limit:
                report(path, function.line, f'{function.name}() has shrunk to {function.lines} '
                       f'lines: lower or delete its row in {RATCHET}')
    for path, name in listed:
        report(RATCHET, 0, f'{path} {name}: there is no such function')
    lengths.sort()
    if lengths:
        print(f'# {len(lengths)} functions; lines: median {lengths[len(lengths) // 2]}, '
              f'90 % up to {lengths[len(lengths) * 9 // 10]}, longest {lengths[-1]}')
    return report.done()


sys.exit(main())
