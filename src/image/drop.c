/* SPDX-License-Identifier: GPL-2.0-or-later */
/* References less, and what that frees is punched before it can be found free (law 4). */
#include "drop.h"

#include "arena.h"
#include "overlap.h"
#include "search.h"
#include "writeback.h"

void drop_punch(struct image *image, struct io *io, uint64_t cluster, uint64_t clusters)
{
	io_start(&image->alloc.task, io, IO_PUNCH, image->top.file->index, span_memory(NULL),
		 cluster_host(&image->top.geo, cluster), clusters << image->top.geo.cluster_bits);
}

/* Who drops a reference has had one, and what is freed is not needed by anybody else. */
static bool may_drop(struct image *image, bool table, uint64_t cluster, uint64_t refcount)
{
	bool shared = table && refcount == 1 && overlap_is_snapshot(image, cluster);

	if (refcount == 0 || shared)
		image_corrupt(image, "the refcount of cluster %llu is too low",
			      (unsigned long long)cluster);
	else if (!table && overlap_hit(image, cluster, 1))
		image_corrupt(image, "metadata in cluster %llu was mapped as data",
			      (unsigned long long)cluster);
	else
		return true;
	return false;
}

/* One reference to the first cluster of the release less; true when it was the last. */
static bool drop_reference(struct image *image, struct ref_piece *piece, struct release *release)
{
	uint64_t cluster = release->cluster;
	uint64_t refcount = piece_refcount(image, piece, cluster);
	bool table = (release->where & WHERE_KIND) == WHERE_TABLE;

	if (!may_drop(image, table, cluster, refcount)) {
		count(&image->counters.clusters_dropped, -UINT64_C(1));
		release->cluster++;
		release->count--;
		return false;
	}
	if (table && refcount == 1)
		overlap_remove(image, cluster, 1);
	arena_drop_begin(image, release, refcount - 1);
	piece_set(image, piece, cluster, refcount - 1);
	arena_drop_end(image, release);
	count(&image->counters.clusters_released, 1);
	return refcount == 1;
}

bool drop_is_safe(const struct image *image)
{
	return !atomic_load(&image->corrupt) || mutant(DROPS_WHEN_CORRUPT);
}

void drop_in_piece(struct image *image, struct ref_piece *piece, struct release *release)
{
	struct alloc *alloc = &image->alloc;
	uint64_t end = min_u64(release->cluster + release->count,
			       piece_end(&image->top.geo, release->cluster));
	uint64_t freed_first = 0, freed = 0;
	unsigned punches = 0;

	while (release->cluster < end && punches < RESERVE_RUNS && drop_is_safe(image)) {
		uint64_t at = release->cluster;

		if (drop_reference(image, piece, release)) {
			alloc->scan = min_u64(alloc->scan, at);
			freed_first = freed++ ? freed_first : at;
			continue;
		}
		if (freed && !alloc->no_punch && drop_is_safe(image))
			drop_punch(image, &alloc->io[punches++], freed_first, freed);
		freed = 0;
	}
	if (freed && !alloc->no_punch && !mutant(SPACE_STAYS) && drop_is_safe(image))
		drop_punch(image, &alloc->io[punches], freed_first, freed);
}

bool drop_is_near(struct image *image)
{
	struct alloc *alloc = &image->alloc;
	struct flush *flush = &image->flush;

	CRITICAL(&flush->lock);
	if (!list_empty(&flush->pending) && !alloc->flush_failed)
		writeback_want_locked(image);
	return !list_empty(&alloc->released) ||
	       (!alloc->flush_failed &&
		!(list_empty(&flush->pending) && list_empty(&flush->frozen_releases)));
}

/* Take the next run out of anybody's stock, and where it stands; NULL when all are empty. */
static const struct run *next_run(struct image *image, _Atomic uint64_t **word)
{
	struct alloc *alloc = &image->alloc;
	const struct run *run = NULL;

	if (alloc->founds) {
		*word = search_found_word(image, --alloc->founds);
		return &alloc->found[alloc->founds];
	}
	for (unsigned i = 0; !run && i < image->lanes; i++) {
		struct reserve *reserve = &image->lane[i].reserve;

		if (reserve->runs)
			run = &reserve->run[--reserve->runs];
		else if (reserve->next_runs)
			run = &reserve->next[--reserve->next_runs];
		if (run)
			*word = arena_stock(&image->arena, i, run->word);
	}
	return run;
}

bool drop_next_returned(struct image *image)
{
	struct alloc *alloc = &image->alloc;
	_Atomic uint64_t *word;
	const struct run *run = next_run(image, &word);

	if (!run)
		return false;
	alloc->returned.cluster = run->cluster;
	alloc->returned.count = run->count;
	alloc->returned.where = where_make(0, WHERE_NOT);
	arena_set_release(&alloc->returned);
	arena_set_stock(word, 0, 0);
	count(&image->counters.clusters_dropped, run->count);
	list_add_tail(&alloc->work, &alloc->returned.link);
	return true;
}
