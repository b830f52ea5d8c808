#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Each lint accepts a small tree without faults and finds every fault that is planted in it."""

import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
HEAD = '/* SPDX-License-Identifier: GPL-2.0-or-later */\n/* Purpose. */\n'
SCRIPT = '# SPDX-License-Identifier: GPL-2.0-or-later\n'

MACHINE = HEAD + '''#include "m.h"

/*
 *\tMAP  -> LOAD~ MAP* DONE WAIT
 *\tLOAD -> MAP DONE
 *\tWAIT -> DONE
 */
#define W_LIST(s) s(W_MAP) s(W_LOAD) s(W_WAIT) s(W_DONE)
MACHINE_STATES(w, W_LIST);

static enum step rest(struct task *t)
{
	return go(t, t->err ? W_DONE : W_MAP);
}

static enum step w_step(struct task *t)
{
	switch (t->state) {
	case W_MAP:
		if (t->inflight)
			return park(t, NULL, W_MAP);
		if (t->err)
			return fail(t, t->err, t->inflight ? W_DONE : W_WAIT);
		return await_io(t, W_LOAD);
	case W_LOAD:
		return rest(t);
	case W_WAIT:
		return STEP_DONE;
	case W_DONE:
		return STEP_DONE;
	}
	return STEP_DONE;
}

const struct machine w_machine = { "w", w_step, w_states };
'''

HELP = '''#!/bin/sh
if [ "$1" = look ]; then
	echo "  --close   from near"
	exit
fi
echo "usage: qcow2-ublkd [OPTION...] IMAGE"
echo "  -q, --queues N   how many; see --depth"
echo "      --depth N    how deep"
echo "Commands:"
echo "  look             look at it"
'''

PAGE = '''.\\" SPDX-License-Identifier: GPL-2.0-or-later
.TH QCOW2-UBLKD 8
.SH SYNOPSIS
.Nm
.Op Fl -queues Ar N
.Op Fl -depth Ar N
.Nm
.Cm look
.Op Fl -close
.SH DESCRIPTION
qcow2-ublkd --depth 3 image
.SH OPTIONS
.TP
.BR \\-q ", " \\-\\-queues " N"
How many.
.TP
.BI \\-\\-depth " N"
How deep; mind the --output of qemu-img.
.SH COMMANDS
.SS look
Look at it.
.TP
.B \\-\\-close
From near.
.Sh MESSAGES
.It Li 0123456789abcdef0123456789abcdef Pq info
Left.
'''

TREE = {
    'meson.build': SCRIPT,
    'meson_options.txt': SCRIPT,
    'README.md': '# Name\n\n`qcow2-ublkd --queues 3`, and `git clone --quiet`.\n',
    'COPYING': '',
    '.gitignore': 'build*/\n',
    'program': HELP,
    'man/qcow2-ublkd.8': PAGE,
    'include/base.h': HEAD + '#ifndef BASE_H\n#define BASE_H\n\n#include <stdint.h>\n\n#endif\n',
    'include/image.h': HEAD + '#define MUTANT_LIST(m) m(NO_WAY)\n',
    'include/messages.h': HEAD + '#define MESSAGE_LIST(m) '
                                 'm(LEFT, INFO, "0123456789abcdef0123456789abcdef")\n',
    'include/io.h': HEAD + '#ifndef IO_H\n#define IO_H\n\n#include "base.h"\n\n#endif\n',
    'src/base/a.c': HEAD + '#include "base.h"\n\n#include <stdlib.h>\n\n'
                           'int a(void);\nint a(void)\n{\n\treturn 1; /* not: gets(x) */\n}\n',
    'src/format/f.c': HEAD + '#include "base.h"\n\n#include <errno.h>\n',
    'src/image/m.h': HEAD + '#include "base.h"\n#include "io.h"\n',
    'src/image/m.c': MACHINE,
    'tests/lint/length.ratchet': SCRIPT,
    'tests/native/CATALOGUE.md': '| case | test |\n| --- | --- |\n| a | `c.py` one, two; NO_WAY |\n'
                                 '| b | unit: a (test_a); `sim.c`; `matrix.py` row-*, b |\n',
    'tests/native/c.py': SCRIPT + 'def one():\n    pass\n\n\ndef two():\n    pass\n',
    'tests/native/matrix.py': SCRIPT,
    'tests/native/matrix_rows.py': SCRIPT + 'ROWS = [f"row-{x}", "b"]\n',
    'tests/sim/sim.c': HEAD,
    'tests/unit/test_a.c': HEAD + 'static void test_a(void)\n{\n}\n',
}

LONG = HEAD + 'void l(void)\n{\n' + '\t;\n' * 71 + '}\n'

