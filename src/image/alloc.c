/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The allocator: which host clusters are free?
 *
 * One task on the service lane owns all refcounts.  It refills the lanes' stocks, with refcounts
 * that are durable before the clusters are handed out (law 1); and it drops the references that
 * flushes have released, when their epoch has ended, with the hole punch before the cluster can
 * be found free again (law 4).
 *
 * Free clusters below alloc->tail are found by a scan that only runs as long as it is cheap; else
 * the file grows.  What is reserved below the tail is punched first, so that all stock reads as
 * zeros (law 2) wherever the host can punch holes.
 */
#include "alloc.h"

#include "arena.h"
#include "epoch.h"
#include "flush.h"
#include "grow.h"
#include "overlap.h"
#include "reach.h"
#include "refblock.h"
#include "sync.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#define SCAN_BUDGET 8u
#define BATCH_FIRST_BYTES (1 * MIB)
#define BATCH_FIRST_MIN 4u

/*
 *	LOOK        -> MARK DROP FIND RETURN LOOK* FAIL CLOSED
 *	MARK        -> MARKED~
 *	MARKED      -> LOOK~
 *	DROP        -> LOOK DROP DROP~ DROPPED~
 *	DROPPED     -> DROP
 *	FIND        -> FAIL FIND FIND~ SIZE
 *	SIZE        -> PUNCH~
 *	PUNCH       -> FAIL PUNCHED~
 *	PUNCHED     -> WRITE
 *	WRITE       -> FAIL SYNC~
 *	SYNC        -> FAIL GIVE SYNCED~
 *	SYNCED      -> FAIL BELIEVE
 *	BELIEVE     -> FAIL BELIEVE* GIVE
 *	GIVE        -> LOOK
 *	FAIL        -> LOOK
 *	RETURN      -> DROP CLOSE_WRITE
 *	CLOSE_WRITE -> CLOSED CLOSE_SYNC~
 *	CLOSE_SYNC  -> CLOSED CLOSE_SYNCED~
 *	CLOSE_SYNCED -> CLOSED CLOSE_BELIEVE
 *	CLOSE_BELIEVE -> CLOSED CLOSE_BELIEVE* TRIM
 *	TRIM        -> CLOSED TRIM TRIM~ TRUNCATE
 *	TRUNCATE    -> CLOSED~
 *	CLOSED      -> DONE
 */
#define ALLOC_LIST(s) \
	s(A_LOOK) s(A_MARK) s(A_MARKED) s(A_DROP) s(A_DROPPED) s(A_FIND) s(A_SIZE) s(A_PUNCH) \
		s(A_PUNCHED) s(A_WRITE) s(A_SYNC) s(A_SYNCED) s(A_BELIEVE) s(A_GIVE) s(A_FAIL) \
			s(A_RETURN) s(A_CLOSE_WRITE) s(A_CLOSE_SYNC) s(A_CLOSE_SYNCED) \
				s(A_CLOSE_BELIEVE) s(A_TRIM) s(A_TRUNCATE) s(A_CLOSED)
MACHINE_STATES(alloc, ALLOC_LIST);

bool alloc_fits(const struct image *image, uint64_t cluster, uint64_t clusters)
{
	uint64_t end = cluster + clusters;

	if (end > image->alloc.limit)
		return false;
	return !image->top.file->fixed_size ||
	       end << image->top.geo.cluster_bits <= image->top.file->size;
}

void alloc_raise_tail(struct image *image, uint64_t end)
{
	struct alloc *alloc = &image->alloc;

	alloc->tail = max_u64(alloc->tail, end);
	if (!image->top.file->fixed_size)
		overlap_reach(&image->overlap, alloc->tail);
}

bool alloc_never_written(const struct image *image, uint64_t cluster)
{
	return cluster >= image->alloc.tail && !image->top.file->fixed_size;
}

static struct alloc *alloc_of(struct task *t)
{
	return container_of(t, struct alloc, task);
}

/* --- what is there to do?  Under alloc->lock. ------------------------------------------------------ */

static bool take_releases(struct image *image)
{
	struct alloc *alloc = &image->alloc;

	while (!list_empty(&alloc->released)) {
		struct release *release = container_of(alloc->released.next, struct release, link);

		if (!epoch_passed(image, release->epoch))
			break;
		list_del(&release->link);
		list_add_tail(&alloc->work, &release->link);
	}
	return !list_empty(&alloc->work);
}

