#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The figures of tests/bench/run as a bar chart in SVG, on standard output.

usage: svg.py FILE...

A column for each kernel, a group of bars for each case. Cases differ by orders of magnitude, so
each group has a scale of its own.
"""

import html
import sys

import figures

COLOURS = {'ours': '#1a6fb5', 'qemu-nbd': '#c8553d', 'qsd': '#e0a458', 'loop': '#6b7a8f',
           'raw': '#b4bcc8'}
BAR = 12            # height of a bar
GAP = 22            # between groups, with the group's title in it
LABEL = 130         # width of the contenders' names
LENGTH = 230        # of the longest bar
VALUE = 60          # width of the figure behind it
COLUMN = LABEL + LENGTH + VALUE + 20
TOP = 50


def text(x, y, string, more=''):
    return f'<text x="{x}" y="{y}"{more}>{html.escape(string)}</text>'


def group(kernel, case, contenders, x, y):
    """The bars of one case, and how high they are together."""
    values = [(name, kernel.median(case.name, name)) for name in contenders]
    values = [(name, value) for name, value in values if value is not None]
    most = max(value for _, value in values)
    better = ', less is better' if case.unit == figures.MICROSECONDS else ''
    parts = [text(x, y + 14, f'{case.label} ({case.unit}{better})', ' font-weight="bold"')]
    y += GAP
    for name, value in values:
        length = max(1, round(LENGTH * value / most))
        parts.append(text(x + LABEL - 6, y + BAR - 2, figures.CONTENDERS[name],
                          ' text-anchor="end"'))
        parts.append(f'<rect x="{x + LABEL}" y="{y}" width="{length}" height="{BAR - 2}"'
                     f' fill="{COLOURS[name]}"/>')
        parts.append(text(x + LABEL + length + 4, y + BAR - 2, figures.short(value)))
        y += BAR
    return parts, GAP + BAR * len(values) + 4


def column(kernel, x):
    parts = [text(x, 20, f'Linux {kernel.version}', ' font-size="14" font-weight="bold"'),
             text(x, 36, f'{kernel.run["date"]}, {kernel.rounds()}')]
    y = TOP
    for case in kernel.cases():
        more, height = group(kernel, case, kernel.contenders(), x, y)
        parts += more
        y += height
    return parts, y


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    kernels = figures.load(sys.argv[1:])
    parts = []
    height = TOP
    for number, kernel in enumerate(kernels):
        more, end = column(kernel, 10 + number * COLUMN)
        parts += more
        height = max(height, end)
    width = 10 + COLUMN * len(kernels)
    print(f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height + 8}"'
          f' viewBox="0 0 {width} {height + 8}" font-family="sans-serif" font-size="11"'
          ' fill="#222">')
    print('<!-- SPDX-License-Identifier: GPL-2.0-or-later; made by tests/bench/svg.py -->')
    print(f'<rect width="{width}" height="{height + 8}" fill="#fff"/>')
    print('\n'.join(parts))
    print('</svg>')


main()
