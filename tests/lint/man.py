#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The program, its manual page and README.md know the same options.

usage: man.py PROGRAM
"""

import os
import re
import subprocess
import sys

import tree

PAGE = 'man/qcow2-ublkd.8'
PROGRAM = 'qcow2-ublkd'
LONG = re.compile(r'(?<![\w-])--[a-z][a-z0-9-]*')
BOTH = re.compile(r'(?<![\w-])(?:--[a-z][a-z0-9-]*|-[A-Za-z](?![\w-]))')

report = tree.Report()


def options_of_program(program):
    done = subprocess.run([program, '--help'], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    if done.returncode:
        report(program, 0, f'--help ends with status {done.returncode}')
    rows = [line for line in done.stdout.split('\n') if re.match(r'\s+-', line)]
    # What stands behind two spaces or a tab explains; it may name other options.
    heads = [re.split(r'\s{2,}|\t', row.strip())[0] for row in rows]
    return {option for head in heads for option in BOTH.findall(head)}


def plain(roff):
    """Just enough: escapes, macros of both kinds, and no comments."""
    lines = [line for line in roff.split('\n') if not line.startswith('.\\"')]
    text = '\n'.join(lines).replace('\\-', '-').replace('\\fB', '').replace('\\fI', '')
    text = text.replace('\\fR', '').replace('\\fP', '').replace('\\&', '')
    return re.sub(r'\bFl (-?[\w-]+)', r'-\1', text)


def options_of_page():
    """Those that the section OPTIONS has an entry for: a line of macros with the option first."""
    section = re.search(r'^\.S[Hh] "?OPTIONS"?\n(.*?)(?=^\.S[Hh] |\Z)', plain(tree.read(PAGE)),
                        re.S | re.M)
    if not section:
        report(PAGE, 0, 'has no section OPTIONS')
        return set()
    entries = re.findall(r'^\.(?:TP[^\n]*\n(?:\.[A-Z]+ )?|It )("?-[^\n]*)', section[1], re.M)
    return {option for entry in entries for option in BOTH.findall(entry)}


def check_mentions(path, known):
    """Long options behind our program's name, in the same command, exist."""
    for number, line in enumerate(plain(tree.read(path)).split('\n'), 1):
        command = re.search(PROGRAM + r'[^`|;&]*', line)
        for option in LONG.findall(command.group() if command else ''):
            if option not in known:
                report(path, number, f'{option} is no option of {PROGRAM}')


def main():
    missing = [path for path in (PAGE, 'README.md')
               if not os.path.exists(os.path.join(tree.ROOT, path))]
    for path in missing:
        report(path, 0, 'is missing')
    if missing:
        return report.done()
    program = options_of_program(sys.argv[1])
    if not program:
        report(sys.argv[1], 0, '--help shows no options')
    page = options_of_page()
    for option in sorted(program - page):
        report(PAGE, 0, f'{option} is in --help, but has no entry in OPTIONS')
    for option in sorted(page - program):
        report(PAGE, 0, f'{option} has an entry in OPTIONS, but is not in --help')
    check_mentions(PAGE, program)
    check_mentions('README.md', program)
    return report.done()


sys.exit(main())