/* The next lane that waits, in turn; it decides how much it gets. */
static bool take_order(struct image *image)
{
	struct alloc *alloc = &image->alloc;

	for (unsigned i = 1; i <= image->lanes; i++) {
		unsigned id = (alloc->lane + i) % image->lanes;
		struct reserve *reserve = &image->lane[id].reserve;
		uint64_t first =
			max_u64(BATCH_FIRST_BYTES >> image->top.geo.cluster_bits, BATCH_FIRST_MIN);

		if (!reserve->wanted)
			continue;
		alloc->lane = id;
		alloc->want =
			(uint32_t)min_u64(reserve->batch ? 2 * (uint64_t)reserve->batch : first,
					  reserve->batch_max);
		alloc->budget = SCAN_BUDGET;
		return true;
	}
	return false;
}

/* --- dropping references ------------------------------------------------------------------------------ */

static void punch(struct image *image, struct io *io, uint64_t cluster, uint64_t clusters)
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

/* A cluster in use whose refcount is nowhere. */
static void no_refcount(struct image *image, uint64_t cluster)
{
	image_corrupt(image, "the refcount table has no block for cluster %llu",
		      (unsigned long long)cluster);
}

/* Drop what the release has in this piece, as far as ios for the punches go. */
static void drop_in_piece(struct image *image, struct ref_piece *piece, struct release *release)
{
	struct alloc *alloc = &image->alloc;
	uint64_t end = min_u64(release->cluster + release->count,
			       piece_end(&image->top.geo, release->cluster));
	uint64_t freed_first = 0, freed = 0;
	unsigned punches = 0;

	while (release->cluster < end && punches < RESERVE_RUNS) {
		uint64_t at = release->cluster;

		if (drop_reference(image, piece, release)) {
			alloc->scan = min_u64(alloc->scan, at);
			freed_first = freed++ ? freed_first : at;
			continue;
		}
		if (freed && !alloc->no_punch)
			punch(image, &alloc->io[punches++], freed_first, freed);
		freed = 0;
	}
	if (freed && !alloc->no_punch)
		punch(image, &alloc->io[punches], freed_first, freed);
}

static enum step drop(struct task *t, struct image *image)
{
	struct alloc *alloc = &image->alloc;
	struct release *release = container_of(alloc->work.next, struct release, link);
	struct ref_piece *piece;
	enum piece_kind kind = PIECE_BAD;

	if (list_empty(&alloc->work))
		return go(t, A_LOOK);
	if (!t->err && release->count)
		kind = piece_get(image, release->cluster, &piece);
	if (kind == PIECE_LOADING)
		return await_io(t, A_DROP);
	if (kind == PIECE_READY) {
		drop_in_piece(image, piece, release);
		return await_io(t, A_DROPPED);
	}

	/* Done; or its refcounts cannot be had, and a leak is the safe way out. */
	if (kind == PIECE_NO_BLOCK || (kind == PIECE_BAD && !t->err && release->count))
		no_refcount(image, release->cluster);
	else if (release->count && !image_broken(image))
		log_error("%s: cannot drop references to %u clusters from %llu; they leak",
			  image->top.file->name, release->count,
			  (unsigned long long)release->cluster);
	t->err = 0;
	count(&image->counters.clusters_dropped, -(uint64_t)release->count);
	release->count = 0;
	arena_set_release(release);
	list_del(&release->link);
	if (release != &alloc->old_table && release != &alloc->returned)
		release_put(image, release);
	return go(t, A_DROP);
}

/* What the punches said: space that stays allocated is no harm. */
static void punched(struct task *t, struct image *image)
{
	struct alloc *alloc = &image->alloc;

	if (t->err && !alloc->no_punch)
		log_info("%s: cannot punch holes (error %d); freed space stays with the file",
			 image->top.file->name, -t->err);
	if (t->err)
		alloc->no_punch = true;
	t->err = 0;
}

/* --- finding free clusters ------------------------------------------------------------------------------ */

static _Atomic uint64_t *found_word(const struct image *image, uint32_t nth)
{
	return arena_stock(&image->arena, image->lanes, nth);
}

