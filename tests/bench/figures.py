#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What is measured and what is aimed at, and the figures of files of tests/bench/run.

usage: figures.py cases|main        the names of the cases
       figures.py report FILE...    the table as text, and which targets are reached
"""

import collections
import json
import statistics
import sys

KIOPS = 'kIOPS'
MICROSECONDS = 'µs'

Case = collections.namedtuple('Case', 'name label unit')
# The order of all tables; the functions are in lib.sh.
CASES = [
    Case('randread-4k', '4k random read', KIOPS),
    Case('randwrite-4k', '4k random write', KIOPS),
    Case('randrw-4k', '4k random read and write', KIOPS),
    Case('mixed-512k', '512k random read and write', KIOPS),
    Case('jobs4-randread-4k', '4k random read, 4 jobs', KIOPS),
    Case('jobs4-randwrite-4k', '4k random write, 4 jobs', KIOPS),
    Case('latency-4k', '4k read, depth 1: latency', MICROSECONDS),
    Case('fsync-4k', '4k write and fsync, depth 1', KIOPS),
    Case('write-512k', '512k sequential write', KIOPS),
    Case('empty-randwrite-4k', 'empty image, 4k random write', KIOPS),
    Case('empty-write-512k', 'empty image, 512k sequential write', KIOPS),
    Case('empty-fsync-4k', 'empty image, 4k write and fsync, depth 1', KIOPS),
    Case('overlay-randread-4k', 'overlay, 4k random read of the base', KIOPS),
    Case('overlay-randwrite-4k', 'overlay, 4k random write, copying', KIOPS),
    Case('zlib-randread-64k', 'zlib, 64k random read', KIOPS),
    Case('zstd-randread-64k', 'zstd, 64k random read', KIOPS),
    Case('slow-randwrite-4k', 'disk of 20 ms, 4k random write', KIOPS),
    Case('huge-randread-4k-1m', '1 TiB, L2 cache of 1 MiB, 4k random read', KIOPS),
    Case('huge-randread-4k-32m', '1 TiB, L2 cache of 32 MiB, 4k random read', KIOPS),
]
MAIN = [case.name for case in CASES[:4]]
CASE = {case.name: case for case in CASES}

CONTENDERS = {
    'ours': 'qcow2-ublkd',
    'qemu-nbd': 'qemu-nbd',
    'qsd': 'qemu-storage-daemon',
    'loop': 'loop, raw file',
    'raw': 'raw file itself',
}

# Our figure is wanted to be `factor` times the other's at least (of latencies: at most). The other
# is a contender in the same case, or our own figure in another one.
# Kernels: 6 is up to 6.x, 7 from 7.x on, None is both.
Target = collections.namedtuple('Target', 'case other factor kernel stage')
BASIC = 'first'
ZERO_COPY = 'with zero copy'
FINAL = 'final'
TARGETS = [
    Target('randread-4k', 'qemu-nbd', 4, None, BASIC),
    Target('randwrite-4k', 'qemu-nbd', 4, None, BASIC),
    Target('mixed-512k', 'qemu-nbd', 6, 6, BASIC),
    Target('mixed-512k', 'qemu-nbd', 3, 7, BASIC),
    Target('randread-4k', 'qemu-nbd', 6, None, FINAL),
    Target('randwrite-4k', 'qemu-nbd', 6, None, FINAL),
    Target('randrw-4k', 'qemu-nbd', 6, None, FINAL),
    Target('mixed-512k', 'qemu-nbd', 10, None, FINAL),
    Target('randread-4k', 'loop', 1.1, 6, FINAL),
    Target('randwrite-4k', 'loop', 1.0, 6, FINAL),
    Target('randrw-4k', 'loop', 1.0, 6, FINAL),
    Target('mixed-512k', 'loop', 0.7, 6, FINAL),
    Target('randread-4k', 'loop', 0.75, 7, FINAL),
    Target('randwrite-4k', 'loop', 0.75, 7, FINAL),
    Target('randrw-4k', 'loop', 0.75, 7, FINAL),
    Target('randread-4k', 'loop', 0.85, 7, ZERO_COPY),
    Target('randwrite-4k', 'loop', 0.85, 7, ZERO_COPY),
    Target('randrw-4k', 'loop', 0.85, 7, ZERO_COPY),
    Target('mixed-512k', 'loop', 1.0, 7, ZERO_COPY),
    Target('jobs4-randread-4k', 'qemu-nbd', 6, None, FINAL),
    Target('jobs4-randwrite-4k', 'qemu-nbd', 6, None, FINAL),
    Target('jobs4-randread-4k', 'randread-4k', 1.0, None, FINAL),
    Target('jobs4-randwrite-4k', 'randwrite-4k', 1.0, None, FINAL),
    Target('latency-4k', 'qemu-nbd', 0.5, None, FINAL),
    Target('fsync-4k', 'qemu-nbd', 2.5, None, FINAL),
    Target('empty-randwrite-4k', 'qemu-nbd', 8, None, FINAL),
    Target('empty-write-512k', 'qemu-nbd', 10, None, FINAL),
    Target('empty-write-512k', 'write-512k', 0.8, None, FINAL),
    Target('empty-fsync-4k', 'qemu-nbd', 3, None, FINAL),
    Target('overlay-randread-4k', 'qemu-nbd', 5, None, FINAL),
    Target('overlay-randwrite-4k', 'qemu-nbd', 3, None, FINAL),
    Target('zlib-randread-64k', 'qemu-nbd', 2, None, FINAL),
    Target('zstd-randread-64k', 'qemu-nbd', 2, None, FINAL),
    Target('slow-randwrite-4k', 'loop', 0.9, None, FINAL),
    Target('huge-randread-4k-1m', 'qemu-nbd', 5, None, FINAL),
    Target('huge-randread-4k-32m', 'qemu-nbd', 5, None, FINAL),
]


class Kernel:
    """The figures of one boot, in one run."""

    def __init__(self, run, data):
        self.run = run
        self.version = data['version']
        self.facts = data
        self.values = collections.defaultdict(dict)
        for sample in data['samples']:
            values = self.values[sample['case'], sample['contender']]
            values[sample['round']] = sample['value']

    def rounds(self):
        count = len({number for values in self.values.values() for number in values})
        return f'medians of {count} rounds' if count > 1 else 'one round'

    def conditions(self):
        """One sentence about where the figures come from."""
        pin = self.run.get('pin')
        pinned = f'fio and server pinned to processors {pin}, ' if pin else ''
        return (f'Linux {self.version}, {self.facts["cpus"]} × {self.facts["cpu"]}'
                f' on {self.run["cpus"]} × {self.run["cpu"]}, {self.run["date"]},'
                f' {pinned}{self.rounds()}')

    def cases(self):
        return [case for case in CASES if any(key[0] == case.name for key in self.values)]

    def contenders(self):
        return [name for name in CONTENDERS if any(key[1] == name for key in self.values)]

    def numbers(self, case, contender):
        return list(self.values.get((case, contender), {}).values())

    def median(self, case, contender):
        numbers = self.numbers(case, contender)
        return statistics.median(numbers) if numbers else None

    def _pair(self, case, other):
        return (case, other) if other in CONTENDERS else (other, 'ours')

    def ratio(self, case, other):
        """Of the medians: ours in a case, to a contender there or to ours in another case."""
        ours, theirs = self.median(case, 'ours'), self.median(*self._pair(case, other))
        return ours / theirs if ours is not None and theirs else None

    def ratios(self, case, other):
        """Round by round, of what was measured close together."""
        ours = self.values.get((case, 'ours'), {})
        theirs = self.values.get(self._pair(case, other), {})
        return [ours[i] / theirs[i] for i in ours if theirs.get(i)]

    def judged(self):
        """(target, ratio, reached) for each target that was measured."""
        for target in TARGETS:
            ratio = self.ratio(target.case, target.other)
            major = 6 if int(self.version.split('.')[0]) < 7 else 7
            if ratio is None or target.kernel not in (None, major):
                continue
            latency = CASE[target.case].unit == MICROSECONDS
            yield target, ratio, ratio <= target.factor if latency else ratio >= target.factor


def load(paths):
    """The kernels in all these files."""
    kernels = []
    for path in paths:
        with open(path, encoding='utf-8') as file:
            run = json.load(file)
        kernels += [Kernel(run, kernel) for kernel in run['kernels']]
    return kernels


def short(number):
    """Three digits, or what is left of them."""
    if number is None:
        return '-'
    for least, decimals in ((100, 0), (10, 1), (1, 2)):
        if number >= least:
            return f'{number:.{decimals}f}'
    return f'{number:.3f}'


def grid(rows):
    """Lines with the columns lined up: the first to the left, the others to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows)]
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        yield '  '.join(cells).rstrip()


