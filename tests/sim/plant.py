#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Copy the engine's sources with a switch at each barrier, so that the program `mutants` can take out
one at a time.  What counts as a barrier is in the tables below; where there is one, the sources say,
so that no list can be forgotten.

    plant.py OUTPUT_FOLDER SOURCE...

writes planted_X.c for each X.c, and planted_sites.c, the list of what can be taken out.
"""
import os
import re
import sys

# Calls that stand alone, and are left out.
LEFT_OUT = {
    "wake": [
        "waitq_wake", "waitq_fail", "shard_relieve", "starved_look", "want_room",
        "writeback_want", "writeback_want_locked", "writeback_lazily_locked",
        r"lane->ring->kick", "wake_all", "wake_flush", "wake_alloc", "wake_shard",
    ],
    "epoch": ["part_enter", "part_leave", "epoch_leave"],
    "hand-over": [
        "arena_mark", "arena_writing", "arena_written", "arena_set_release", "arena_set_stock",
        "arena_drop_begin", "arena_broken", "arena_closed", "set_run", "mark_slice", "mark_l1",
    ],
    "order": [
        "hold_for_waiters", "forget_new_entries", "image_break",
        r"atomic_fetch_add(?=\(&slice->generation)",
        r"atomic_store(?=\(&of->now|\(&of->wanted, true|\(&directory)",
        r"atomic_store_explicit(?=\(&slice->unsynced, true|\(cell)",
    ],
}

# Questions, and the answer that takes no care.
ANSWERED = {
    "sync": {"sync_believable": "true"},
    "claim": {"claim_in_the_way": "NULL"},
    "epoch": {"epoch_passed": "true", "only_in": "true", "epoch_enter": "EPOCH_OUTSIDE"},
    "law 7": {"image_broken": "0"},
}

# A sync of no file; an edge between two states that does not wait.
SYNCS = ["sync_start"]
EDGES = ["await_io"]


def blank_comments(text):
    """The same length and lines, without comments and strings."""
    pattern = re.compile(r'/\*.*?\*/|"(?:\\.|[^"\\])*"', re.S)
    return pattern.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)


def call_end(text, opening):
    """The index of the parenthesis that closes the one at @opening."""
    depth = 0
    for i in range(opening, len(text)):
        depth += {"(": 1, ")": -1}.get(text[i], 0)
        if depth == 0:
            return i
    sys.exit("plant.py: parentheses do not match")


def last_argument(text, opening, closing):
    """Where the last argument of a call begins."""
    depth, begin = 0, opening + 1
    for i in range(opening + 1, closing):
        depth += {"(": 1, ")": -1}.get(text[i], 0)
        if depth == 0 and text[i] == ",":
            begin = i + 1
    return begin


def calls(text, name):
    """All (start, opening, closing) of calls of @name within functions."""
    for match in re.finditer(rf"(?<![\w>.]){name}\(", text):
        line = text.rfind("\n", 0, match.start()) + 1
        if text[line] == "\t":
            yield match.start(), match.end() - 1, call_end(text, match.end() - 1)


def stands_alone(text, start, closing):
    before = text[:start].rstrip()
    if re.search(r"if \(mutant\([^;{}]*\)$", before):
        return False  # a planted bug already
    return (before[-1] in ";{})" or re.search(r"(case \w+:|\belse)$", before)) and \
        text[closing + 1:].lstrip().startswith(";")


def never_entered(text, name, opening, closing):
    """Who has not entered an epoch, because that is what was taken out, must not leave one."""
    if name != "epoch_leave":
        return ""
    bucket = text[last_argument(text, opening, closing):closing].strip()
    return f" || {bucket} == EPOCH_OUTSIDE"


def where(text, start):
    """The function, or the state of a machine, that this place is in."""
    before = text[:start]
    function = re.findall(r"^\w[^\n;=]*?\b(\w+)\([^;{}]*\n?\{", before, re.M)
    begin = before.rfind("\n{")
    state = re.findall(r"case (\w+):", before[begin:])
    return state[-1] if state and "switch (t->state)" in before[begin:] else function[-1]


class Planter:
    def __init__(self):
        self.sites = []
        self.names = {}

    def site(self, kind, name, call):
        what = " ".join(call.split())
        nth = self.names[name, what] = self.names.get((name, what), 0) + 1
        self.sites.append((kind, name, what if nth == 1 else f"{what} ({nth})"))
        return len(self.sites)

    def plant(self, source, text):
        plain = blank_comments(text)
        edits = []

        def note(kind, start, closing, make):
            edits.append((start, closing, kind, make))

        for kind, names in LEFT_OUT.items():
            for name in names:
                for start, opening, closing in calls(plain, name):
                    if stands_alone(plain, start, closing):
                        unless = never_entered(plain, name, opening, closing)
                        note(kind, start, closing, lambda n, call, unless=unless:
                             f"PLANTED({n}){unless} ? (void)0 : (void){call}")
        for kind, answers in ANSWERED.items():
            for name, answer in answers.items():
                for start, _, closing in calls(plain, name):
                    note(kind, start, closing, lambda n, call, answer=answer:
                         f"(PLANTED({n}) ? {answer} : {call})")
        for name in SYNCS:
            for start, opening, closing in calls(plain, name):
                cut = last_argument(plain, opening, closing) - start
                note("sync", start, closing, lambda n, call, cut=cut:
                     f"{call[:cut]} PLANTED({n}) ? 0 : ({call[cut:-1].strip()}))")
        for name in EDGES:
            for start, _, closing in calls(plain, name):
                note("edge", start, closing, lambda n, call:
                     f"(PLANTED({n}) ? planted_no_{call} : {call})")
        out, at = [f'#line 1 "{source}"\n#include "planted.h"\n#line 1 "{source}"\n'], 0
        for start, closing, kind, make in sorted(edits, key=lambda e: e[:2]):
            if start < at:
                continue  # within a call that is switched as a whole
            call = text[start:closing + 1]
            name = f"{os.path.basename(source)[:-2]}/{where(plain, start)}"
            out += [text[at:start], make(self.site(kind, name, call), call)]
            at = closing + 1
        out.append(text[at:])
        return "".join(out)

    def table(self):
        lines = ["/* Made by plant.py. */", '#include "planted.h"', "",
                 "const struct planted_site planted_sites[] = {"]
        for kind, name, what in self.sites:
            text = what.replace("\\", "\\\\").replace('"', '\\"')
            lines.append(f'\t{{ "{kind}", "{name}", "{text}" }},')
        lines += ["};", f"const unsigned planted_count = {len(self.sites)};", ""]
        return "\n".join(lines)


def main():
    folder, sources = sys.argv[1], sys.argv[2:]
    planter = Planter()
    for source in sources:
        with open(source, encoding="utf-8") as file:
            planted = planter.plant(source, file.read())
        with open(os.path.join(folder, "planted_" + os.path.basename(source)), "w",
                  encoding="utf-8") as file:
            file.write(planted)
    with open(os.path.join(folder, "planted_sites.c"), "w", encoding="utf-8") as file:
        file.write(planter.table())


if __name__ == "__main__":
    main()
