/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Flush: the order of everything that reaches the disk.
 *
 * The laws of the disk; other files cite them by number.
 *
 *  1. Durable refcount >= durable references, always.  The refcounts of a reserved run are
 *     durable before any cluster of it is linked, so linking needs no refcount flush.
 *  2. A mapping becomes durable only after the bytes that it maps.  Exception: the old content
 *     was zeros and the new cluster is known to read as zeros where not yet written; then any
 *     order is right, because every state in between is an old or a new value.  Bytes in an
 *     external data file are made durable before any mapping, by every run.
 *  3. A new table is durable before the pointer to it.
 *  4. A dropped mapping is durable before its clusters lose their refcount; a cluster is reused
 *     only after that, after every epoch that could have seen the mapping has ended, and after
 *     its hole punch has completed.
 *  5. Header fields change by one small write inside one sector; the rest of the header is never
 *     made anew.
 *  6. After a power cut every sector is its last flushed value or one written later.
 *  7. A failed fsync is final: the image latches broken, writes fail, reads go on.
 *  8. kill -9 loses nothing that was acknowledged, flushed or not: what is not in the file stands
 *     in memory that outlives the process (arena.h), and the next process goes on with it.
 *
 * One flush runs at a time, and one run serves everybody who came before it began.  A run takes
 * the dirty slices and the releases of that instant and copies the slices; what is linked later
 * goes with the next run.  So after the data sync every entry in the copies may become durable.
 */
#include "flush.h"

#include "alone.h"
#include "arena.h"
#include "cache.h"
#include "epoch.h"
#include "part.h"
#include "probe.h"
#include "sync.h"
#include "writeback.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#define DIRTY_MAX 512u
#define RELEASES_MAX 4096u
#define RELEASES_MIN 8u
/* So many copies may be durable writes, as each may cost as much as a sync. */
#define DURABLE_MOST 2u

/*
 *	JOIN        -> DONE JOIN* COPY
 *	COPY        -> COPY COPIED
 *	COPIED      -> DATA_SYNC
 *	DATA_SYNC   -> DATA_SYNCED~ WRITE
 *	DATA_SYNCED -> DATA_BELIEVE
 *	DATA_BELIEVE -> DATA_BELIEVE* SETTLE WRITE
 *	WRITE       -> SETTLE WRITE~ WRITTEN~ SYNC
 *	WRITTEN     -> SETTLE BELIEVE
 *	SYNC        -> SETTLE SYNCED~
 *	SYNCED      -> BELIEVE
 *	BELIEVE     -> BELIEVE* SETTLE
 *	SETTLE      -> SETTLE RELEASE
 *	RELEASE     -> OUT
 *	OUT         -> DONE
 */
#define FLUSH_LIST(s) \
	s(F_JOIN) s(F_COPY) s(F_COPIED) s(F_DATA_SYNC) s(F_DATA_SYNCED) s(F_DATA_BELIEVE) \
		s(F_WRITE) s(F_WRITTEN) s(F_SYNC) s(F_SYNCED) s(F_BELIEVE) s(F_SETTLE) \
			s(F_RELEASE) s(F_OUT) s(F_DONE)
MACHINE_STATES(flush, FLUSH_LIST);

/* --- what changes owe ---------------------------------------------------------------------------- */

/*
 * Somebody waits for room.  A flush makes some unless one runs already, or all of it is promised, or
 * the allocator has it: they all wake who waits.
 */
static void want_room(struct image *image)
{
	const struct flush *flush = &image->flush;

	if (!flush->running &&
	    (!list_empty(&flush->dirty) || !list_empty(&flush->pending) || flush->l1_dirty_count))
		writeback_want_locked(image);
}

bool flush_room_take(struct image *image)
{
	struct flush *flush = &image->flush;

	if (flush->dirty_count >= flush->dirty_max || !flush->releases_free) {
		want_room(image);
		return false;
	}
	flush->dirty_count++;
	flush->releases_free--;
	return true;
}

static void starved_look(struct flush *flush)
{
	waitq_wake(&flush->starved);
}

/* Under flush->lock. */
static struct release *release_take(struct image *image)
{
	struct flush *flush = &image->flush;
	struct list *link = flush->free_releases.next;

