/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Free clusters in a piece of refcounts: the first that come, or so many in a row. */
#include "search.h"

#include "alloc.h"
#include "arena.h"
#include "overlap.h"

#include <errno.h>

_Atomic uint64_t *search_found_word(const struct image *image, uint32_t nth)
{
	return arena_stock(&image->arena, image->lanes, nth);
}

/* Count the run in memory, and keep it for the order. */
static void take_run(struct image *image, struct ref_piece *piece, struct run run)
{
	struct alloc *alloc = &image->alloc;

	arena_set_stock(search_found_word(image, alloc->founds), run.cluster, run.count);
	for (uint64_t i = 0; i < run.count; i++)
		piece_set(image, piece, run.cluster + i, 1);
	run.word = alloc->found[alloc->founds].word;
	alloc->found[alloc->founds++] = run;
	alloc->got += run.count;
	alloc_raise_tail(image, run.cluster + run.count);
}

void alloc_inherit(struct image *image, uint64_t cluster, uint32_t count)
{
	struct alloc *alloc = &image->alloc;
	struct run *run = &alloc->found[alloc->founds];

	*run = (struct run){ .cluster = cluster, .count = count, .word = run->word };
	arena_set_stock(search_found_word(image, alloc->founds), cluster, count);
	alloc->founds++;
	alloc->got += count;
	alloc_raise_tail(image, cluster + count);
}

/* First cluster in [at, end) whose refcount is zero (or is not). */
static uint64_t seek(struct image *image, struct ref_piece *piece, uint64_t at, uint64_t end,
		     bool zero)
{
	while (at < end && (piece_refcount(image, piece, at) == 0) != zero)
		at++;
	return at;
}

/* What counts as free cannot be metadata. */
static int check_free(struct image *image, uint64_t first, uint64_t end)
{
	if (!overlap_hit(image, first, end - first))
		return 0;
	image_corrupt(image, "metadata in clusters %llu to %llu has no refcount",
		      (unsigned long long)first, (unsigned long long)end - 1);
	return -EIO;
}

int search_piece(struct image *image, struct ref_piece *piece, uint64_t *at, uint64_t end)
{
	struct alloc *alloc = &image->alloc;

	while (*at < end && alloc->founds < RESERVE_RUNS && alloc->got < alloc->want) {
		uint64_t first = seek(image, piece, *at, end, true);
		uint64_t limit = min_u64(end, first + alloc->want - alloc->got);
		uint64_t last = seek(image, piece, first, limit, false);

		*at = last;
		if (first == last)
			continue;
		if (check_free(image, first, last))
			return -EIO;
		take_run(image, piece,
			 (struct run){ .cluster = first,
				       .count = (uint32_t)(last - first),
				       .zero = alloc_never_written(image, first) });
	}
	return 0;
}

int search_row(struct image *image, struct ref_piece *piece, uint64_t *at, uint64_t end,
	       uint32_t count, bool *found)
{
	struct release *row = &image->alloc.new_l1;

	*found = false;
	while (*at < end && end - *at >= count) {
		uint64_t first = seek(image, piece, *at, end, true);
		uint64_t last = seek(image, piece, first, min_u64(end, first + count), false);

		*at = last;
		if (last - first < count)
			continue;
		if (check_free(image, first, last))
			return -EIO;
		row->cluster = first;
		row->count = count;
		row->where = where_make(0, WHERE_NOT);
		arena_set_release(row);
		for (uint64_t i = first; i < last; i++)
			piece_set(image, piece, i, 1);
		*found = true;
		return 0;
	}
	*at = end;
	return 0;
}

uint64_t search_opened_end(const struct image *image)
{
	const struct geometry *geo = &image->top.geo;
	uint64_t clusters = div_round_up(image->alloc.opened_bytes, geo->cluster_bytes);

	if (image->top.file->fixed_size)
		return 0;
	return round_up(clusters, UINT64_C(1) << geo->refcount_block_bits);
}