/* Count the run in memory, and keep it for the order. */
static void take_run(struct image *image, struct ref_piece *piece, struct run run)
{
	struct alloc *alloc = &image->alloc;

	arena_set_stock(found_word(image, alloc->founds), run.cluster, run.count);
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
	arena_set_stock(found_word(image, alloc->founds), cluster, count);
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

/*
 * Take free runs of [at, end), all in this piece.  Returns where the search may go on; -EIO when
 * a cluster counts as free that cannot be.
 */
static int search_piece(struct image *image, struct ref_piece *piece, uint64_t *at, uint64_t end)
{
	struct alloc *alloc = &image->alloc;

	while (*at < end && alloc->founds < RESERVE_RUNS && alloc->got < alloc->want) {
		uint64_t first = seek(image, piece, *at, end, true);
		uint64_t limit = min_u64(end, first + alloc->want - alloc->got);
		uint64_t last = seek(image, piece, first, limit, false);

		*at = last;
		if (first == last)
			continue;
		if (overlap_hit(image, first, last - first)) {
			image_corrupt(image, "metadata in clusters %llu to %llu has no refcount",
				      (unsigned long long)first, (unsigned long long)last - 1);
			return -EIO;
		}
		take_run(image, piece,
			 (struct run){ .cluster = first,
				       .count = (uint32_t)(last - first),
				       .zero = alloc_never_written(image, first) });
	}
	return 0;
}

/*
 * Refcount blocks of what the file had when it was opened are not made anew: if one is missing it may
 * have got lost, and what looks free is somebody's data.  On a device nothing tells.
 *
 * The first cluster behind these; 0 for a device.
 */
static uint64_t blocks_opened(const struct image *image)
{
	const struct geometry *geo = &image->top.geo;
	uint64_t clusters = div_round_up(image->alloc.opened_bytes, geo->cluster_bytes);

	if (image->top.file->fixed_size)
		return 0;
	return round_up(clusters, UINT64_C(1) << geo->refcount_block_bits);
}

/* There is no block for @at. */
static enum step find_block(struct task *t, struct image *image, uint64_t at, bool below)
{
	struct alloc *alloc = &image->alloc;
	unsigned block_bits = image->top.geo.refcount_block_bits;

	if (at >> block_bits == 0) {
		/* The header's own. */
		no_refcount(image, at);
		return fail(t, -EIO, A_FAIL);
	}
	if (at < blocks_opened(image)) {
		if (below) {
			alloc->scan = min_u64(((at >> block_bits) + 1) << block_bits, alloc->tail);
			alloc->budget--;
		} else {
			alloc_raise_tail(image, blocks_opened(image));
		}
		return go(t, A_FIND);
	}
	if (alloc->got)
		return go(t, A_SIZE);
	grow_start(image, at);
	return await_io(t, A_FIND);
}

/* One piece of the search: below the tail while the budget lasts, then at the tail. */
static enum step find(struct task *t, struct image *image)
{
	struct alloc *alloc = &image->alloc;
	bool below = alloc->scan < alloc->tail && alloc->budget > 0;
	uint64_t at = below ? alloc->scan : alloc->tail;
	uint64_t end = piece_end(&image->top.geo, at);
	struct ref_piece *piece;

	if (alloc->got >= alloc->want || alloc->founds == RESERVE_RUNS)
		return go(t, A_SIZE);
	if (!alloc_fits(image, at, 1))
		return alloc->got ? go(t, A_SIZE) : fail(t, -ENOSPC, A_FAIL);
	if (image->top.file->fixed_size)
		end = min_u64(end, image->top.file->size >> image->top.geo.cluster_bits);
	if (below)
		end = min_u64(end, alloc->tail);

	switch (piece_get(image, at, &piece)) {
	case PIECE_READY:
		break;
	case PIECE_LOADING:
		return await_io(t, A_FIND);
	case PIECE_NO_BLOCK:
		return find_block(t, image, at, below);
	case PIECE_BAD:
		no_refcount(image, at);
		return fail(t, -EIO, A_FAIL);
	}
	if (search_piece(image, piece, &at, end))
		return fail(t, -EIO, A_FAIL);
	if (below) {
		alloc->scan = at;
		alloc->budget--;
	} else {
		alloc_raise_tail(image, at);
	}
	return go(t, A_FIND);
}

/* --- making the runs usable ----------------------------------------------------------------------------- */

static uint64_t found_end_bytes(const struct image *image)
{
	const struct alloc *alloc = &image->alloc;
	uint64_t end = 0;

	for (uint32_t i = 0; i < alloc->founds; i++)
		end = max_u64(end, alloc->found[i].cluster + alloc->found[i].count);
	return end << image->top.geo.cluster_bits;
}

static void punch_found(struct image *image)
{
	struct alloc *alloc = &image->alloc;

	for (uint32_t i = 0; i < alloc->founds && !alloc->no_punch; i++)
		if (!alloc->found[i].zero)
			punch(image, &alloc->io[i], alloc->found[i].cluster, alloc->found[i].count);
}

static void found_is_zero(struct image *image)
{
	struct alloc *alloc = &image->alloc;

	for (uint32_t i = 0; i < alloc->founds && !alloc->no_punch; i++)
		alloc->found[i].zero = true;
}

/* Into the lane's mailbox.  Under alloc->lock. */
static void give(struct image *image)
{
	struct alloc *alloc = &image->alloc;
	struct reserve *reserve = &image->lane[alloc->lane].reserve;

	must(reserve->next_runs == 0);
	for (uint32_t i = 0; i < alloc->founds; i++) {
		struct run *next = &reserve->next[i];
		uint32_t word = next->word;

		*next = alloc->found[i];
		next->word = word;
		arena_set_stock(arena_stock(&image->arena, alloc->lane, word), next->cluster,
				next->count);
		arena_set_stock(found_word(image, i), 0, 0);
	}
	reserve->next_runs = alloc->founds;
	reserve->batch = alloc->got;
	reserve->wanted = false;
	alloc->founds = 0;
	alloc->got = 0;
	if (!mutant(NO_RESERVE_WAKE))
		waitq_wake(&reserve->waiters);
	count(&image->counters.refills, 1);
	count(&image->counters.clusters_reserved, reserve->batch);
}

/* --- closing ----------------------------------------------------------------------------------------------- */

/* Take the next run out of anybody's stock, and where it stands; NULL when all are empty. */
static const struct run *next_run(struct image *image, _Atomic uint64_t **word)
{
	struct alloc *alloc = &image->alloc;
	const struct run *run = NULL;

	if (alloc->founds) {
		*word = found_word(image, --alloc->founds);
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

/* The next run of anybody's stock, as a release; false when all are empty. */
static bool next_returned(struct image *image)
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

/* Look at the piece that has the last cluster of [.., trim): is it in use? */
static enum step trim(struct task *t, struct image *image)
{
	struct alloc *alloc = &image->alloc;
	uint64_t floor = div_round_up(alloc->opened_bytes, image->top.geo.cluster_bytes);
	struct ref_piece *piece;

	if (alloc->trim <= floor || t->err)
		return go(t, t->err ? A_CLOSED : A_TRUNCATE);
	switch (piece_get(image, alloc->trim - 1, &piece)) {
	case PIECE_LOADING:
		return await_io(t, A_TRIM);
	case PIECE_READY:
		if (piece_refcount(image, piece, alloc->trim - 1))
			return go(t, A_TRUNCATE);
		alloc->trim--;
		return go(t, A_TRIM);
	case PIECE_NO_BLOCK:
		alloc->trim--;
		return go(t, A_TRIM);
	case PIECE_BAD:
		break;
	}
	return go(t, A_CLOSED);
}

static void start_truncate(struct task *t, struct image *image)
{
	struct alloc *alloc = &image->alloc;
	uint64_t end = max_u64(alloc->trim, alloc->grow.unlinked + 1);
	uint64_t bytes = max_u64(end << image->top.geo.cluster_bits, alloc->opened_bytes);

	if (bytes < alloc->file_bytes && !image->top.file->fixed_size)
		io_start(t, &alloc->io[0], IO_TRUNCATE, image->top.file->index, span_memory(NULL),
			 (struct host){ bytes }, 0);
}

/* --- the corrupt mark -------------------------------------------------------------------------------------- */

/* By the allocator, because nobody else writes the header.  Version 2 has no such mark. */
static void start_mark(struct task *t, struct image *image)
{
	struct node *node = &image->top;
	struct be64 features = be64_make(node->header.incompatible | QCOW2_CORRUPT);

	if (node->header.version < 3)
		return;
	memcpy(node->header_sector + QCOW2_AT_INCOMPATIBLE, &features, sizeof(features));
	io_start(t, &image->alloc.io[0], IO_WRITE, node->file->index,
		 span_memory(node->header_sector), (struct host){ 0 }, SECTOR_SIZE);
}

/* --- the machine ------------------------------------------------------------------------------------------- */

static enum step alloc_step(struct task *t)
{
	struct alloc *alloc = alloc_of(t);
	struct image *image = alloc->image;

	switch (t->state) {
	case A_LOOK: {
		CRITICAL(&alloc->lock);
		bool broken = image_broken(image);
		t->err = 0;
		if (atomic_load(&image->corrupt) && !alloc->marked)
			return go(t, A_MARK);
		if (!broken && take_releases(image))
			return go(t, A_DROP);
		if (take_order(image))
			return broken ? fail(t, -EIO, A_FAIL) : go(t, A_FIND);
		if (alloc->closing)
			return broken ? fail(t, -EIO, A_CLOSED) : go(t, A_RETURN);
		return park(t, &alloc->idle, A_LOOK);
	}
	case A_MARK:
		alloc->marked = true;
		start_mark(t, image);
		return await_io(t, A_MARKED);

	case A_MARKED:
		if (!t->err)
			io_start(t, &alloc->io[0], IO_SYNC, image->top.file->index,
				 span_memory(NULL), (struct host){ 0 }, 0);
		return await_io(t, A_LOOK);

	case A_DROP:
		return drop(t, image);

	case A_DROPPED:
		punched(t, image);
		return go(t, A_DROP);

	case A_FIND:
		if (t->err)
			return go(t, A_FAIL);
		return find(t, image);

	case A_SIZE:
		if (found_end_bytes(image) > alloc->file_bytes)
			io_start(t, &alloc->io[0], IO_TRUNCATE, image->top.file->index,
				 span_memory(NULL), (struct host){ found_end_bytes(image) }, 0);
		return await_io(t, A_PUNCH);

	case A_PUNCH:
		if (t->err)
			return go(t, A_FAIL);
		alloc->file_bytes = max_u64(alloc->file_bytes, found_end_bytes(image));
		punch_found(image);
		return await_io(t, A_PUNCHED);

	case A_PUNCHED:
		punched(t, image);
		found_is_zero(image);
		return go(t, A_WRITE);

	case A_WRITE:
		if (image_broken(image))
			return fail(t, -EIO, A_FAIL);
		pieces_write(image);
		return await_io(t, A_SYNC);

	case A_SYNC:
		if (t->err)
			return go(t, A_FAIL);
		pieces_written(image);
		if (mutant(NO_RESERVE_SYNC))
			return go(t, A_GIVE);
		sync_start(image, t, &alloc->io[0], SYNC_ALLOC, SYNC_IMAGE);
		return await_io(t, A_SYNCED);

	case A_SYNCED:
		sync_end(image, t, SYNC_ALLOC);
		return go(t, t->err ? A_FAIL : A_BELIEVE);

	case A_BELIEVE: {
		CRITICAL(&image->flush.lock);
		if (!sync_believable(image, &alloc->sync_wait))
			return park(t, &image->syncs.waiters, A_BELIEVE);
		if (image_broken(image))
			return fail(t, -EIO, A_FAIL);
		return go(t, A_GIVE);
	}

	case A_GIVE: {
		CRITICAL(&alloc->lock);
		give(image);
		return go(t, A_LOOK);
	}
	case A_FAIL: {
		/* What was found stays found, for the next order. */
		CRITICAL(&alloc->lock);
		image->lane[alloc->lane].reserve.wanted = false;
		waitq_fail(&image->lane[alloc->lane].reserve.waiters, t->err);
		return go(t, A_LOOK);
	}
	case A_RETURN:
		return go(t, next_returned(image) ? A_DROP : A_CLOSE_WRITE);

	case A_CLOSE_WRITE:
		if (image_broken(image))
			return fail(t, -EIO, A_CLOSED);
		pieces_write(image);
		return await_io(t, A_CLOSE_SYNC);

	case A_CLOSE_SYNC:
		if (t->err)
			return go(t, A_CLOSED);
		pieces_written(image);
		alloc->trim = div_round_up(alloc->file_bytes, image->top.geo.cluster_bytes);
		sync_start(image, t, &alloc->io[0], SYNC_ALLOC, SYNC_IMAGE);
		return await_io(t, A_CLOSE_SYNCED);

	case A_CLOSE_SYNCED:
		sync_end(image, t, SYNC_ALLOC);
		return go(t, t->err ? A_CLOSED : A_CLOSE_BELIEVE);

	case A_CLOSE_BELIEVE: {
		/* A flush that nobody asked for may still be under way. */
		CRITICAL(&image->flush.lock);
		if (!sync_believable(image, &alloc->sync_wait))
			return park(t, &image->syncs.waiters, A_CLOSE_BELIEVE);
		if (image_broken(image))
			return fail(t, -EIO, A_CLOSED);
		return go(t, A_TRIM);
	}

	case A_TRIM:
		return trim(t, image);

	case A_TRUNCATE:
		start_truncate(t, image);
		return await_io(t, A_CLOSED);

	case A_CLOSED: {
		CRITICAL(&alloc->lock);
		alloc->close_err = t->err;
		alloc->closed_down = true;
		waitq_wake(&alloc->closed);
		return STEP_DONE;
	}
	}
	abort();
}

static const struct machine alloc_machine = { "alloc", alloc_step, alloc_states };

void alloc_close_start(struct image *image)
{
	CRITICAL(&image->alloc.lock);
	image->alloc.closing = true;
	waitq_wake(&image->alloc.idle);
}

/* --- open ------------------------------------------------------------------------------------------------------ */

static int read_table(struct image *image, struct why *why)
{
	struct alloc *alloc = &image->alloc;
	uint64_t bytes = (uint64_t)alloc->table_clusters << image->top.geo.cluster_bits;

	alloc->table = mmap(NULL, LIMIT_REFCOUNT_TABLE_BYTES, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (alloc->table == MAP_FAILED) {
		alloc->table = NULL;
		return why_set(why, -ENOMEM, "%s: not enough memory for the refcount table",
			       image->top.file->name);
	}

	int64_t got =
		image->top.file->read(image->top.file, alloc->table, bytes, alloc->table_host.byte);

	if (got < 0)
		return why_set(why, (int)got, "%s: cannot read the refcount table: %s",
			       image->top.file->name, strerror((int)-got));
	return 0;
}

static void alloc_init(struct image *image)
{
	struct alloc *alloc = &image->alloc;

	pthread_mutex_init(&alloc->lock, NULL);
	list_init(&alloc->released);
	list_init(&alloc->work);
	list_init(&alloc->old_table.link);
	list_init(&alloc->returned.link);
	waitq_init(&alloc->idle);
	waitq_init(&alloc->closed);
	alloc->image = image;
	for (uint32_t i = 0; i < RESERVE_RUNS; i++)
		alloc->found[i].word = i;
	alloc->old_table.words = arena_extra_release(&image->arena, RELEASE_OLD_TABLE);
	alloc->returned.words = arena_extra_release(&image->arena, RELEASE_RETURNED);
	alloc->table_host = image->top.header.refcount_table;
	alloc->table_clusters = image->top.header.refcount_table_clusters;
	alloc->table_entries = ((uint64_t)alloc->table_clusters << image->top.geo.cluster_bits) /
			       sizeof(*alloc->table);
	alloc->file_bytes = image->top.file->size;
	alloc->opened_bytes = image->top.file->size;
	task_init(&alloc->task, service_lane(image), &alloc_machine, A_LOOK);
	/* Parked from the start: the service lane need not run before there is something to do. */
	list_add_tail(&alloc->idle.tasks, &alloc->task.link);
}

int alloc_open(struct image *image, struct why *why)
{
	alloc_init(image);

	int err = read_table(image, why);

	if (!err && !image->read_only)
		err = reach_find(image, why);
	if (!err && refblock_open(image))
		err = why_set(why, -ENOMEM, "%s: not enough memory for refcounts",
			      image->top.file->name);
	return err;
}

void alloc_free(struct image *image)
{
	if (image->alloc.table)
		munmap(image->alloc.table, LIMIT_REFCOUNT_TABLE_BYTES);
	refblock_free(image);
	pthread_mutex_destroy(&image->alloc.lock);
}
