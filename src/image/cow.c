/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Copy on write, by the cluster, or with extended L2 by the subcluster.
 *
 * A subcluster that gets its first bytes gets all of them.  In a host cluster that is the entry's
 * own, the others stay as they are: nothing is known of the bytes under those that hold no data.  A
 * new host cluster must have the data of the old one, and whatever lies between that and the guest's
 * bytes comes along, so that one read and one write do; further out the bits say what they said.
 *
 * Offsets count from the start of the extent's first cluster.
 */
#include "cow.h"

#include "entries.h"
#include "map.h"

/* The first and the last cluster, which may be the same. */
struct edges {
	struct l2_word first;
	struct l2_word last;
	uint64_t last_start;
};

/* Bytes that a new host cluster must have: from where, and to where. */
static void include_data(const struct geometry *geo, const struct edges *edges, uint64_t *from,
			 uint64_t *to)
{
	uint32_t first = entry_data(edges->first), last = entry_data(edges->last);

	if (mutant(COPY_TOUCHED_ONLY))
		return;
	if (first)
		*from = min_u64(*from, (uint64_t)__builtin_ctz(first) << geo->subcluster_bits);
	if (last) {
		uint64_t end = SUBCLUSTERS - (unsigned)__builtin_clz(last);

		*to = max_u64(*to, edges->last_start + (end << geo->subcluster_bits));
	}
}

/* Do all subclusters that [from, to) touches in the cluster at @start read as zeros? */
static bool range_is_zero(const struct part *part, struct l2_word word, uint64_t start,
			  uint64_t from, uint64_t to)
{
	uint32_t zeros = entry_zeros(word, part->extent.backed);

	return from >= to ||
	       !(subclusters_touched(&part->image->top.geo, start, from, to) & ~zeros);
}

static void plan_extended(struct part *part, const struct slice *slice)
{
	const struct geometry *geo = &part->image->top.geo;
	uint32_t entry = guest_slice_entry(geo, part->guest);
	uint64_t at = guest_in_cluster(geo, part->guest), end = at + part->extent.len;
	uint64_t unit = UINT64_C(1) << geo->subcluster_bits;
	uint64_t from = round_down(at, unit), to = round_up(end, unit);
	struct edges edges = { .last_start = round_down(end - 1, geo->cluster_bytes) };

	edges.first = slice_entry(slice, entry);
	edges.last = slice_entry(slice, entry + (uint32_t)(edges.last_start >> geo->cluster_bits));
	if (!part->reuse)
		include_data(geo, &edges, &from, &to);
	else if (!mutant(COPY_OVER_DATA) &&
		 (subclusters_touched(geo, edges.last_start, end - 1, end) &
		  entry_data(edges.last)))
		to = end; /* its bytes are there */

	part->head = (uint32_t)(at - from);
	part->tail = (uint32_t)(to - end);
	part->copies = !range_is_zero(part, edges.first, 0, from, at) ||
		       !range_is_zero(part, edges.last, edges.last_start, end, to);
	part->was_zero =
		extent_reads_zero(&part->extent) &&
		range_is_zero(part, edges.first, 0, from, min_u64(to, geo->cluster_bytes)) &&
		range_is_zero(part, edges.last, edges.last_start, max_u64(from, edges.last_start),
			      to);
	if (mutant(COPY_BY_FIRST))
		part->copies = !extent_reads_zero(&part->extent) && (part->head || part->tail);
	if (mutant(KNOWN_ZERO_BY_FIRST))
		part->was_zero = extent_reads_zero(&part->extent);
}

static void plan_standard(struct part *part)
{
	const struct geometry *geo = &part->image->top.geo;
	uint32_t at = guest_in_cluster(geo, part->guest);
	uint64_t end = at + part->extent.len;

	part->head = at;
	part->tail = (uint32_t)(round_up(end, geo->cluster_bytes) - end);
	part->was_zero = extent_reads_zero(&part->extent);
	part->copies = !part->was_zero && (part->head || part->tail);
}

void cow_plan(struct part *part, const struct slice *slice)
{
	const struct geometry *geo = &part->image->top.geo;
	uint64_t end = part->guest.byte + part->extent.len;

	if (geo->extended)
		plan_extended(part, slice);
	else
		plan_standard(part);
	/* A data file ends where the disk does, for those who read it without the image. */
	if (geo->data_apart)
		part->tail = (uint32_t)min_u64(part->tail, node_bytes(&part->image->top) - end);
}

struct l2_word cow_entry(const struct part *part, uint32_t nth, struct host host)
{
	const struct geometry *geo = &part->image->top.geo;
	uint64_t at = guest_in_cluster(geo, part->guest);
	uint64_t to = at + part->extent.len + part->tail;
	uint64_t start = (uint64_t)nth << geo->cluster_bits;
	struct l2_word word = { .entry = table_entry_make(host) };

	if (geo->extended) {
		uint32_t entry = guest_slice_entry(geo, part->guest) + nth;
		struct l2_word old = slice_entry(part->slice, entry);
		uint64_t data = subclusters_touched(geo, start, at - part->head, to);

		must(part->reuse || !(entry_data(old) & ~data) || mutant(COPY_TOUCHED_ONLY));
		/* The bitmap of a stream means nothing, and all of a stream came along. */
		if (!(old.entry & ENTRY_COMPRESSED))
			word.bitmap = old.bitmap & ~(data << SUBCLUSTERS);
		if (mutant(ZERO_BITS_STAY))
			word.bitmap = old.bitmap;
		if (mutant(ZERO_BITS_LOST) && !part->reuse)
			word.bitmap = 0;
		word.bitmap |= data;
	}
	return word;
}