	if (list_empty(&flush->free_releases)) {
		uint32_t nth = flush->releases_used++;

		must(nth < image->arena.releases);
		flush->releases[nth].words = &image->arena.release[nth];
		return &flush->releases[nth];
	}
	list_del(link);
	return container_of(link, struct release, link);
}

/* A promised release takes shape.  Under flush->lock. */
static void release_add(struct image *image, struct references dropped)
{
	struct flush *flush = &image->flush;
	struct release *release = release_take(image);

	release->cluster = dropped.cluster;
	release->count = dropped.clusters;
	release->where = dropped.where;
	arena_set_release(release);
	count(&image->counters.clusters_dropped, dropped.clusters);
	list_add_tail(&flush->pending, &release->link);
	writeback_lazily_locked(image);
}

void release_put(struct image *image, struct release *release)
{
	struct flush *flush = &image->flush;

	CRITICAL(&flush->lock);
	list_add_head(&flush->free_releases, &release->link);
	flush->releases_free++;
	starved_look(flush);
}

bool flush_inherit_release(struct image *image, struct references dropped)
{
	CRITICAL(&image->flush.lock);
	if (!image->flush.releases_free)
		return false;
	image->flush.releases_free--;
	release_add(image, dropped);
	return true;
}

/* Does nothing when the slice is marked. */
static void mark_slice(struct image *image, struct slice *slice)
{
	if (!mutant(SLICE_NOT_MARKED))
		arena_mark(&image->arena, unit_of_slice(image, slice), slice->index,
			   slice->summed ? NULL : slice->entries, image->top.geo.slice_bytes);
	slice->summed = true;
}

void flush_changing(struct image *image, struct slice *slice, struct references dropped,
		    bool data_first)
{
	struct flush *flush = &image->flush;

	must(slice != slice->shard->spare);
	mark_slice(image, slice);
	CRITICAL(&flush->lock);
	flush->data_first |= data_first;
	if (slice->dirty) {
		flush->dirty_count--;
	} else {
		slice->dirty = true;
		atomic_store_explicit(&slice->unsynced, true, memory_order_release);
		list_add_tail(&flush->dirty, &slice->dirty_link);
	}
	if (dropped.clusters)
		release_add(image, dropped);
	else
		flush->releases_free++;
	starved_look(flush);
	if (flush->dirty_count > flush->dirty_max / 2 + 1)
		writeback_want_locked(image);
}

static size_t l1_block_bytes(const struct image *image, uint64_t block)
{
	return min_u64(L1_BLOCK_BYTES, image->top.l1_bytes - block * L1_BLOCK_BYTES);
}

/* All of it, also what is behind the end of the table: there it is zeros. */
static const uint8_t *l1_block(const struct image *image, uint64_t block)
{
	return (const uint8_t *)image->top.l1 + block * L1_BLOCK_BYTES;
}

static void mark_l1(struct image *image, uint64_t block)
{
	if (!mutant(L1_NOT_MARKED))
		arena_mark(&image->arena, unit_of_l1(&image->arena, block), block,
			   l1_block(image, block), L1_BLOCK_BYTES);
}

bool flush_changed_l1(struct image *image, uint64_t l1_index, uint64_t entry, uint64_t old_cluster,
		      bool data_first)
{
	struct flush *flush = &image->flush;
	uint64_t block = l1_index * sizeof(*image->top.l1) / L1_BLOCK_BYTES;

	if (flush->l1_moving)
		return false;
	if ((old_cluster && !flush->releases_free) ||
	    (!flush->l1_dirty[block] && flush->l1_dirty_count >= FLUSH_L1_BLOCKS)) {
		want_room(image);
		return false;
	}
	if (!flush->l1_dirty[block]) {
		flush->l1_dirty[block] = 1;
		flush->l1_dirty_count++;
	}
	flush->data_first |= data_first;
	mark_l1(image, block);
	if (old_cluster) {
		flush->releases_free--;
		release_add(image, (struct references){
					   .cluster = old_cluster,
					   .clusters = 1,
					   .where = where_make(l1_index, WHERE_TABLE),
				   });
	}
	kill_point();
	be64_store(&image->top.l1[l1_index], entry);
	return true;
}

/* --- the run ---------------------------------------------------------------------------------------- */

static uint8_t *slice_copy(const struct image *image, uint32_t nth)
{
	return image->flush.bounce + (size_t)nth * image->top.geo.slice_bytes;
}

