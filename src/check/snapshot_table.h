/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A new snapshot table in place of one with entries that are incomplete or too long. */
#ifndef CHECK_SNAPSHOT_TABLE_H
#define CHECK_SNAPSHOT_TABLE_H

#include "state.h"

/*
 * Write the snapshots that survey() has seen into a new table and switch to it, the refcounts
 * first.  The old table stays, as a leak for the next look.  Counts what it has fixed.  0, or
 * -errno with the sentence.
 */
int snapshot_table_rewrite(struct check *check);

#endif
