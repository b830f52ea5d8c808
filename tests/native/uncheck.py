#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Copy the engine's sources without what it checks while it serves, to see what that costs.

    uncheck.py OUTPUT_FOLDER SOURCE...

writes unchecked_X.c for each X.c.  For measurements only: see hit_cost.py.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "sim"))
from plant import blank_comments, calls, stands_alone  # pylint: disable=wrong-import-position

# What they say when nothing is wrong; and what keeps the set of metadata up to date.
ANSWERS = {"overlap_allows": "(1 || {})", "target_is_bad": "(0 && {})", "overlap_hit": "(0 && {})",
           "may_drop": "(1 || {})"}
LEFT_OUT = ["overlap_add", "overlap_remove", "overlap_reach"]


def uncheck(source, text):
    plain = blank_comments(text)
    edits = []
    for name, answer in ANSWERS.items():
        edits += [(start, closing, answer) for start, _, closing in calls(plain, name)]
    for name in LEFT_OUT:
        edits += [(start, closing, "(void)0") for start, _, closing in calls(plain, name)
                  if stands_alone(plain, start, closing)]
    out, at = [f'#line 1 "{source}"\n'], 0
    for start, closing, answer in sorted(edits):
        if start >= at:
            out += [text[at:start], answer.format(text[start:closing + 1])]
            at = closing + 1
    return "".join(out + [text[at:]])


def main():
    folder, sources = sys.argv[1], sys.argv[2:]
    for source in sources:
        with open(source, encoding="utf-8") as file:
            text = uncheck(source, file.read())
        with open(os.path.join(folder, "unchecked_" + os.path.basename(source)), "w",
                  encoding="utf-8") as file:
            file.write(text)


if __name__ == "__main__":
    main()
