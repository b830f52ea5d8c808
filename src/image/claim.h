/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Claims: who changes the mapping of a guest cluster claims it first, so that nobody else does
 * until the change is made.  A claim lies within one slice, which it pins.  All under the lock
 * of the slice's shard.
 */
#ifndef CLAIM_H
#define CLAIM_H

#include "engine.h"

/* Number of clusters that [guest, guest + len) touches. */
static inline uint32_t clusters_touched(const struct geometry *geo, struct guest guest,
					uint64_t len)
{
	return (uint32_t)((guest_in_cluster(geo, guest) + len - 1) >> geo->cluster_bits) + 1;
}

/*
 * Does another claim lie in the way of part->extent?  When it has the first cluster, it is
 * returned, to be waited for; when it begins later, the extent is cut short before it.
 */
struct claim *claim_in_the_way(struct shard *shard, struct part *part);

/* Claim the clusters of part->extent, and pin @slice as part->slice. */
void claim_begin(struct shard *shard, struct part *part, struct slice *slice);

/* Give up claim and pin; whoever waits looks again. */
void claim_end(struct part *part);

#endif
