/* SPDX-License-Identifier: GPL-2.0-or-later */
/* L2 tables that are missing, or shared with a snapshot. */
#ifndef TABLE_H
#define TABLE_H

#include "engine.h"

int tables_open(struct image *image);
void tables_free(struct image *image);

/*
 * The L2 table for @guest is not ours to change: see that it is made, on @lane.  Returns what to
 * park on before looking again, or NULL when it is ours by now.  Under tables.lock.
 */
struct waitq *table_make(struct image *image, struct guest guest, struct lane *lane);

#endif
