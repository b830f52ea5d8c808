/* SPDX-License-Identifier: GPL-2.0-or-later */
/* L1 and L2 tables, the active ones and those of snapshots. */
#ifndef CHECK_MAPPING_H
#define CHECK_MAPPING_H

#include "entry.h"
#include "state.h"

/* Entries of an L2 table that were read, and where. */
struct l2_view {
	struct l2_table *table;
	uint8_t *bytes; /* check->buffer */
	uint32_t entries; /* the file has; all behind them are 0 */
};

/* Read an L2 table.  0, or -errno with the sentence. */
int l2_view_read(struct check *check, struct l2_table *table, struct l2_view *view);

struct l2_word l2_view_get(const struct check *check, const struct l2_view *view, uint32_t index);
void l2_view_set(const struct check *check, struct l2_view *view, uint32_t index,
		 struct l2_word word);

/*
 * Can the table be written?  Not if another table lies there; and if somebody's data lies there,
 * only when the table makes sense, since otherwise it is rather data than a table.
 */
bool l2_table_is_own(struct check *check, const struct l2_table *table);

/*
 * Count the active L1 table, or those of all snapshots, which were collected in @l1; and collect the L2
 * tables that they lead to.  0, or -errno with the sentence: an I/O error or -ENOMEM.
 */
int mapping_add_active(struct check *check);
int mapping_add_snapshots(struct check *check, const struct ranges *l1);

/* Count the L2 tables that were collected, and the clusters that they map.  Errors as above. */
int mapping_count(struct check *check);

/* Zero the L2 entries that entry_mend() can mend, where the table can be written.  Errors as above. */
int mapping_mend(struct check *check);

/* When all is counted: tables that mapping_mend() cannot write, though there is something to mend, last. */
void mapping_note_lasting(struct check *check);

/* The table at @host among those that were collected, or NULL. */
struct l2_table *mapping_find(struct check *check, struct host host);

void mapping_free(struct l2_tables *tables);

#endif
