/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which host clusters hold metadata?  Whatever an image's tables claim, guest data never goes
 * there: each new cluster and each target of a write in place is looked up.
 *
 * A bit per host cluster: header, L1 table, refcount table and blocks, L2 tables, snapshot table
 * and the L1 tables of snapshots.
 */
#ifndef OVERLAP_H
#define OVERLAP_H

#include "engine.h"

/*
 * For an image that will be written, after its tables are read; blocking.  -EIO or -ENOMEM with
 * the sentence in @why.
 */
int overlap_open(struct image *image, struct why *why);
void overlap_free(struct image *image);

/* Clusters become metadata, or are no longer.  Any lane. */
void overlap_add(struct image *image, uint64_t cluster, uint64_t clusters);
void overlap_remove(struct image *image, uint64_t cluster, uint64_t clusters);

static inline bool overlap_bit(const struct overlap *overlap, uint64_t cluster)
{
	return cluster < overlap->clusters &&
	       (atomic_load_explicit(&overlap->word[cluster / 64], memory_order_relaxed) >>
			(cluster % 64) &
		1);
}

/* Is any of them metadata?  Any lane, no lock. */
static inline bool overlap_hit(const struct image *image, uint64_t cluster, uint64_t clusters)
{
	for (uint64_t i = 0; i < clusters; i++)
		if (overlap_bit(&image->overlap, cluster + i))
			return true;
	return false;
}

#endif