static uint8_t *l1_copy(const struct image *image, uint32_t nth)
{
	return slice_copy(image, image->flush.dirty_max) + (size_t)nth * L1_BLOCK_BYTES;
}

/* Become the runner.  Under flush->lock; releases first, so that the copies have their drops. */
static void freeze(struct image *image, struct part *part)
{
	struct flush *flush = &image->flush;

	flush->running = true;
	part->flush_run = ++flush->started;
	list_splice_tail(&flush->frozen_releases, &flush->pending);
	flush->frozen_count = 0;
	while (!list_empty(&flush->dirty)) {
		struct list *node = flush->dirty.next;

		list_del(node);
		must(flush->frozen_count < flush->dirty_max);
		flush->frozen[flush->frozen_count++] = container_of(node, struct slice, dirty_link);
	}
	flush->cursor = 0;
	flush->l1_frozen_count = 0;
	count(&image->counters.flush_runs, 1);
}

/* Under the slice's shard's lock. */
static void copy_slice(struct image *image, struct slice *slice)
{
	struct flush *flush = &image->flush;
	struct guest guest = { slice->index << (image->top.geo.cluster_bits +
						image->top.geo.slice_entries_bits) };
	struct l1_entry table =
		l1_decode(&image->top.geo,
			  be64_load(&image->top.l1[guest_l1_index(&image->top.geo, guest)]));
	unsigned slices_bits = image->top.geo.cluster_bits - image->top.geo.slice_bits;
	uint64_t nth = slice->index & ((UINT64_C(1) << slices_bits) - 1);

	must(slice->dirty);
	must(table.kind == L1_TABLE);
	must(table.copied);
	memcpy(slice_copy(image, flush->cursor), slice->entries, image->top.geo.slice_bytes);
	arena_writing(&image->arena, unit_of_slice(image, slice), slice_copy(image, flush->cursor),
		      image->top.geo.slice_bytes);
	if (mutant(MARK_GONE_EARLY))
		arena_written(&image->arena, unit_of_slice(image, slice), false);
	flush->frozen_off[flush->cursor] = table.host.byte + (nth << image->top.geo.slice_bits);
	slice->dirty = false;
	slice->flushing = true;
}

/* Under flush->lock; after the slices, so that every table they lie in is pointed to. */
static void copy_l1(struct image *image)
{
	struct flush *flush = &image->flush;
	uint32_t blocks = (uint32_t)div_round_up(image->top.l1_bytes, L1_BLOCK_BYTES);

	flush->frozen_data_first = flush->data_first;
	flush->data_first = false;
	for (uint32_t i = 0; flush->l1_dirty_count > flush->l1_frozen_count && i < blocks; i++) {
		if (!flush->l1_dirty[i])
			continue;
		memcpy(l1_copy(image, flush->l1_frozen_count), l1_block(image, i),
		       l1_block_bytes(image, i));
		arena_writing(&image->arena, unit_of_l1(&image->arena, i), l1_block(image, i),
			      L1_BLOCK_BYTES);
		flush->l1_dirty[i] = 0;
		flush->l1_frozen[flush->l1_frozen_count++] = i;
	}
}

static uint32_t frozen_all(const struct flush *flush)
{
	return flush->frozen_count + flush->l1_frozen_count;
}

/*
 * Is all durable once the copies are written, and each of them by its own write?  Through the page
 * cache such a write may be told of what others have lost, also for want of space, which would be
 * taken for its own.
 */
static bool written_durably(const struct image *image)
{
	const struct host_file *file = image->top.file;
	uint32_t all = frozen_all(&image->flush);

	return image->flush.settled &&
	       (!all || (file->direct && sync_by_write(file) && all <= DURABLE_MOST));
}

static unsigned write_flags(const struct image *image)
{
	return written_durably(image) && !mutant(TABLES_NOT_DURABLE) ? IO_DSYNC : 0;
}

static void write_slice(struct task *t, struct image *image, struct io *io, uint32_t nth)
{
	struct flush *flush = &image->flush;

	if (mutant(LATE_SNAPSHOT))
		memcpy(slice_copy(image, nth), flush->frozen[nth]->entries,
		       image->top.geo.slice_bytes);
	io_start_flags(t, io, IO_WRITE, image->top.file->index, span_memory(slice_copy(image, nth)),
		       (struct host){ flush->frozen_off[nth] }, image->top.geo.slice_bytes,
		       write_flags(image));
	count(&image->counters.slice_writes, 1);
}

