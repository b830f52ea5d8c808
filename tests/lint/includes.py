#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Rooms include downwards only; private headers stay private; each header compiles alone."""

import os
import re
import subprocess
import sys

import tree

# Which contracts (include/) a room may see.  What is not in this table is not allowed.
CONTRACTS = {
    'base': 'base json messages',
    'format': 'base format',
    'crypto': 'base format crypto',
    'check': 'base format checker json',
    'task': 'base stats task io',
    'image': 'base format stats task io req image crypto messages probe',
    'io': 'base task io',
    'ublk': 'base stats task io req image messages',
    'daemon': 'base format stats task io req image checker json messages',
}

# Which private headers of another room.
FRIENDS = {'ublk': ['io'], 'daemon': ['io', 'ublk']}

# Which contracts a contract may see.
ABOVE = {
    'base': '',
    'format': 'base',
    'crypto': 'base format',
    'checker': 'base',
    'json': '',
    'messages': 'base',
    'probe': '',
    'io': 'base',
    'stats': 'base',
    'task': 'base io stats',
    'req': 'base io task',
    'image': 'base io stats task req',
}

# Who may see what of the outside, where not everybody may.
OUTSIDE = {
    'liburing.h': ['io', 'ublk'],
    'liburing/': ['io', 'ublk'],
    'linux/io_uring.h': ['io', 'ublk'],
    'linux/ublk_cmd.h': ['ublk'],
    'cap-ng.h': ['daemon'],
    'seccomp.h': ['daemon'],
    'sys/sdt.h': [],
    'linux/landlock.h': ['daemon'],
    'openssl/': ['crypto'],
    'pthread.h': ['base', 'task', 'image', 'io', 'ublk', 'daemon'],
}

# format is pure: no I/O, no allocation.
PURE = {'format': ['errno.h', 'inttypes.h', 'limits.h', 'stdio.h', 'string.h']}

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)

report = tree.Report()


def included(path):
    text = tree.read(path)
    for match in INCLUDE.finditer(text):
        yield text.count('\n', 0, match.start()) + 1, match[1] == '"', match[2]


def check_outside(path, line, room, header):
    for name, rooms in OUTSIDE.items():
        if header.startswith(name) and room not in rooms:
            report(path, line, f'<{header}> is for {", ".join(rooms)}, not for {room}')
    if room in PURE and header not in PURE[room]:
        report(path, line, f'<{header}>: {room} is pure, it does no I/O and allocates nothing')


def check_room(room, path):
    own = set(os.listdir(os.path.join(tree.ROOT, 'src', room)))
    contracts = {name + '.h' for name in CONTRACTS[room].split()}
    friends = {name for friend in FRIENDS.get(room, [])
               for name in os.listdir(os.path.join(tree.ROOT, 'src', friend))}
    for line, quoted, header in included(path):
        if not quoted:
            check_outside(path, line, room, header)
        elif header not in own | contracts | friends:
            report(path, line, f'{room} may not include "{header}"')


def check_own_header_first(path):
    own = os.path.basename(path)[:-2] + '.h'
    if own not in os.listdir(os.path.join(tree.ROOT, os.path.dirname(path))):
        return
    first = next(included(path), (0, True, None))
    if first[2] != own:
        report(path, first[0], f'the first include is not "{own}"')


def check_contract(path):
    name = os.path.basename(path)[:-2]
    if name not in ABOVE:
        return report(path, 0, 'is not in the table of contracts')
    for line, quoted, header in included(path):
        if quoted and header[:-2] not in ABOVE[name].split():
            report(path, line, f'{name}.h may not include "{header}"')


def check_compiles_alone(path, room):
    folders = ['include'] + (['src/' + r for r in [room] + FRIENDS.get(room, [])] if room else [])
    command = [os.environ.get('CC', 'cc'), '-std=gnu11', '-D_GNU_SOURCE=', '-fsyntax-only', '-Wall',
               '-isystem', 'include/uapi', '-x', 'c', '-', *('-I' + f for f in folders)]
    done = subprocess.run(command, cwd=tree.ROOT, text=True, stderr=subprocess.PIPE,
                          input=f'#include "{os.path.basename(path)}"\n')
    if done.returncode or done.stderr:
        report(path, 0, 'does not compile alone\n' + done.stderr)


def main():
    for path in tree.files('include', ends=['.h']):
        check_contract(path)
        check_compiles_alone(path, None)
    for path in tree.files('src', ends=['.c', '.h']):
        room = path.split('/')[1]
        if room not in CONTRACTS:
            report(path, 0, 'is in a room that is not in the table')
            continue
        check_room(room, path)
        if path.endswith('.h'):
            check_compiles_alone(path, room)
        else:
            check_own_header_first(path)
    return report.done()


sys.exit(main())
