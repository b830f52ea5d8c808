/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guest range -> extent, over the slices in memory. */
#ifndef MAP_H
#define MAP_H

#include "engine.h"

/*
 * What is at @guest in one layer: a stretch of at most @len bytes with one answer, in contiguous
 * host bytes when it has any; of compressed clusters, one at most.  Takes no lock.  -EAGAIN when a
 * slice that is needed is not in memory, -EIO when the file is inconsistent there.
 */
int map_lookup(const struct node *node, struct guest guest, uint64_t len, struct extent *extent);

/*
 * What the guest reads at the part's start: down the chain, to the first layer that has something
 * to say.  part->extent and part->node are where that is; with -EAGAIN, part->node is the layer
 * whose slice is missing, and the next call goes on from there.  It may: layers below the top do
 * not change, and what the top had when it was looked at, a reader may see.
 */
int map_chain(struct part *part);

/* What holds something for an extent of the top layer. */
struct references extent_references(const struct geometry *geo, struct guest guest,
				    const struct extent *extent);

/* Is extent->host set? */
static inline bool extent_has_host(const struct extent *extent)
{
	return extent->kind == EXTENT_DATA || extent->preallocated;
}

/* Does this extent read as zeros, whatever lies below it? */
static inline bool extent_reads_zero(const struct extent *extent)
{
	return extent->kind == EXTENT_ZERO || (extent->kind == EXTENT_ABSENT && !extent->backed);
}

/* Is the L2 table for this address there and ours to change? */
static inline bool table_owned(const struct image *image, struct guest guest)
{
	struct l1_entry table =
		l1_decode(&image->top.geo,
			  be64_load(&image->top.l1[guest_l1_index(&image->top.geo, guest)]));

	return table.kind == L1_TABLE && table.copied;
}

/* The mapping makes no sense at part->guest: if the top layer's, the image is corrupt.  No lock held. */
void map_bad(struct part *part);

#endif