static void write_l1(struct task *t, struct image *image, struct io *io, uint32_t nth)
{
	uint64_t block = image->flush.l1_frozen[nth];

	io_start_flags(t, io, IO_WRITE, image->top.file->index, span_memory(l1_copy(image, nth)),
		       (struct host){ image->top.header.l1.byte + block * L1_BLOCK_BYTES },
		       l1_block_bytes(image, block), write_flags(image));
}

/* The next FLUSH_IOS copies; false when all are written. */
static bool start_writes(struct task *t, struct image *image)
{
	struct flush *flush = &image->flush;
	uint32_t all = frozen_all(flush);
	unsigned n = 0;

	for (; n < FLUSH_IOS && flush->cursor < all; n++, flush->cursor++) {
		if (flush->cursor < flush->frozen_count)
			write_slice(t, image, &flush->io[n], flush->cursor);
		else
			write_l1(t, image, &flush->io[n], flush->cursor - flush->frozen_count);
	}
	return n > 0;
}

/* What is owed beside the copies.  After these were made, so that all that they map is counted. */
static uint64_t look_owed(struct image *image)
{
	uint64_t owed = sync_owed(image);

	alone_learn(image, owed);
	return owed;
}

static void start_sync(struct task *t, struct image *image, unsigned files)
{
	count(&image->counters.syncs, 1 + (files == (SYNC_IMAGE | SYNC_DATA)));
	sync_start(image, t, &image->flush.io[0], SYNC_FLUSH, files);
}

/* What has to be durable before the mappings: law 2 and, of new tables, law 3. */
static unsigned files_first(const struct image *image)
{
	unsigned files = 0;

	if (image->flush.settled)
		return 0;
	if (image->flush.frozen_data_first && !mutant(NO_DATA_SYNC))
		files |= SYNC_IMAGE;
	if (image->top.geo.data_apart && !mutant(LATE_DATA_FILE_SYNC) && !mutant(NO_DATA_FILE_SYNC))
		files |= SYNC_DATA;
	return files;
}

static unsigned files_last(const struct image *image)
{
	bool late = mutant(LATE_DATA_FILE_SYNC) && image->top.geo.data_apart;

	return SYNC_IMAGE | (late ? SYNC_DATA : 0u);
}

/* One frozen slice is clean, or dirty again.  Under its shard's lock. */
static void settle(struct image *image, struct slice *slice, int err)
{
	struct flush *flush = &image->flush;

	slice->flushing = false;
	if (!err) {
		arena_written(&image->arena, unit_of_slice(image, slice), slice->dirty);
		CRITICAL(&flush->lock);
		flush->dirty_count--;
		if (!slice->dirty)
			atomic_store_explicit(&slice->unsynced, false, memory_order_release);
	} else {
		CRITICAL(&flush->lock);
		if (slice->dirty)
			flush->dirty_count--;
		else
			list_add_tail(&flush->dirty, &slice->dirty_link);
		slice->dirty = true;
	}
	/* A failed run has freed nothing: who waits must not wait for ever. */
	if (err)
		waitq_fail(&slice->shard->starved, err);
	else if (!slice->dirty)
		shard_relieve(slice->shard);
}

/* Drops that are durable now belong to the allocator.  Under alloc->lock. */
static void hand_over_releases(struct image *image)
{
	uint64_t epoch = epoch_now(&image->epoch);

	list_for_each(node, &image->flush.frozen_releases)
		container_of(node, struct release, link)->epoch = epoch;
	if (list_empty(&image->flush.frozen_releases))
		return;
	list_splice_tail(&image->alloc.released, &image->flush.frozen_releases);
	waitq_wake(&image->alloc.idle);
}

