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
 * the file grows, and where it cannot, the scan goes on to its end.  What is reserved below the tail
 * is punched first, so that all stock reads as zeros (law 2) wherever the host can punch holes.  An
 * order that finds nothing waits for clusters that are about to be dropped, and asks for the flush.
 */
#include "alloc.h"

#include "ahead.h"
#include "arena.h"
#include "drop.h"
#include "epoch.h"
#include "flush.h"
#include "grow.h"
#include "overlap.h"
#include "reach.h"
#include "refblock.h"
#include "resize.h"
#include "search.h"
#include "sync.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#define SCAN_BUDGET 8u
#define SCAN_ALL UINT32_MAX /* more pieces than there are */
#define BATCH_FIRST_BYTES (1 * MIB)
#define BATCH_FIRST_MIN 4u

/*
 *	LOOK        -> MARK DROP FIND RETURN LOOK* FAIL CLOSED ROW HEADER ANSWER
 *	MARK        -> MARKED~
 *	MARKED      -> LOOK~
 *	DROP        -> LOOK DROP DROP~ DROPPED~
 *	DROPPED     -> DROP
 *	FIND        -> FAIL FIND FIND~ SIZE
 *	ROW         -> FAIL ROW ROW~ SIZE
 *	SIZE        -> PUNCH~
 *	PUNCH       -> FAIL PUNCHED~
 *	PUNCHED     -> AHEAD~
 *	AHEAD       -> WRITE AHEAD_BACK~
 *	AHEAD_BACK  -> WRITE
 *	WRITE       -> FAIL SYNC~
 *	SYNC        -> FAIL GIVE SYNCED~
 *	SYNCED      -> FAIL BELIEVE
 *	BELIEVE     -> FAIL BELIEVE* GIVE
 *	GIVE        -> LOOK ANSWER
 *	FAIL        -> LOOK ANSWER
 *	HEADER      -> HEADER_SYNC~
 *	HEADER_SYNC -> ANSWER HEADER_SYNCED~
 *	HEADER_SYNCED -> ANSWER HEADER_BELIEVE
 *	HEADER_BELIEVE -> HEADER_BELIEVE* ANSWER HEADER_DURABLE
 *	HEADER_DURABLE -> ANSWER
 *	ANSWER      -> LOOK
 *	RETURN      -> DROP CLOSE_WRITE
 *	CLOSE_WRITE -> CLOSED CLOSE_SYNC~
 *	CLOSE_SYNC  -> CLOSED CLOSE_SYNCED~
 *	CLOSE_SYNCED -> CLOSED TRIM
 *	TRIM        -> CLOSED TRIM TRIM~ TRUNCATE
 *	TRUNCATE    -> CLOSED~
 *	CLOSED      -> DONE
 */
#define ALLOC_LIST(s) \
	s(A_LOOK) s(A_MARK) s(A_MARKED) s(A_DROP) s(A_DROPPED) s(A_FIND) s(A_SIZE) s(A_PUNCH) \
		s(A_PUNCHED) s(A_AHEAD) s(A_AHEAD_BACK) s(A_WRITE) s(A_SYNC) s(A_SYNCED) \
			s(A_BELIEVE) s(A_GIVE) s(A_FAIL) s(A_ROW) s(A_HEADER) s(A_HEADER_SYNC) \
				s(A_HEADER_SYNCED) s(A_HEADER_BELIEVE) s(A_HEADER_DURABLE) \
					s(A_ANSWER) s(A_RETURN) s(A_CLOSE_WRITE) s(A_CLOSE_SYNC) \
						s(A_CLOSE_SYNCED) s(A_TRIM) s(A_TRUNCATE) \
							s(A_CLOSED)
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

		if (!epoch_passed(image, &image->epoch, release->epoch))
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
		alloc->row = false;
		alloc->want =
			(uint32_t)min_u64(reserve->batch ? 2 * (uint64_t)reserve->batch : first,
					  reserve->batch_max);
		alloc->budget = SCAN_BUDGET;
		return true;
	}
	return false;
}

/* --- dropping references ------------------------------------------------------------------------------ */

