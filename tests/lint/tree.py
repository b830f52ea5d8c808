# SPDX-License-Identifier: GPL-2.0-or-later
"""The source tree as the lints see it: files, code without comments, functions."""

import os
import re
import sys

ROOT = os.environ.get('LINT_ROOT') or os.path.dirname(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# Not ours to format or judge.
FOREIGN = ('include/uapi/',)
SKIPPED_FOLDERS = ('__pycache__',)


def files(*tops, ends=('',)):
    """Paths below the given top-level folders, relative to the root, sorted."""
    found = []
    for top in tops:
        for folder, folders, names in os.walk(os.path.join(ROOT, top)):
            folders[:] = [f for f in folders if f not in SKIPPED_FOLDERS]
            found += [os.path.relpath(os.path.join(folder, name), ROOT)
                      for name in names if name.endswith(tuple(ends))]
    return sorted(path for path in found if not path.startswith(FOREIGN))


def read(path):
    with open(os.path.join(ROOT, path), encoding='utf-8', errors='replace') as file:
        return file.read()


TOKENS = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def code(text):
    """C without comments and the insides of strings; the lines keep their numbers."""
    def blank(match):
        found = match.group()
        if found[0] in '"\'':
            return found[0] * 2
        return ' ' + '\n' * found.count('\n')
    return TOKENS.sub(blank, text)


class Function:
    def __init__(self, name, head, body, line):
        self.name = name
        self.head = head    # from the return type to the closing parenthesis
        self.body = body    # between the outer braces
        self.line = line    # of the opening brace
        self.lines = body.count('\n')

    def is_step(self):
        return bool(re.search(r'\benum step\b', self.head)
                    and re.search(r'\bswitch \(\w+->state\)', self.body))


FUNCTION = re.compile(r'^(?P<head>\w[^;{}#]*?\b(?P<name>\w+)\([^;{}]*\))\s*\n\{\n(?P<body>.*?)^\}',
                      re.S | re.M)


def functions(text):
    """All functions of a C file in kernel style: the body's braces stand in the first column."""
    text = code(text)
    return [Function(m['name'], m['head'], m['body'], text.count('\n', 0, m.start('body')))
            for m in FUNCTION.finditer(text)]


class Report:
    """Collects complaints; the lint's exit status is what done() returns."""

    def __init__(self):
        self.complaints = 0

    def __call__(self, path, line, text):
        self.complaints += 1
        print(f'{path}:{line}: {text}' if line else f'{path}: {text}')

    def done(self):
        sys.stdout.flush()
        return 1 if self.complaints else 0