/* Under flush->lock. */
static void finish_run(struct image *image, int err)
{
	struct flush *flush = &image->flush;

	flush->running = false;
	flush->finished = flush->started;
	if (frozen_all(flush))
		flush->bounce_used = flush->finished;
	if (err) {
		flush->err = err;
		flush->data_first |= flush->frozen_data_first;
		list_splice_tail(&flush->pending, &flush->frozen_releases);
		for (uint32_t i = 0; i < flush->l1_frozen_count; i++) {
			flush->l1_dirty_count -= flush->l1_dirty[flush->l1_frozen[i]];
			flush->l1_dirty[flush->l1_frozen[i]] = 1;
		}
		waitq_fail(&flush->starved, err);
	} else {
		flush->succeeded = flush->finished;
		atomic_store_explicit(&image->inherited, false, memory_order_release);
		flush->l1_dirty_count -= flush->l1_frozen_count;
		for (uint32_t i = 0; i < flush->l1_frozen_count; i++)
			arena_written(&image->arena, unit_of_l1(&image->arena, flush->l1_frozen[i]),
				      flush->l1_dirty[flush->l1_frozen[i]]);
		starved_look(flush);
	}
	/* The timer may have fired meanwhile, and its flush have been this one. */
	if (flush->bounce_used || !list_empty(&flush->pending))
		writeback_lazily_locked(image);
	if (!mutant(NO_FLUSH_WAKE))
		waitq_wake(&flush->waiters);
}

static enum step flush_step(struct task *t)
{
	struct part *part = container_of(t, struct part, task);
	struct image *image = part->image;
	struct flush *flush = &image->flush;

	switch (t->state) {
	case F_JOIN: {
		part_met(part, CAUSE_FLUSH);
		CRITICAL(&flush->lock);
		if (t->err || image_broken(image))
			return fail(t, -EIO, F_DONE);
		if (!part->flush_run)
			part->flush_run =
				flush->started + !(mutant(FLUSH_JOINS_RUNNING) && flush->running);
		if (flush->succeeded >= part->flush_run)
			return go(t, F_DONE);
		if (flush->finished >= part->flush_run)
			return fail(t, flush->err, F_DONE);
		if (flush->running || (flush->l1_moving && !mutant(FLUSH_DURING_MOVE)))
			return park(t, &flush->waiters, F_JOIN);
		freeze(image, part);
		probe2(flush_start, flush->started, flush->frozen_count);
		return go(t, F_COPY);
	}
	case F_COPY: {
		if (flush->cursor == flush->frozen_count)
			return go(t, F_COPIED);
		struct slice *slice = flush->frozen[flush->cursor];
		CRITICAL(&slice->shard->lock);
		copy_slice(image, slice);
		flush->cursor++;
		return go(t, F_COPY);
	}
	case F_COPIED: {
		CRITICAL(&flush->lock);
		copy_l1(image);
		flush->cursor = 0;
		flush->settled = !look_owed(image);
		return go(t, F_DATA_SYNC);
	}
	case F_DATA_SYNC:
		if (mutant(EARLY_REUSE))
			hand_over_releases(image);
		if (!files_first(image))
			return go(t, F_WRITE);
		start_sync(t, image, files_first(image));
		return await_io(t, F_DATA_SYNCED);

	case F_DATA_SYNCED:
		sync_end(image, t, SYNC_FLUSH);
		return go(t, F_DATA_BELIEVE);

	case F_DATA_BELIEVE: {
		CRITICAL(&flush->lock);
		if (!sync_believable(image, &part->sync_wait))
			return park(t, &image->syncs.waiters, F_DATA_BELIEVE);
		if (image_broken(image) && !mutant(SYNC_ERROR_IGNORED))
			return fail(t, -EIO, F_SETTLE);
		return go(t, F_WRITE);
	}

	case F_WRITE:
		if (t->err) {
			flush->cursor = 0;
			return go(t, F_SETTLE);
		}
		if (written_durably(image)) {
			sync_write_begin(image, &part->durable);
			start_writes(t, image);
			return await_io(t, F_WRITTEN);
		}
		if (start_writes(t, image))
			return await_io(t, F_WRITE);
		return go(t, F_SYNC);

	case F_WRITTEN:
		flush->cursor = 0;
		sync_write_end(image, &part->durable, t->err);
		return go(t, t->err ? F_SETTLE : F_BELIEVE);

	case F_SYNC:
		flush->cursor = 0;
		if (mutant(NO_META_SYNC))
			return go(t, F_SETTLE);
		start_sync(t, image, files_last(image));
		return await_io(t, F_SYNCED);

	case F_SYNCED:
		sync_end(image, t, SYNC_FLUSH);
		return go(t, F_BELIEVE);

	case F_BELIEVE: {
		CRITICAL(&flush->lock);
		if (!sync_believable(image, &part->sync_wait))
			return park(t, &image->syncs.waiters, F_BELIEVE);
		if (image_broken(image) && !mutant(SYNC_ERROR_IGNORED))
			return fail(t, -EIO, F_SETTLE);
		return go(t, F_SETTLE);
	}

	case F_SETTLE: {
		if (flush->cursor == flush->frozen_count)
			return go(t, F_RELEASE);
		struct slice *slice = flush->frozen[flush->cursor++];
		CRITICAL(&slice->shard->lock);
		settle(image, slice, t->err);
		return go(t, F_SETTLE);
	}
	case F_RELEASE: {
		CRITICAL(&image->alloc.lock);
		if (t->err || (image->alloc.flush_failed && !mutant(FLUSH_FAILED_STAYS)))
			image->alloc.flush_failed = t->err;
		if (!t->err)
			hand_over_releases(image);
		else if (image->alloc.starved)
			waitq_wake(&image->alloc.idle);
		return go(t, F_OUT);
	}
	case F_OUT: {
		CRITICAL(&flush->lock);
		probe2(flush_end, flush->started, t->err);
		finish_run(image, t->err);
		return go(t, F_DONE);
	}
	case F_DONE:
		part_end(part);
		return STEP_DONE;
	}
	abort();
}

