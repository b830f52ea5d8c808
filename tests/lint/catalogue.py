#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What tests/native/CATALOGUE.md says is tested somewhere is there: files, cases, rows, planted bugs."""

import fnmatch
import re
import sys

import tree

PAGE = 'tests/native/CATALOGUE.md'
SCRIPT = re.compile(r'`(\w+\.py)`')
OTHER = re.compile(r'`(\w+[_.]\w+)`')
UNIT = re.compile(r'\bunit`?: (.*)')
MUTANT = re.compile(r'\b[A-Z]{2,}(?:_[A-Z]+)+\b')

report = tree.Report()


def read(path):
    try:
        return tree.read(path)
    except FileNotFoundError:
        return None


def check_items(number, script, text):
    """What follows the name of a script, up to the next semicolon: cases, or rows of the matrix."""
    source = read(f'tests/native/{script}')
    if source is None:
        return report(PAGE, number, f'there is no tests/native/{script}')
    rows = read('tests/native/matrix_rows.py') if script == 'matrix.py' else None
    known = re.findall(r'^def (\w+)', source, re.M)
    if rows is not None:
        known = re.findall(r'f?"([A-Za-z0-9{}-]+)"', rows, re.M)
        known = [re.sub(r'\{\w*\}', '*', name) for name in known]
    for item in re.sub(r'\([^)]*\)', '', text).split(','):
        item = item.strip().removeprefix('rows ').removeprefix('row ')
        found = any(fnmatch.fnmatch(name, item) or fnmatch.fnmatch(item, name) for name in known)
        if re.fullmatch(r'[a-z0-9*][\w*-]*', item) and not found:
            report(PAGE, number, f'there is no {item} in {script}')


def check_others(number, text):
    """Scripts of the VM, fuzzers, files of the simulator."""
    places = ['tests/vm/{}.sh', 'tests/fuzz/{}.c', 'tests/fuzz/image/{}.c', 'tests/sim/{}',
              'tests/native/{}', 'tests/unit/{}', 'tests/vm/{}']
    for name in OTHER.findall(text):
        if all(read(place.format(name)) is None for place in places):
            report(PAGE, number, f'there is no {name}')


def check_units(number, part):
    """unit: NAME (FUNCTION), NAME"""
    for name, function in re.findall(r'(?:^|, )(\w+)(?: \((\w+)\))?', part):
        source = read(f'tests/unit/test_{name}.c') or read(f'tests/unit/{name}.py')
        if source is None:
            report(PAGE, number, f'there is no unit test {name}')
        elif function and f'{function}(' not in source:
            report(PAGE, number, f'there is no {function} in the unit test {name}')


def main():
    page = read(PAGE)
    mutants = read('include/image.h') or ''
    config = read('tests/sim/config.c') or ''
    for number, line in enumerate((page or '').split('\n'), 1):
        cells = line.strip().strip('|').split(' | ')
        if not line.startswith('|') or len(cells) != 2:
            continue
        for name in MUTANT.findall(cells[1]):
            if f'm({name})' not in mutants:
                report(PAGE, number, f'no bug {name} can be planted')
        for name in re.findall(r'\bdraw_\w+', cells[1]):
            if f'{name}(' not in config:
                report(PAGE, number, f'there is no {name} in the simulator')
        check_others(number, cells[1])
        for part in cells[1].split(';'):
            part = part.strip()
            unit = UNIT.search(part)
            if unit:
                check_units(number, unit[1])
            scripts = SCRIPT.split(part)
            for script, text in zip(scripts[1::2], scripts[2::2]):
                check_items(number, script, text)
    if not page:
        report(PAGE, 0, 'is missing')
    return report.done()


sys.exit(main())
