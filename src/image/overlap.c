/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The set: open addressing, and a slot that once has a key keeps it.  Keys are put in by
 * compare-and-swap, bits by atomic operations, so there is no lock.
 */
#include "overlap.h"

#include <errno.h>
#include <sys/mman.h>

#define SLOTS_LEAST 64u

/* The slot of this word; a free one becomes it. */
static uint64_t slot_of(struct overlap *overlap, uint64_t word)
{
	uint64_t at = overlap_hash(overlap, word);

	for (uint64_t tries = 0; tries <= overlap->mask; tries++) {
		struct overlap_slot *slot = &overlap->slot[at];
		uint64_t key = atomic_load_explicit(&slot->key, memory_order_acquire);

		if (!key && atomic_compare_exchange_strong(&slot->key, &key, word + 1)) {
			atomic_fetch_add_explicit(&overlap->used, 1, memory_order_relaxed);
			return at;
		}
		if (key == word + 1)
			return at;
		at = (at + 1) & overlap->mask;
	}
	must_fail("there is room for all metadata", __FILE__, __LINE__);
}

static int set_size(struct overlap *overlap, uint64_t slots)
{
	struct overlap old = *overlap;

	overlap->slot = sparse_map(slots * sizeof(*overlap->slot));
	overlap->found = sparse_map(slots * sizeof(*overlap->found));
	overlap->mask = slots - 1;
	overlap->shift = 64 - (unsigned)__builtin_ctzll(slots);
	if (!overlap->slot || !overlap->found) {
		overlap_free(overlap);
		*overlap = old;
		return -ENOMEM;
	}
	atomic_store(&overlap->used, 0);
	for (uint64_t i = 0; old.slot && i <= old.mask; i++) {
		uint64_t to;

		if (!old.slot[i].key)
			continue;
		to = slot_of(overlap, old.slot[i].key - 1);
		overlap->slot[to].bits = old.slot[i].bits;
		overlap->found[to] = old.found[i];
	}
	overlap_free(&old);
	return 0;
}

int overlap_open(struct overlap *overlap)
{
	return set_size(overlap, SLOTS_LEAST);
}

void overlap_free(struct overlap *overlap)
{
	uint64_t slots = overlap->mask + 1;

	if (overlap->slot)
		munmap(overlap->slot, slots * sizeof(*overlap->slot));
	if (overlap->found)
		munmap(overlap->found, slots * sizeof(*overlap->found));
	overlap->slot = NULL;
	overlap->found = NULL;
}

int overlap_reserve(struct overlap *overlap, uint64_t words)
{
	uint64_t slots = overlap->mask + 1;

	/* At most half full, so that a search is short. */
	while (slots < 2 * (overlap->used + words))
		slots *= 2;
	return slots > overlap->mask + 1 ? set_size(overlap, slots) : 0;
}

int overlap_find(struct overlap *overlap, uint64_t cluster, uint64_t clusters,
		 enum overlap_kind kind)
{
	uint64_t end = cluster + clusters;

	for (; cluster < end; cluster = overlap_next(cluster)) {
		uint64_t mask = overlap_mask(cluster, end);
		struct overlap_found *found;
		uint64_t at;

		if (overlap_reserve(overlap, 1))
			return -ENOMEM;
		at = slot_of(overlap, cluster >> OVERLAP_WORD_BITS);
		found = &overlap->found[at];
		if ((kind == OVERLAP_ALONE ? overlap->slot[at].bits : found->alone) & mask)
			return -EEXIST;
		/* A table that two entries of the active L1 table have is no less shared. */
		if (kind == OVERLAP_SNAPSHOT ||
		    (kind == OVERLAP_TABLE && overlap->slot[at].bits & mask))
			found->snapshot |= mask;
		overlap->slot[at].bits |= mask;
		if (kind == OVERLAP_ALONE)
			found->alone |= mask;
	}
	return 0;
}

static _Atomic uint64_t *bits_of(struct image *image, uint64_t cluster)
{
	struct overlap *overlap = &image->overlap;

	return &overlap->slot[slot_of(overlap, cluster >> OVERLAP_WORD_BITS)].bits;
}

void overlap_add(struct image *image, uint64_t cluster, uint64_t clusters)
{
	uint64_t end = cluster + clusters;

	for (; cluster < end; cluster = overlap_next(cluster))
		atomic_fetch_or_explicit(bits_of(image, cluster), overlap_mask(cluster, end),
					 memory_order_relaxed);
}

void overlap_remove(struct image *image, uint64_t cluster, uint64_t clusters)
{
	uint64_t end = cluster + clusters;

	for (; cluster < end; cluster = overlap_next(cluster))
		atomic_fetch_and_explicit(bits_of(image, cluster), ~overlap_mask(cluster, end),
					  memory_order_relaxed);
}

bool overlap_is_snapshot(struct image *image, uint64_t cluster)
{
	struct overlap *overlap = &image->overlap;
	uint64_t at = slot_of(overlap, cluster >> OVERLAP_WORD_BITS);

	return overlap->found[at].snapshot >> cluster % 64 & 1;
}
