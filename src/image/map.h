/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guest range -> extent, over the slices in memory. */
#ifndef MAP_H
#define MAP_H

#include "engine.h"

/*
 * What is at @guest: a stretch of at most @len bytes with one answer, in contiguous host bytes
 * when it has any.  Takes no lock.  -EAGAIN when a slice that is needed is not in memory, -EIO
 * when the image is inconsistent there.
 */
int map_lookup(const struct image *image, struct guest guest, uint64_t len, struct extent *extent);

/* Does this extent read as zeros? */
static inline bool extent_reads_zero(const struct extent *extent)
{
	return extent->kind != EXTENT_DATA;
}

/* Is the L2 table for this address there and ours to change? */
static inline bool table_owned(const struct image *image, struct guest guest)
{
	struct l1_entry table =
		l1_decode(&image->geo, be64_load(&image->l1[guest_l1_index(&image->geo, guest)]));

	return table.kind == L1_TABLE && table.copied;
}

#endif
