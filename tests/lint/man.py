#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The program, its manual page and README.md know the same options and commands.

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


def help_of(program, *command):
    done = subprocess.run([program, *command, '--help'], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    if done.returncode:
        report(program, 0, f'{" ".join(command)} --help ends with status {done.returncode}')
    return done.stdout


def options_of_help(text):
    rows = [line for line in text.split('\n') if re.match(r'\s+-', line)]
    # What stands behind two spaces or a tab explains; it may name other options.
    heads = [re.split(r'\s{2,}|\t', row.strip())[0] for row in rows]
    return {option for head in heads for option in BOTH.findall(head)}


def commands_of_help(text):
    """The list behind the line that begins with `Commands`."""
    listed = re.search(r'^Commands[^\n]*:\n((?:[ \t]+[^\n]*\n)*)', text, re.M)
    return re.findall(r'^\s+([a-z]+)\s', listed[1], re.M) if listed else []


def plain(roff):
    """Just enough: escapes, macros of both kinds, and no comments."""
    lines = [line for line in roff.split('\n') if not line.startswith('.\\"')]
    text = '\n'.join(lines).replace('\\-', '-').replace('\\fB', '').replace('\\fI', '')
    text = text.replace('\\fR', '').replace('\\fP', '').replace('\\&', '')
    return re.sub(r'\bFl (-?[\w-]+)', r'-\1', text)


def section_of_page(name):
    section = re.search(rf'^\.S[Hh] "?{name}"?\n(.*?)(?=^\.S[Hh] |\Z)', plain(tree.read(PAGE)),
                        re.S | re.M)
    return section[1] if section else None


def options_of_section(text):
    """Those that have an entry: a line of macros with the option first."""
    entries = re.findall(r'^\.(?:TP[^\n]*\n(?:\.[A-Z]+ )?|It )("?-[^\n]*)', text, re.M)
    return {option for entry in entries for option in BOTH.findall(entry)}


def options_of_page():
    section = section_of_page('OPTIONS')
    if section is None:
        report(PAGE, 0, 'has no section OPTIONS')
        return set()
    return options_of_section(section)


def commands_of_page():
    """Command -> options, by the subsections of COMMANDS."""
    parts = re.split(r'^\.S[Ss] (\w+)\n', section_of_page('COMMANDS') or '', flags=re.M)
    return {name: options_of_section(text) for name, text in zip(parts[1::2], parts[2::2])}


def synopsis_of_page():
    """Command -> options, by its lines in the synopsis; '' is the program itself."""
    found = {}
    for part in re.split(r'^\.Nm\n', section_of_page('SYNOPSIS') or '', flags=re.M)[1:]:
        command = re.match(r'\.Cm ([a-z]+)\n', part)
        found.setdefault(command[1] if command else '', set()).update(BOTH.findall(part))
    return found


def check_synopsis(command, options, synopsis):
    """The option --help is there once, as the program's own."""
    if command not in synopsis:
        report(PAGE, 0, f'the synopsis does not have the command {command}')
        return
    wanted = {option for option in options if LONG.fullmatch(option)}
    for option in sorted(wanted - synopsis[command] - ({'--help'} if command else set())):
        report(PAGE, 0, f'{command} {option} is in --help, but not in the synopsis'.strip())
    for option in sorted(synopsis[command] - wanted):
        report(PAGE, 0, f'{command} {option} is in the synopsis, but not in --help'.strip())


def check_options(where, program, page):
    for option in sorted(program - page):
        report(PAGE, 0, f'{option} is in --help, but has no entry in {where}')
    for option in sorted(page - program):
        report(PAGE, 0, f'{option} has an entry in {where}, but is not in --help')


def check_commands(program, commands):
    """Returns the options of all of them."""
    page, synopsis = commands_of_page(), synopsis_of_page()
    known = set()
    for name in commands:
        options = options_of_help(help_of(program, name))
        known |= options
        check_synopsis(name, options, synopsis)
        if name not in page:
            report(PAGE, 0, f'command {name} is in --help, but has no subsection in COMMANDS')
        else:
            check_options(f'COMMANDS, {name}', options, page[name])
    for name in page:
        if name not in commands:
            report(PAGE, 0, f'command {name} has a subsection, but is not in --help')
    return known


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
    text = help_of(sys.argv[1])
    program = options_of_help(text)
    if not program:
        report(sys.argv[1], 0, '--help shows no options')
    check_options('OPTIONS', program, options_of_page())
    check_synopsis('', program, synopsis_of_page())
    known = program | check_commands(sys.argv[1], commands_of_help(text))
    check_mentions(PAGE, known)
    check_mentions('README.md', known)
    return report.done()


sys.exit(main())
