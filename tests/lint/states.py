#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The state graph of every step function is the one that is drawn above it (see README.md).

usage: states.py [--print [NAME]]    print the drawings as the code would have them
"""

import re
import sys

import tree

MARKS = {'go': '', 'fail': '', 'await_io': '~', 'park': '*'}
VERB = re.compile(r'\b(go|fail|await_io|park)\(')
CALL = re.compile(r'\breturn (\w+)\(')
CASE = re.compile(r'^\t*case (\w+):', re.M)
EDGES = re.compile(r'^ \*\s+([A-Z][A-Z0-9_]*)\s+->((?:\s+[A-Z][A-Z0-9_]*[~*]?)+)\s*$')

# Hand a part over to another machine: no edge of this one.
HANDOVER = {'part_become'}

report = tree.Report()


def bare(state):
    return state.split('_', 1)[1]


def arguments(text, start):
    """The arguments of a call whose opening parenthesis lies just before @start."""
    found, depth, at = [], 0, start
    for i in range(start, len(text)):
        if text[i] in ',)' and depth == 0:
            found.append(text[at:i].strip())
            at = i + 1
            if text[i] == ')':
                return found
        depth += (text[i] in '([{') - (text[i] in ')]}')
    return found


class Machine:
    """What a step function and the helpers that end its steps do."""

    def __init__(self, path, function, by_name):
        self.path, self.function, self.by_name = path, function, by_name
        self.labels = CASE.findall(function.body)
        first = self.labels[0] if self.labels else ''
        self.prefix = first.split('_', 1)[0] + '_'
        self.states = [label for label in self.labels if label.startswith(self.prefix)]
        self.visited = set()
        self.edges = set()
        for states, text, line in self.cases():
            self.read(states, text, line)

    def complain(self, line, text):
        report(self.path, line, f'{self.function.name}: {text}')

    def cases(self):
        """The states and the text of each case; labels of inner switches are text."""
        body, states, start = self.function.body, [], 0
        for label in CASE.finditer(body):
            if label[1] not in self.states:
                continue
            if body[start:label.start()].strip() and states:
                yield states, body[start:label.start()], self.line_of(start)
                states = []
            states.append(label[1])
            start = label.end()
        yield states, body[start:], self.line_of(start)

    def line_of(self, offset):
        return self.function.line + 1 + self.function.body.count('\n', 0, offset)

    def read(self, states, text, line, trail=()):
        for match in VERB.finditer(text):
            at = line + text.count('\n', 0, match.start())
            # Also as an arm of `return err ? fail(...) : go(...);`.
            if not re.search(r'\breturn\b[^;{}]*$', text[:match.start()]):
                self.complain(at, f'{match[1]}() without return')
            target = arguments(text, match.end())[-1]
            targets = [word for word in re.findall(r'\b\w+\b', target)
                       if word.startswith(self.prefix) and word.isupper()]
            if not targets:
                self.complain(at, f'{match[1]}() to "{target}", which names no state')
            for to in targets:
                if to not in self.states:
                    self.complain(at, f'{to} has no case')
                self.edges |= {(bare(s), bare(to) + MARKS[match[1]]) for s in states}
        if re.search(r'\breturn STEP_DONE;', text):
            self.edges |= {(bare(s), 'DONE') for s in states if bare(s) != 'DONE'}
        for match in CALL.finditer(text):
            at = line + text.count('\n', 0, match.start())
            self.follow(states, match[1], at, trail)

    def follow(self, states, name, line, trail):
        """A helper that ends the step belongs to the case which returns it."""
        helper = self.by_name.get(name)
        if name in MARKS or name in HANDOVER or name in trail:
            return
        if not helper or 'enum step' not in helper.head:
            self.complain(line, f'return {name}(): no verb, and no helper of this file')
            return
        self.visited.add(name)
        self.read(states, helper.body, helper.line + 1, trail + (name,))


def edges_in(comment):
    """The edges that a comment draws; None when it draws nothing."""
    found = [EDGES.match(line) for line in comment.split('\n')]
    found = [row for row in found if row]
    return {(row[1], to) for row in found for to in row[2].split()} if found else None


def comment_before(text, offset):
    """The comment that ends right above this place."""
    above = text[:offset].rstrip()
    return above[above.rindex('/*'):] if above.endswith('*/') else ''


def state_list(machine, text):
    """Where the X macro with this machine's states is defined, and its states."""
    flat = text.replace('\\\n', '  ')
    for used in re.findall(r'^MACHINE_STATES\(\w+, (\w+)\)', flat, re.M):
        found = re.search(rf'^#define {used}\(\w+\)(.*)$', flat, re.M)
        listed = re.findall(r'\w+\((\w+)\)', found[1]) if found else []
        if set(listed) & set(machine.states):
            return found.start(), listed
    return None, []


def drawing_of(machine, text):
    """It stands directly above the list of states, or directly above the step function."""
    offset, listed = state_list(machine, text)
    function = machine.function
    for state in sorted(set(listed) ^ set(machine.states)):
        machine.complain(function.line, f'{state} ' + (
            'has no case' if state in listed else 'is not in the list for MACHINE_STATES()'))
    head = text.rindex(function.head.split('(')[0], 0, offset_of_line(text, function.line))
    for place in [offset, head]:
        drawn = edges_in(comment_before(text, place)) if place is not None else None
        if drawn:
            return drawn
    return None


def offset_of_line(text, line):
    return sum(len(row) + 1 for row in text.split('\n')[:line])


def rows(machine, edges):
    """A drawing, one line per state in the order of the cases."""
    names = [bare(state) for state in machine.states]
    names += [] if 'DONE' in names else ['DONE']
    order = {name: i for i, name in enumerate(names)}
    wide = max(map(len, names), default=0)
    for name in names:
        to = sorted((t for s, t in edges if s == name),
                    key=lambda t: (order.get(t.rstrip('~*'), len(order)), t))
        if to:
            yield f' *\t{name.ljust(wide)} -> {" ".join(to)}'


def check_machine(machine, text, wanted):
    if wanted is not None:
        if wanted in ('', machine.function.name):
            print(f'{machine.path}: {machine.function.name}')
            print('\n'.join(rows(machine, machine.edges)))
        return
    drawn = drawing_of(machine, text)
    line = machine.function.line
    if drawn is None:
        drawn = set()
        machine.complain(line, 'no drawing above it')
    for state, to in sorted(machine.edges - drawn):
        machine.complain(line, f'- {state} -> {to}    in the code, not in the drawing')
    for state, to in sorted(drawn - machine.edges):
        machine.complain(line, f'+ {state} -> {to}    in the drawing, not in the code')
    if drawn != machine.edges:
        print('the code would draw:')
        print('\n'.join(rows(machine, machine.edges)))


def main():
    wanted = None
    if sys.argv[1:2] == ['--print']:
        wanted = sys.argv[2] if len(sys.argv) > 2 else ''
    for path in tree.files('src', ends=['.c']):
        if path.startswith('src/task/'):
            continue
        text = tree.read(path)
        functions = tree.functions(text)
        by_name = {function.name: function for function in functions}
        used = set()
        for function in functions:
            if function.is_step():
                machine = Machine(path, function, by_name)
                check_machine(machine, text, wanted)
                used |= machine.visited | {function.name}
        for function in functions:
            if VERB.search(function.body) and function.name not in used | HANDOVER:
                report(path, function.line, f'{function.name}: ends steps of no machine')
    return report.done()


sys.exit(main())
