/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Claims: one change of a guest cluster's mapping at a time. */
#include "claim.h"

#include "cache.h"

struct claim *claim_in_the_way(struct shard *shard, struct part *part)
{
	const struct geometry *geo = &part->image->top.geo;
	uint64_t first = guest_cluster(geo, part->guest);

	list_for_each(node, &shard->claims) {
		struct claim *claim = container_of(node, struct claim, link);
		uint64_t last = first + clusters_touched(geo, part->guest, part->extent.len) - 1;

		if (mutant(NO_CLAIM) || claim->last_cluster < first || claim->first_cluster > last)
			continue;
		if (claim->first_cluster <= first)
			return claim;
		part->extent.len = (claim->first_cluster << geo->cluster_bits) - part->guest.byte;
	}
	return NULL;
}

void claim_begin(struct shard *shard, struct part *part, struct slice *slice)
{
	const struct geometry *geo = &part->image->top.geo;
	struct claim *claim = &part->claim;

	must(!part->claimed);
	claim->first_cluster = guest_cluster(geo, part->guest);
	claim->last_cluster =
		claim->first_cluster + clusters_touched(geo, part->guest, part->extent.len) - 1;
	waitq_init(&claim->waiters);
	list_add_tail(&shard->claims, &claim->link);
	part->claimed = true;
	part->slice = slice;
	slice_pin(slice);
}

void claim_end(struct part *part)
{
	must(part->claimed);
	list_del(&part->claim.link);
	if (!mutant(NO_CLAIM_WAKE))
		waitq_wake(&part->claim.waiters);
	part->claimed = false;
	slice_unpin(part->slice);
	part->slice = NULL;
}