/* A cluster in use whose refcount is nowhere. */
static void no_refcount(struct image *image, uint64_t cluster)
{
	image_corrupt(image, "the refcount table has no block for cluster %llu",
		      (unsigned long long)cluster);
}

static enum step drop(struct task *t, struct image *image)
{
	struct alloc *alloc = &image->alloc;
	struct release *release = container_of(alloc->work.next, struct release, link);
	struct ref_piece *piece;
	enum piece_kind kind = PIECE_BAD;
	bool asked;

	if (list_empty(&alloc->work))
		return go(t, A_LOOK);
	asked = !t->err && release->count && drop_is_safe(image);
	if (asked)
		kind = piece_get(image, release->cluster, &piece);
	if (kind == PIECE_LOADING)
		return await_io(t, A_DROP);
	if (kind == PIECE_READY) {
		drop_in_piece(image, piece, release);
		return await_io(t, A_DROPPED);
	}

	/* Done; or its refcounts cannot be had, and a leak is the safe way out. */
	if (kind == PIECE_NO_BLOCK || (kind == PIECE_BAD && asked))
		no_refcount(image, release->cluster);
	else if (release->count && !image_broken(image) && log_is_worth(&alloc->leaks_told))
		log_error(
			"%s: cannot drop references to %u clusters from %llu; they leak (told %u times at most)",
			image->top.file->name, release->count, (unsigned long long)release->cluster,
			LOG_REPEATS);
	t->err = 0;
	count(&image->counters.clusters_dropped, -(uint64_t)release->count);
	release->count = 0;
	arena_set_release(release);
	list_del(&release->link);
	if (release->words < image->arena.release + image->arena.releases)
		release_put(image, release);
	return go(t, A_DROP);
}

/*
 * What the punches said: space that stays allocated is no harm.  Did they punch?  A full host may lack the space
 * to split an extent, and has it again later.
 */
static bool punched(struct task *t, struct image *image)
{
	struct alloc *alloc = &image->alloc;
	int err = t->err;

	t->err = 0;
	if (!err || err == -ENOSPC || err == -ENOMEM)
		return !err;
	if (!alloc->no_punch)
		log_info("%s: cannot punch holes (error %d); freed space stays with the file",
			 image->top.file->name, -err);
	alloc->no_punch = true;
	return false;
}

/* --- finding free clusters ------------------------------------------------------------------------------ */

/* Not at the tail; but the search below may have ended for being too long. */
static enum step no_space(struct task *t, struct image *image)
{
	struct alloc *alloc = &image->alloc;

	if (alloc->got)
		return go(t, A_SIZE);
	if (alloc->budget == SCAN_ALL || alloc->scan >= alloc->tail || mutant(SCAN_GIVES_UP))
		return fail(t, -ENOSPC, A_FAIL);
	t->err = 0;
	alloc->budget = SCAN_ALL;
	return go(t, A_FIND);
}