# Lint, file, what is replaced (None: all of it), by what, and what the complaint says.
FAULTS = [
    ('includes', 'src/base/a.c', '"base.h"', '"m.h"', 'base may not include "m.h"'),
    ('includes', 'src/base/a.c', '"base.h"', '"io.h"', 'base may not include "io.h"'),
    ('includes', 'src/format/f.c', '<errno.h>', '<stdlib.h>', 'format is pure'),
    ('includes', 'src/image/m.h', '"io.h"', '<liburing.h>', '<liburing.h> is for io, ublk'),
    ('includes', 'src/image/m.c', '"m.h"', '"base.h"\n#include "m.h"', 'first include is not'),
    ('includes', 'include/base.h', '<stdint.h>', '"io.h"', 'base.h may not include "io.h"'),
    ('includes', 'include/io.h', '#include "base.h"', 'uint8_t x;', 'does not compile alone'),
    ('includes', 'src/image/m.h', '#include "io.h"', 'uint9_t x;', 'does not compile alone'),
    ('includes', 'include/new.h', None, HEAD, 'not in the table of contracts'),
    ('includes', 'src/attic/a.c', None, HEAD, 'in a room that is not in the table'),
    ('format', 'src/base/a.c', '\treturn 1;', '    return 1;', 'clang-formatted'),
    ('format', 'tests/unit/t.h', None, HEAD + 'int  x;\n', 'clang-formatted'),
    ('states', 'src/image/m.c', 'MAP* DONE WAIT', 'MAP* DONE', '- MAP -> WAIT    in the code'),
    ('states', 'src/image/m.c', 'LOAD~ MAP*', 'LOAD~ LOAD MAP*', '+ MAP -> LOAD    in the draw'),
    ('states', 'src/image/m.c', 'LOAD~ MAP*', 'LOAD MAP*', '- MAP -> LOAD~    in the code'),
    ('states', 'src/image/m.c', 'LOAD -> MAP DONE', 'LOAD -> MAP', '- LOAD -> DONE    in the co'),
    ('states', 'src/image/m.c', 'WAIT -> DONE', 'WAIT: the end', '- WAIT -> DONE    in the code'),
    ('states', 'src/image/m.c', ' s(W_WAIT)', '', 'W_WAIT is not in the list'),
    ('states', 'src/image/m.c', 's(W_WAIT)', 's(W_WAIT) s(W_X)', 'W_X has no case'),
    ('states', 'src/image/m.c', 'await_io(t, W_LOAD)', 'await_io(t, W_LOST)', 'W_LOST has no cas'),
    ('states', 'src/image/m.c', 'await_io(t, W_LOAD)', 'await_io(t, 7)', 'which names no state'),
    ('states', 'src/image/m.c', 'return rest(t)', 'return other(t)', 'no helper of this file'),
    ('states', 'src/image/m.c', 'return rest(t)', 'return STEP_DONE', 'ends steps of no machine'),
    ('states', 'src/image/m.c', 'return rest(t)', 'go(t, W_MAP)', 'go() without return'),
    ('states', 'src/image/m.c', ' *\t', ' *', 'no drawing above it'),
    ('length', 'src/base/l.c', None, LONG, 'l() has 71 lines, more than 70'),
    ('length', 'src/base/l.c', None, HEAD + '\n' * 800, '802 lines, more than 800'),
    ('length', 'tests/lint/length.ratchet', None, 'src/base/a.c a 99\n', 'has shrunk to 1 lines'),
    ('length', 'tests/lint/length.ratchet', None, 'src/base/a.c b 99\n', 'no such function'),
    ('banned', 'src/base/a.c', 'return 1;', 'return atoi("1");', 'atoi() cannot fail'),
    ('banned', 'src/base/a.c', 'return 1;', 'return system ("");', 'system() runs a shell'),
    ('banned', 'include/io.h', '#endif', '#define X(a, b) strcpy(a, b)\n#endif', 'strcpy()'),
    ('spdx', 'src/base/a.c', 'GPL-2.0-or-later', 'MIT', 'the first line is not'),
    ('spdx', 'src/base/a.c', '/* Purpose. */\n', '', 'no sentence of purpose'),
    ('spdx', 'meson.build', None, 'x\n', 'no "SPDX'),
    ('spdx', 'tests/unit/run', None, '#!/bin/sh\n', 'no "SPDX'),
    ('spdx', 'man/qcow2-ublkd.8', '.\\" SPDX', '.\\" XPDS', 'no "SPDX'),
    ('spdx', 'src/base/a.c', 'not:', '/'.join(['see ', 'work', 'x']), 'somebody\'s machine'),
    ('spdx', 'README.md', 'Name', 'Co-' + 'Authored-By: x', 'how it came about'),
    ('spdx', 'src/base/a.c', 'not:', 'fixes ' + '#12', 'an issue number'),
    ('spdx', 'NOTES', None, '', 'NOTES: does not belong to the top level'),
    ('spdx', '.gitignore', None, '', 'build*/ is not ignored'),
    ('catalogue', 'tests/native/c.py', 'def two', 'def three', 'there is no two in c.py'),
    ('catalogue', 'include/image.h', 'NO_WAY', 'A_WAY', 'no bug NO_WAY can be planted'),
    ('catalogue', 'tests/unit/test_a.c', 'test_a', 'test_b', 'there is no test_a in the unit'),
    ('catalogue', 'tests/native/matrix_rows.py', '"b"', '"c"', 'there is no b in matrix.py'),
    ('catalogue', 'tests/native/CATALOGUE.md', '`sim.c`', '`sum.c`', 'there is no sum.c'),
    ('catalogue', 'tests/native/CATALOGUE.md', '`c.py`', '`d.py`', 'there is no tests/native/d.py'),
    ('man', 'program', '--depth N', '--width N', '--depth has an entry in OPTIONS, but is not in'),
    ('man', 'program', '-q, ', '', '-q has an entry in OPTIONS'),
    ('man', 'man/qcow2-ublkd.8', '\\-\\-depth', '\\-\\-width', '--depth is in --help, but has no'),
    ('man', 'man/qcow2-ublkd.8', '--depth 3', '--width 3', '--width is no option of qcow2-ublkd'),
    ('messages', 'include/messages.h', '"0123', '"f123', 'lists 0123456789abcdef0123456789abcdef'),
    ('messages', 'include/messages.h', '"0123', '"f123', 'does not list f123456789abcdef'),
    ('messages', 'include/messages.h', 'INFO', 'WARN', 'its priority is warning'),
    ('messages', 'include/messages.h', '0123456789abcdef0', '0', 'LEFT is not one: 32 digits'),
    ('messages', 'include/messages.h', '\n#define', '\n#define N(m) m(NOT, INFO, '
     '"0123456789abcdef0123456789abcdef")\n#define', 'LEFT is another one\'s too'),
    ('man', 'man/qcow2-ublkd.8', '.Op Fl -close', '', 'look --close is in --help, but not in the'),
    ('man', 'man/qcow2-ublkd.8', '.Op Fl -depth', '.Op Fl -far', '--far is in the synopsis, but not'),
    ('man', 'man/qcow2-ublkd.8', '.Cm look', '.Cm peek', 'does not have the command look'),
    ('man', 'man/qcow2-ublkd.8', '.SH OPTIONS', '.SH OPTS', 'has no section OPTIONS'),
    ('man', 'program', '--close', '--near', '--near is in --help, but has no entry in COMMANDS'),
    ('man', 'program', '  look  ', '  peek  ', 'command look has a subsection, but is not in'),
    ('man', 'man/qcow2-ublkd.8', '.SS look', '.SS peek', 'command look is in --help, but has no'),
    ('man', 'README.md', '--queues', '--queue', '--queue is no option of qcow2-ublkd'),
]


