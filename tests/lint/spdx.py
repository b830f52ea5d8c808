#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Every source names its licence and purpose; nothing tells where or how it was written."""

import os
import re
import sys

import tree

LICENCE = 'SPDX-License-Identifier: GPL-2.0-or-later'
TOP_LEVEL = {'src', 'include', 'man', 'tests', 'meson.build', 'meson_options.txt', 'README.md',
             'COPYING'}
SOURCE_ENDS = ('.c', '.h', '.py', '.sh', '.build', '.5', '.8', '.service', '.in', '.target', '.conf', '.rules')

# Put together here, so that this file does not contain what it looks for.
PLACES = re.compile(r'(?<![\w.-])/(?:' + '|'.join(['work', 'home']) + r')/')
TRACES = re.compile('|'.join(['co-' + 'authored', 'generated ' + '(?:by|with)', 'signed-' + 'off']),
                    re.I)
ISSUE = re.compile(r'(?:^|[\s(])#[0-9]+\b|\b(?:GH|issue|PR)[- ]?#?[0-9]+\b')

report = tree.Report()


def is_source(path, text):
    name = os.path.basename(path)
    return (name.endswith(SOURCE_ENDS) or name in ('meson_options.txt', '.clang-format')
            or text.startswith('#!'))


def check_head(path, text):
    lines = text.split('\n')
    if path.endswith(('.c', '.h')):
        if lines[0] != f'/* {LICENCE} */':
            report(path, 1, f'the first line is not /* {LICENCE} */')
        elif not lines[1].startswith('/*'):
            report(path, 2, 'no sentence of purpose below the licence')
    elif not any(LICENCE in line for line in lines[:3]):
        report(path, 1, f'no "{LICENCE}" in the first lines')


def check_lines(path, text):
    for number, line in enumerate(text.split('\n'), 1):
        if PLACES.search(line):
            report(path, number, 'a path of somebody\'s machine: ' + line.strip())
        if TRACES.search(line):
            report(path, number, 'says how it came about: ' + line.strip())
        if path.endswith(('.c', '.h')) and ISSUE.search(line):
            report(path, number, 'an issue number: ' + line.strip())


def all_files():
    top = [name for name in os.listdir(tree.ROOT)
           if os.path.isfile(os.path.join(tree.ROOT, name)) and name not in ('COPYING', '.git')]
    return sorted(top) + tree.files('src', 'include', 'man', 'tests')


def main():
    for name in sorted(os.listdir(tree.ROOT)):
        if name not in TOP_LEVEL and not name.startswith(('.', 'build')):
            report(name, 0, 'does not belong to the top level')
    if 'build*/' not in tree.read('.gitignore').split('\n'):
        report('.gitignore', 0, 'build*/ is not ignored')
    for path in all_files():
        text = tree.read(path)
        if '\0' in text or path.endswith('.md') and not text:
            continue
        if is_source(path, text):
            check_head(path, text)
        check_lines(path, text)
    return report.done()


sys.exit(main())