/* A piece below the tail was searched: go on from @at. */
static void searched_below(struct alloc *alloc, uint64_t at)
{
	alloc->scan = at;
	if (alloc->budget != SCAN_ALL)
		alloc->budget--;
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
	if (at < search_opened_end(image)) {
		if (below)
			searched_below(alloc, min_u64(((at >> block_bits) + 1) << block_bits,
						      alloc->tail));
		else
			alloc_raise_tail(image, search_opened_end(image));
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
		return no_space(t, image);
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
	if (below)
		searched_below(alloc, at);
	else
		alloc_raise_tail(image, at);
	return go(t, A_FIND);
}

/* Clusters in a row, at the tail: the row that a larger L1 table takes lies in one piece. */
static enum step find_row(struct task *t, struct image *image)
{
	struct alloc *alloc = &image->alloc;
	uint32_t count = image->resize.l1_clusters;
	uint64_t at = alloc->row_at, end = piece_end(&image->top.geo, at);
	struct ref_piece *piece;
	bool found;

	if (!alloc_fits(image, at, count))
		return fail(t, -ENOSPC, A_FAIL);
	if (image->top.file->fixed_size)
		end = min_u64(end, image->top.file->size >> image->top.geo.cluster_bits);
	switch (piece_get(image, at, &piece)) {
	case PIECE_READY:
		break;
	case PIECE_LOADING:
		return await_io(t, A_ROW);
	case PIECE_NO_BLOCK:
		if (at >= search_opened_end(image) && at >> image->top.geo.refcount_block_bits) {
			grow_start(image, at);
			return await_io(t, A_ROW);
		}
		alloc->row_at = end;
		return go(t, A_ROW);
	case PIECE_BAD:
		no_refcount(image, at);
		return fail(t, -EIO, A_FAIL);
	}
	if (search_row(image, piece, &alloc->row_at, end, count, &found))
		return fail(t, -EIO, A_FAIL);
	if (!found)
		return go(t, A_ROW);
	/* What was passed over may be found by others. */
	alloc->scan = min_u64(alloc->scan, alloc->tail);
	alloc_raise_tail(image, alloc->row_at);
	return go(t, A_SIZE);
}

/* --- making the runs usable ----------------------------------------------------------------------------- */

static uint64_t found_end_bytes(const struct image *image)
{
	const struct alloc *alloc = &image->alloc;
	uint64_t end = 0;

	for (uint32_t i = 0; i < alloc->founds; i++)
		end = max_u64(end, alloc->found[i].cluster + alloc->found[i].count);
	if (alloc->row)
		end = max_u64(end, alloc->new_l1.cluster + alloc->new_l1.count);
	return end << image->top.geo.cluster_bits;
}

/*
 * Behind the end of a file that had been cut short, what is found below the tail lies nowhere either.
 * Writes may have made it longer by now, but not longer than it was taken to be.
 */
static void start_size(struct task *t, struct image *image)
{
	struct alloc *alloc = &image->alloc;
	uint64_t bytes = max_u64(found_end_bytes(image), alloc->file_bytes);

	if (bytes > alloc->file_bytes || (alloc->cut_short && !mutant(GAP_STAYS)))
		io_start(t, &alloc->io[0], IO_TRUNCATE, image->top.file->index, span_memory(NULL),
			 (struct host){ bytes }, 0);
}

static void punch_found(struct image *image)
{
	struct alloc *alloc = &image->alloc;

	for (uint32_t i = 0; i < alloc->founds && !alloc->no_punch; i++)
		if (!alloc->found[i].zero)
			drop_punch(image, &alloc->io[i], alloc->found[i].cluster,
				   alloc->found[i].count);
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
		arena_set_stock(search_found_word(image, i), 0, 0);
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

/* Does somebody wait for the order at hand?  Under alloc->lock. */
static bool is_awaited(const struct image *image)
{
	return !waitq_empty(&image->lane[image->alloc.lane].reserve.waiters) &&
	       !mutant(NO_SPACE_AT_ONCE);
}

/* --- closing ----------------------------------------------------------------------------------------------- */

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

/* --- what a resize orders ---------------------------------------------------------------------------------- */

/* Under alloc->lock. */
static enum step obey(struct task *t, struct image *image)
{
	struct alloc *alloc = &image->alloc;

	if (image_broken(image))
		return fail(t, -EIO, A_ANSWER);
	if (image->resize.order == RESIZE_EMPTY)
		return go(t, A_ANSWER);
	if (image->resize.order == RESIZE_HEADER)
		return go(t, A_HEADER);
	alloc->row = true;
	alloc->row_at = alloc->tail;
	return go(t, A_ROW);
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
		if (!broken && (take_releases(image) || resize_take_unused(image))) {
			alloc->starved = false;
			return go(t, A_DROP);
		}
		if (resize_is_due(image))
			return obey(t, image);
		alloc->starved = alloc->starved && !broken && drop_is_near(image);
		if (!alloc->starved && take_order(image))
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
		/* A block, or a larger table, may have found no place. */
		if (t->err == -ENOSPC && !alloc->got)
			return no_space(t, image);
		if (t->err)
			return go(t, A_FAIL);
		return find(t, image);

	case A_ROW:
		if (t->err)
			return go(t, A_FAIL);
		return find_row(t, image);

	case A_SIZE:
		start_size(t, image);
		return await_io(t, A_PUNCH);

	case A_PUNCH:
		if (t->err)
			return go(t, A_FAIL);
		/* The refcounts by which these are free may be what is wrong with a corrupt image. */
		if (image_broken(image))
			return fail(t, -EIO, A_FAIL);
		alloc->file_bytes = max_u64(alloc->file_bytes, found_end_bytes(image));
		alloc->cut_short = false;
		punch_found(image);
		return await_io(t, A_PUNCHED);

	case A_PUNCHED:
		if (punched(t, image) || mutant(FAILED_PUNCH_IS_ZERO))
			found_is_zero(image);
		ahead_start(image);
		return await_io(t, A_AHEAD);

	case A_AHEAD:
		if (ahead_end(image))
			return go(t, A_WRITE);
		ahead_give_back(image);
		return await_io(t, A_AHEAD_BACK);

	case A_AHEAD_BACK:
		punched(t, image);
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
		if (alloc->row)
			return go(t, A_ANSWER);
		CRITICAL(&alloc->lock);
		give(image);
		return go(t, A_LOOK);
	}
	case A_FAIL: {
		if (alloc->row)
			return go(t, A_ANSWER);
		/* What was found stays found, for the next order. */
		CRITICAL(&alloc->lock);
		if (t->err == -ENOSPC && is_awaited(image) && drop_is_near(image)) {
			alloc->starved = true;
			return go(t, A_LOOK);
		}
		image->lane[alloc->lane].reserve.wanted = false;
		waitq_fail(&image->lane[alloc->lane].reserve.waiters, t->err);
		return go(t, A_LOOK);
	}
	case A_HEADER:
		resize_start_header(image);
		return await_io(t, A_HEADER_SYNC);

	case A_HEADER_SYNC:
		if (t->err) {
			/* What it says is unknown now: nothing may rely on either. */
			image_break(image, t->err, "writing the header");
			return go(t, A_ANSWER);
		}
		sync_start(image, t, &alloc->io[0], SYNC_ALLOC, SYNC_IMAGE);
		return await_io(t, A_HEADER_SYNCED);

	case A_HEADER_SYNCED:
		sync_end(image, t, SYNC_ALLOC);
		return go(t, t->err ? A_ANSWER : A_HEADER_BELIEVE);

	case A_HEADER_BELIEVE: {
		CRITICAL(&image->flush.lock);
		if (!sync_believable(image, &alloc->sync_wait))
			return park(t, &image->syncs.waiters, A_HEADER_BELIEVE);
		if (image_broken(image))
			return fail(t, -EIO, A_ANSWER);
		return go(t, A_HEADER_DURABLE);
	}
	case A_HEADER_DURABLE:
		resize_header_durable(image);
		return go(t, A_ANSWER);

	case A_ANSWER: {
		CRITICAL(&alloc->lock);
		resize_answer(image, t->err);
		return go(t, A_LOOK);
	}
	case A_RETURN:
		return go(t, drop_next_returned(image) ? A_DROP : A_CLOSE_WRITE);

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
		/* Nobody else syncs any more: it may be believed at once. */
		sync_end(image, t, SYNC_ALLOC);
		return go(t, t->err ? A_CLOSED : A_TRIM);

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

	alloc->table = sparse_map(LIMIT_REFCOUNT_TABLE_BYTES);
	if (!alloc->table)
		return why_set(why, -ENOMEM, "%s: not enough memory for the refcount table",
			       image->top.file->name);

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
	list_init(&alloc->old_l1.link);
	list_init(&alloc->new_l1.link);
	waitq_init(&alloc->idle);
	waitq_init(&alloc->closed);
	alloc->image = image;
	for (uint32_t i = 0; i < RESERVE_RUNS; i++)
		alloc->found[i].word = i;
	alloc->old_table.words = arena_extra_release(&image->arena, RELEASE_OLD_TABLE);
	alloc->returned.words = arena_extra_release(&image->arena, RELEASE_RETURNED);
	alloc->old_l1.words = arena_extra_release(&image->arena, RELEASE_OLD_L1);
	alloc->new_l1.words = arena_extra_release(&image->arena, RELEASE_NEW_L1);
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

int alloc_open(struct image *image, uint64_t size_most, struct why *why)
{
	alloc_init(image);

	int err = read_table(image, why);

	if (!err && !image->read_only)
		err = reach_find(image, size_most, why);
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
