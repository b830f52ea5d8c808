/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which host clusters hold metadata?  Whatever an image's tables claim, guest data never goes
 * there: each new cluster, each target of a write in place and each reference that is dropped is
 * looked up.
 *
 * A set of cluster numbers, of any size: a hash table of words, a bit in them for each of 64
 * neighbours.  Looking up takes no lock, and mostly meets one cache line.  What belongs to the set
 * is found by metadata.c at open; later, new tables and refcount blocks are added.
 */
#ifndef OVERLAP_H
#define OVERLAP_H

#include "engine.h"

/* How metadata may lie in a cluster that has some already. */
enum overlap_kind {
	OVERLAP_ALONE, /* not at all */
	OVERLAP_TABLE, /* L2 tables may be one: this L1 entry is without COPIED */
	OVERLAP_SNAPSHOT, /* the same, and the reference is a snapshot's */
};

int overlap_open(struct overlap *overlap);
void overlap_free(struct overlap *overlap);

/*
 * While nobody else uses the set: make it large enough for @words words more.  -ENOMEM.
 */
int overlap_reserve(struct overlap *overlap, uint64_t words);

/*
 * The same, for metadata that is found at open; room is made for it.  -EEXIST when something else
 * lies in one of the clusters, -ENOMEM.
 */
int overlap_find(struct overlap *overlap, uint64_t cluster, uint64_t clusters,
		 enum overlap_kind kind);

/* Clusters become metadata, or are no longer.  Any lane; there is room. */
void overlap_add(struct image *image, uint64_t cluster, uint64_t clusters);
void overlap_remove(struct image *image, uint64_t cluster, uint64_t clusters);

/* Is this metadata an L2 table that a snapshot refers to? */
bool overlap_is_snapshot(struct image *image, uint64_t cluster);

/* Up to where the file is known to reach; only ever farther.  The allocator's. */
static inline void overlap_reach(struct overlap *overlap, uint64_t cluster)
{
	atomic_store_explicit(&overlap->end, cluster, memory_order_relaxed);
}

#define OVERLAP_WORD_BITS 6u

static inline uint64_t overlap_hash(const struct overlap *overlap, uint64_t word)
{
	return word * UINT64_C(0x9e3779b97f4a7c15) >> overlap->shift;
}

/* The bits of 64 clusters. */
static inline uint64_t overlap_bits(const struct overlap *overlap, uint64_t word)
{
	for (uint64_t at = overlap_hash(overlap, word);; at = (at + 1) & overlap->mask) {
		const struct overlap_slot *slot = &overlap->slot[at];
		uint64_t key = atomic_load_explicit(&slot->key, memory_order_acquire);

		if (key == word + 1)
			return atomic_load_explicit(&slot->bits, memory_order_relaxed);
		if (!key)
			return 0;
	}
}

/* Those of [cluster, end) that are among the 64 of the word which has the first of them. */
static inline uint64_t overlap_mask(uint64_t cluster, uint64_t end)
{
	unsigned first = cluster % 64;
	uint64_t count = min_u64(end - cluster, 64 - first);

	return UINT64_MAX >> (64 - count) << first;
}

static inline uint64_t overlap_next(uint64_t cluster)
{
	return round_down(cluster, 64) + 64;
}

/* Is any of them metadata?  Any lane, no lock; false for an image that is never written. */
static inline bool overlap_hit(const struct image *image, uint64_t cluster, uint64_t clusters)
{
	const struct overlap *overlap = &image->overlap;
	uint64_t end = cluster + clusters;

	for (; overlap->slot && cluster < end; cluster = overlap_next(cluster))
		if (overlap_bits(overlap, cluster >> OVERLAP_WORD_BITS) &
		    overlap_mask(cluster, end))
			return true;
	return false;
}

/* Do any of them lie behind the end of the file? */
static inline bool overlap_behind(const struct image *image, uint64_t cluster, uint64_t clusters)
{
	return cluster + clusters > atomic_load_explicit(&image->overlap.end, memory_order_relaxed);
}

/* May a guest's bytes be written there? */
static inline bool overlap_allows(const struct image *image, uint64_t cluster, uint64_t clusters)
{
	return !overlap_hit(image, cluster, clusters) && !overlap_behind(image, cluster, clusters);
}

#endif