const struct machine flush_machine = { "flush", flush_step, flush_states };

bool flush_rest_locked(struct image *image)
{
	struct flush *flush = &image->flush;

	/* Who ends a run sees to it. */
	if (!flush->bounce_used || (flush->running && !mutant(COPIES_GIVEN_BACK)))
		return false;
	if (flush->bounce_used != flush->bounce_seen) {
		flush->bounce_seen = flush->bounce_used;
		return true;
	}
	sparse_return(flush->bounce, flush->bounce_bytes);
	flush->bounce_used = 0;
	return false;
}

/* --- open ---------------------------------------------------------------------------------------------- */

static uint32_t dirty_max(uint32_t slices)
{
	return (uint32_t)min_u64(slices, DIRTY_MAX);
}

uint32_t flush_releases(uint32_t slices)
{
	return (uint32_t)min_u64(max_u64(dirty_max(slices) * 8, RELEASES_MIN), RELEASES_MAX);
}

static size_t releases_bytes(const struct image *image)
{
	return image->arena.releases * sizeof(struct release);
}

static int flush_memory(struct image *image)
{
	struct flush *flush = &image->flush;

	flush->bounce_bytes = (size_t)flush->dirty_max * image->top.geo.slice_bytes +
			      (size_t)FLUSH_L1_BLOCKS * L1_BLOCK_BYTES;
	flush->bounce = sparse_map(flush->bounce_bytes);
	flush->frozen = calloc(flush->dirty_max, sizeof(struct slice *));
	flush->frozen_off = calloc(flush->dirty_max, sizeof(*flush->frozen_off));
	flush->l1_dirty = calloc((size_t)image->arena.l1_blocks + 1, 1);
	flush->releases = sparse_map(releases_bytes(image));
	if (!flush->bounce || !flush->frozen || !flush->frozen_off || !flush->l1_dirty ||
	    !flush->releases)
		return -ENOMEM;
	return 0;
}

int flush_open(struct image *image)
{
	struct flush *flush = &image->flush;

	pthread_mutex_init(&flush->lock, NULL);
	list_init(&flush->dirty);
	list_init(&flush->pending);
	list_init(&flush->free_releases);
	list_init(&flush->frozen_releases);
	waitq_init(&flush->waiters);
	waitq_init(&flush->starved);
	list_init(&image->syncs.writes);
	waitq_init(&image->syncs.waiters);
	flush->dirty_max = dirty_max(image->top.cache.nslices);
	if (flush_memory(image))
		return -ENOMEM;
	flush->releases_free = image->arena.releases;
	return 0;
}

void flush_free(struct image *image)
{
	struct flush *flush = &image->flush;

	if (flush->bounce)
		munmap(flush->bounce, flush->bounce_bytes);
	free(flush->frozen);
	free(flush->frozen_off);
	free(flush->l1_dirty);
	if (flush->releases)
		munmap(flush->releases, releases_bytes(image));
	pthread_mutex_destroy(&flush->lock);
}
