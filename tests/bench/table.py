#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The figures of tests/bench/run as tables in Markdown, one for each kernel, and one of what was aimed at.

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


def hardest(kernel):
    """{(case, of): (target, ratio, reached)}: of several aims the highest."""
    aims = {}
    for judged in kernel.judged():
        target = judged[0]
        key = target.case, target.other
        if key not in aims or target.factor > aims[key][0].factor:
            aims[key] = judged
    return aims


def aim_cells(kernel, judged):
    if not judged:
        return ['', '']
    target, ratio, reached = judged
    ratios = kernel.ratios(target.case, target.other)
    shown = figures.short(ratio) if reached else f'**{figures.short(ratio)}**'
    if ratios:
        shown += f' ({figures.short(min(ratios))}–{figures.short(max(ratios))})'
    return [f'{target.factor:g}', shown]


def aims_table(kernels):
    aims = [hardest(kernel) for kernel in kernels]
    keys = dict.fromkeys((target.case, target.other) for target in figures.TARGETS)
    head = ['case', 'of']
    for kernel in kernels:
        version = '.'.join(kernel.version.split('.')[:2])
        head += [f'{version}: wanted', 'is (rounds)']
    yield '| ' + ' | '.join(head) + ' |'
    yield '| --- | --- |' + ' ---: |' * (len(head) - 2)
    for key in keys:
        if any(key in each for each in aims):
            cells = [cell for kernel, each in zip(kernels, aims)
                     for cell in aim_cells(kernel, each.get(key))]
            yield '| ' + ' | '.join([*key, *cells]) + ' |'


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    kernels = figures.load(sys.argv[1:])
    for kernel in kernels:
        print('\n'.join(table(kernel)))
    print('\n'.join(aims_table(kernels)))


main()
