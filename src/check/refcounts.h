/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The refcount table and blocks, and what they say against what was counted. */
#ifndef CHECK_REFCOUNTS_H
#define CHECK_REFCOUNTS_H

#include "state.h"

/* Read the refcount table; count it and its blocks.  0, or -errno with the sentence. */
int refcounts_read(struct check *check);

/*
 * Hold all refcounts against the references that were counted: counts leaks and corruptions, and
 * says whether blocks can be put right one by one.  0, or -errno with the sentence.
 */
int refcounts_compare(struct check *check);

/* Is there a refcount block for @cluster? */
bool refcounts_cover(const struct check *check, uint64_t cluster);

/*
 * Write what was counted into the blocks, which refcounts_compare() found usable; @raise: also
 * where a refcount is too low.  Counts what it has fixed.  0, or -errno with the sentence.
 */
int refcounts_fix(struct check *check, bool raise);

/*
 * Make new blocks and a new table, with a refcount for all that was counted except the old ones,
 * in places that nobody refers to, and switch to them.  After a crash it is the old or the new
 * one.  0, or -errno with the sentence.
 */
int refcounts_rebuild(struct check *check);

#endif
