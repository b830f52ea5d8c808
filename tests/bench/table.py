#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The figures of tests/bench/run as tables in Markdown, one for each kernel.

usage: table.py FILE...
"""

import sys

import figures


def times(ratio):
    return '' if ratio is None else f'× {figures.short(ratio)}'


def table(kernel):
    contenders = kernel.contenders()
    ratios = [name for name in ('qemu-nbd', 'loop') if name in contenders]
    yield kernel.conditions() + ':'
    yield ''
    head = [''] + [figures.CONTENDERS[name] for name in contenders]
    head += [f'against {name}' for name in ratios]
    yield '| ' + ' | '.join(head) + ' |'
    yield '| --- |' + ' ---: |' * (len(head) - 1)
    for case in kernel.cases():
        cells = [f'{case.label}, {case.unit}']
        for name in contenders:
            median = kernel.median(case.name, name)
            cells.append('' if median is None else figures.short(median))
        cells += [times(kernel.ratio(case.name, name)) for name in ratios]
        yield '| ' + ' | '.join(cells) + ' |'
    yield ''


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    for kernel in figures.load(sys.argv[1:]):
        print('\n'.join(table(kernel)))


main()