def plant(root, path, old, new):
    path = os.path.join(root, path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if old is not None:
        with open(path, encoding='utf-8') as file:
            text = file.read()
        if old not in text:
            sys.exit(f'{path}: "{old}" is not in it')
        new = text.replace(old, new)
    with open(path, 'w', encoding='utf-8') as file:
        file.write(new)


def grow(root):
    shutil.rmtree(root, ignore_errors=True)
    for path, text in TREE.items():
        plant(root, path, None, text)
    os.chmod(os.path.join(root, 'program'), 0o755)
    shutil.copy(os.path.join(HERE, '..', '..', '.clang-format'), root)


def lint(name, root):
    arguments = [os.path.join(root, 'program')] if name == 'man' else []
    done = subprocess.run([os.path.join(HERE, 'run'), name, *arguments], text=True,
                          env={**os.environ, 'LINT_ROOT': root}, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    return done.returncode, done.stdout


def main():
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        root = os.path.join(folder, 'tree')
        skipped = set()
        for name in sorted({fault[0] for fault in FAULTS}):
            grow(root)
            if name == 'spdx':
                os.unlink(os.path.join(root, 'program'))
            status, output = lint(name, root)
            if status == 77:
                skipped.add(name)
            elif status:
                failures += 1
                print(f'{name} complains about a tree without faults:\n{output}')
        for name, path, old, new, complaint in FAULTS:
            if name in skipped:
                continue
            grow(root)
            plant(root, path, old, new)
            status, output = lint(name, root)
            if status in (0, 77) or complaint not in output:
                failures += 1
                print(f'{name} does not find "{new[:40]}" in {path} (status {status}):\n{output}')
    print(f'# {len(FAULTS)} faults planted, {failures} not found; skipped: {skipped or "nothing"}')
    return 1 if failures else 0


if __name__ == '__main__':
    sys.exit(main())
