/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where an image keeps what: targets for pokes, and what nobody must write over. */
#ifndef PLACES_H
#define PLACES_H

#include "format.h"
#include "sparse.h"

enum place {
	PLACE_HEADER,
	PLACE_L1,
	PLACE_REFCOUNT_TABLE,
	PLACE_REFCOUNT_BLOCK,
	PLACE_TABLE, /* L2, of the active disk, with COPIED */
	PLACE_SHARED_TABLE, /* ... without */
	PLACE_SNAPSHOT_TABLE,
	PLACE_SNAPSHOT_L1,
	PLACE_SNAPSHOT_L2,
	PLACE_BITMAP, /* directory, tables, data */
	PLACE_DATA,
	PLACE_KINDS
};

#define PLACES_MOST 512u

/* A host cluster; bytes. */
struct places {
	struct geometry geo;
	uint64_t disk_bytes;
	bool valid; /* there is a header that can be understood */
	unsigned count[PLACE_KINDS];
	uint64_t at[PLACE_KINDS][PLACES_MOST];
};

/* Look at the file, whatever is in it; the first of each kind. */
void places_find(struct places *places, const struct sparse *file);

/* Does this cluster, counted from 0, belong to the kind? */
bool places_has(const struct places *places, enum place kind, uint64_t cluster);

#endif