def cell_with_range(kernel, case, contender):
    numbers = kernel.numbers(case, contender)
    if not numbers:
        return '-'
    return f'{short(kernel.median(case, contender))} ({short(min(numbers))}-{short(max(numbers))})'


def report_kernel(kernel):
    contenders = kernel.contenders()
    print(kernel.conditions())
    print(f'median (least-most); load of the machine {kernel.run["load_before"]} before,'
          f' {kernel.run["load_after"]} after\n')
    rows = [['case', ''] + contenders + ['ours/qemu-nbd', 'ours/loop']]
    for case in kernel.cases():
        rows.append([case.label, case.unit]
                    + [cell_with_range(kernel, case.name, name) for name in contenders]
                    + [short(kernel.ratio(case.name, name)) for name in ('qemu-nbd', 'loop')])
    print('\n'.join(grid(rows)) + '\n')

    rows = [['target', 'case', 'of', 'wanted', 'is', 'rounds', '']]
    for target, ratio, reached in kernel.judged():
        each = kernel.ratios(target.case, target.other)
        sign = '<=' if CASE[target.case].unit == MICROSECONDS else '>='
        rows.append([target.stage, target.case, target.other, f'{sign} {target.factor}',
                     short(ratio), f'{short(min(each))}-{short(max(each))}' if each else '-',
                     'reached' if reached else 'NOT REACHED'])
    if len(rows) > 1:
        print('\n'.join(grid(rows)) + '\n')


def main():
    if sys.argv[1:] == ['cases']:
        print(*(case.name for case in CASES))
    elif sys.argv[1:] == ['main']:
        print(*MAIN)
    elif len(sys.argv) > 2 and sys.argv[1] == 'report':
        for kernel in load(sys.argv[2:]):
            report_kernel(kernel)
    else:
        sys.exit(__doc__)


if __name__ == '__main__':
    main()
