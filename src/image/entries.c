/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Entries of L2 tables in memory; extended ones have two words. */
#include "entries.h"

#include "claim.h"
#include "map.h"

struct l2_word slice_entry(const struct slice *slice, uint32_t entry)
{
	if (!slice->node->geo.extended)
		return (struct l2_word){ .entry = be64_load(&slice->entries[entry]) };
	return (struct l2_word){
		.entry = be64_load(&slice->entries[2 * entry]),
		.bitmap = be64_load(&slice->entries[2 * entry + 1]),
	};
}

/*
 * With an old host cluster, or none, the old bitmap is right for the new one: what it calls data was
 * copied there.  But a stream knows no bitmap, and without a cluster there must be no data.
 */
static bool bitmap_goes_first(struct l2_word old, struct l2_word word)
{
	bool first = old.entry & ENTRY_COMPRESSED || !(word.entry & ENTRY_COPIED);

	return first != mutant(WRONG_HALF_FIRST);
}

static void set_both(struct slice *slice, struct be64_atomic *cell, struct l2_word word,
		     bool bitmap_first)
{
	uint32_t generation = atomic_load_explicit(&slice->generation, memory_order_relaxed);

	must(!(generation & SLICE_CHANGING));
	/* The stores to the entry are releases: who sees one of them sees this, too. */
	atomic_store_explicit(&slice->generation, generation + SLICE_CHANGING,
			      memory_order_relaxed);
	if (bitmap_first)
		be64_store(&cell[1], word.bitmap);
	else
		be64_store(&cell[0], word.entry);
	kill_point();
	if (bitmap_first)
		be64_store(&cell[0], word.entry);
	else
		be64_store(&cell[1], word.bitmap);
	if (!mutant(TORN_ENTRY))
		generation += SLICE_GENERATION;
	atomic_store_explicit(&slice->generation, generation, memory_order_release);
}

void slice_set_entry(struct slice *slice, uint32_t entry, struct l2_word word)
{
	struct be64_atomic *cell = &slice->entries[2 * entry];
	struct l2_word old;

	kill_point();
	if (!slice->node->geo.extended) {
		be64_store(&slice->entries[entry], word.entry);
		return;
	}
	old = slice_entry(slice, entry);
	if (word.entry == old.entry)
		be64_store(&cell[1], word.bitmap);
	else
		set_both(slice, cell, word, bitmap_goes_first(old, word));
}

uint32_t entry_data(struct l2_word word)
{
	return word.entry & ENTRY_COMPRESSED ? UINT32_MAX : (uint32_t)word.bitmap;
}

uint32_t entry_zeros(struct l2_word word, bool backed)
{
	uint32_t zeros = (uint32_t)(word.bitmap >> SUBCLUSTERS);

	if (word.entry & ENTRY_COMPRESSED)
		return 0;
	return backed ? zeros : ~(uint32_t)word.bitmap;
}

bool entries_read_zero(const struct part *part, const struct slice *slice)
{
	const struct geometry *geo = &part->image->top.geo;
	uint32_t entry = guest_slice_entry(geo, part->guest);
	uint64_t at = guest_in_cluster(geo, part->guest);
	uint64_t end = at + part->extent.len;

	if (!geo->extended)
		return extent_reads_zero(&part->extent);
	for (uint64_t start = 0; start < end; start += geo->cluster_bytes, entry++) {
		uint32_t zeros = entry_zeros(slice_entry(slice, entry), part->extent.backed);

		if (subclusters_touched(geo, start, at, end) & ~zeros)
			return false;
	}
	return true;
}
