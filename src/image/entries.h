/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Entries of L2 tables under the shard's lock: what they are, what they say, and how they change.
 * Numbers of entries count from the start of the slice.
 */
#ifndef ENTRIES_H
#define ENTRIES_H

#include "engine.h"

/*
 * The subclusters of one cluster that the bytes [from, to) touch, as bits of one half of a bitmap.
 * @from, @to and the cluster's @start count from one point.
 */
static inline uint32_t subclusters_touched(const struct geometry *geo, uint64_t start,
					   uint64_t from, uint64_t to)
{
	uint64_t first = (max_u64(from, start) - start) >> geo->subcluster_bits;
	uint64_t last = (min_u64(to, start + geo->cluster_bytes) - 1 - start) >>
			geo->subcluster_bits;

	return UINT32_MAX >> (SUBCLUSTERS - 1 - (last - first)) << first;
}

struct l2_word slice_entry(const struct slice *slice, uint32_t entry);

/*
 * Change an entry; by who holds the claim.  Both words of an extended entry at once, for who looks
 * without the lock; and for who finds the memory of a process that was killed, in an order in which
 * the entry means at any time what it meant before, or will mean, where the bytes of the new host
 * cluster are there already.
 */
void slice_set_entry(struct slice *slice, uint32_t entry, struct l2_word word);

/*
 * Extended L2.  Which subclusters read as zeros, when @backed says whether there is a layer below;
 * and which ones nobody else has the bytes of.
 */
uint32_t entry_zeros(struct l2_word word, bool backed);
uint32_t entry_data(struct l2_word word);

/*
 * Does all of part->extent read as zeros, whatever lies below it?  The same as extent_reads_zero()
 * when the extent is what map_lookup() said, and not more.
 */
bool entries_read_zero(const struct part *part, const struct slice *slice);

/*
 * Let the decision for part->extent hold up to the end of the cluster that the extent ends in, or
 * for @len bytes: subclusters of one cluster share the host cluster, or have none.
 */
static inline void extent_fill_cluster(const struct geometry *geo, struct guest guest, uint64_t len,
				       struct extent *extent)
{
	uint64_t end = round_up(guest.byte + extent->len, geo->cluster_bytes);

	extent->len = min_u64(len, end - guest.byte);
}

#endif
