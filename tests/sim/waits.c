/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The law of each queue of the engine: who waits there, waits for something that is under way. */
#include "waits.h"

#include "arena.h"
#include "cache.h"
#include "engine.h"
#include "epoch.h"
#include "part.h"
#include "refblock.h"
#include "report.h"

#include <errno.h>

#define MANY_SLICES 64u /* caches that are larger are looked at now and then */
#define MANY_BLOCKS 64u /* larger L1 tables are not looked at */

static void law(bool kept, const char *queue)
{
	if (!kept)
		sim_fail("%s: somebody waits for what is there or will not come: a lost wake-up",
			 queue);
}

static bool is_in(const struct waitq *queue, const struct task *task)
{
	list_for_each(node, &queue->tasks)
		if (container_of(node, const struct task, link) == task)
			return true;
	return false;
}

/* Parts that wait are outside of all epochs: what they wait for may wait for one (epoch.h). */
static void law_outside(const struct waitq *queue, const char *name)
{
	list_for_each(node, &queue->tasks) {
		const struct task *task = container_of(node, const struct task, link);

		if (container_of(task, const struct part, task)->epoch != EPOCH_OUTSIDE)
			sim_fail("%s: somebody waits within an epoch", name);
	}
}

/* --- flushes ------------------------------------------------------------------------------------- */

/* Is a flush that takes what is there now about to begin? */
static bool flush_comes(const struct image *image)
{
	const struct writeback *writeback = &image->writeback;

	return writeback->wanted || !is_in(&writeback->idle, &writeback->urgent);
}

/* Has somebody the room who is about to change something, and wakes then? */
static bool room_is_promised(const struct flush *flush)
{
	return (flush->dirty_count >= flush->dirty_max && list_empty(&flush->dirty)) ||
	       (!flush->releases_free && list_empty(&flush->pending));
}

static void check_flush(const struct image *image)
{
	const struct flush *flush = &image->flush;
	bool starved = !waitq_empty(&flush->starved);
	bool full = flush->dirty_count >= flush->dirty_max || !flush->releases_free ||
		    flush->l1_dirty_count >= FLUSH_L1_BLOCKS;

	law(waitq_empty(&flush->waiters) || flush->running || flush->l1_moving, "flush->waiters");
	law(flush->running || !is_in(&flush->waiters, &image->resize.task),
	    "flush->waiters, by a resize");
	law(!starved || !image_broken(image), "flush->starved, of a broken image");
	/* What a run has made room for, it says at its end. */
	law(!starved || full || flush->l1_moving || flush->running, "flush->starved");
	law(!starved || !full || flush->running || flush->l1_moving || room_is_promised(flush) ||
		    flush_comes(image),
	    "flush->starved, and no flush comes");
}

/* What is marked as newer than the file is to be written: not more than one run can, which is what may be taken over. */
static void check_l1(const struct image *image)
{
	uint32_t marked = 0;

	if (image->arena.l1_blocks > MANY_BLOCKS)
		return;
	for (uint32_t i = 0; i < image->arena.l1_blocks; i++)
		marked += arena_get(&image->arena.mark[unit_of_l1(&image->arena, i)]) != 0;
	if (marked > image->flush.l1_dirty_count || marked > FLUSH_L1_BLOCKS)
		sim_fail("%u blocks of L1 are newer than the file, %u are to be written", marked,
			 image->flush.l1_dirty_count);
}

static const struct sync_wait *sync_wait_of(const struct image *image, const struct task *task)
{
	if (task == &image->alloc.task || task == &image->alloc.grow.task)
		return &image->alloc.sync_wait;
	if (task == &image->resize.task)
		return &image->resize.sync_wait;
	return &container_of(task, const struct part, task)->sync_wait;
}

static void check_syncs(const struct image *image)
{
	const struct syncs *syncs = &image->syncs;
	const struct list *oldest = syncs->writes.next;
	uint64_t resolved = UINT64_MAX; /* durable writes before this one */

	if (!list_empty(&syncs->writes))
		resolved = container_of(oldest, const struct durable_write, link)->nth;
	list_for_each(node, &syncs->waiters.tasks) {
		const struct task *task = container_of(node, const struct task, link);
		const struct sync_wait *wait = sync_wait_of(image, task);
		bool waits = wait->writes >= resolved;

		for (unsigned i = 0; i < SYNC_SOURCES; i++)
			waits |= syncs->resolved[i] < wait->needed[i] && syncs->running[i];
		law(wait->asked && waits, "syncs->waiters");
	}
}

static void check_writeback(const struct image *image)
{
	const struct writeback *writeback = &image->writeback;

	law(waitq_empty(&writeback->quiet) || writeback->flushing, "writeback->quiet");
	if (writeback->ended || image_broken(image))
		return;
	law(!writeback->wanted || !is_in(&writeback->idle, &writeback->urgent),
	    "writeback->idle, the urgent one");
	law(!writeback->lazy_wanted || !is_in(&writeback->idle, &writeback->lazy),
	    "writeback->idle, the lazy one");
	law(list_empty(&image->flush.pending) || writeback->lazy_wanted || flush_comes(image),
	    "releases, and no flush comes");
	law(!image->flush.bounce_used || writeback->lazy_wanted || image->flush.running,
	    "memory of a flush, and nobody gives it back");
}

/* --- slices and tables --------------------------------------------------------------------------- */

static bool is_needed(const struct slice *slice)
{
	return slice->state == SLICE_LOADING || slice->pins || slice->dirty || slice->flushing;
}

/* Is there an idle one? */
static bool check_loads(const struct shard *shard)
{
	bool idle = false;

	for (uint32_t i = 0; i < shard_loads(shard); i++) {
		const struct slice_load *load = &shard->loads[i];
		bool used = load->slice;

		idle |= !used;
		law(!used || (load->slice->state == SLICE_LOADING && load->slice->load == load),
		    "load->slice");
		law(used || !load->loaded.name || waitq_empty(&load->loaded), "load->loaded");
		if (used)
			law_outside(&load->loaded, "load->loaded");
	}
	return idle;
}

static void check_shard(const struct image *image, const struct shard *shard, bool top)
{
	bool starved = !waitq_empty(&shard->starved);
	bool needed = shard->made == shard->count, dirty = false;
	const struct slice *spare = shard->spare;
	bool spare_needed = is_needed(spare);
	bool idle = check_loads(shard);

	for (uint32_t i = 0; i < shard->made; i++) {
		const struct slice *slice = &shard->slices[i];

		law((slice->state == SLICE_LOADING) == (slice->load != NULL), "slice->load");
		needed &= is_needed(slice);
		dirty |= slice->dirty && !slice->pins && !slice->flushing;
	}
	law((spare->state == SLICE_LOADING) == (spare->load != NULL), "spare->load");
	law(!starved || needed || spare_needed, "shard->starved");
	law(waitq_empty(&shard->lookers) || (needed && spare_needed) || !idle, "shard->lookers");
	law_outside(&shard->starved, "shard->starved");
	law_outside(&shard->lookers, "shard->lookers");
	if (spare->dirty || spare->flushing)
		sim_fail("the spare slice of a shard is changed");
	law(!starved || !dirty || !top || image->flush.running || image->flush.l1_moving ||
		    image_broken(image) || image->writeback.ended || flush_comes(image) ||
		    spare_needed,
	    "shard->starved, and no flush comes");
}

/* Who wants it elsewhere, and has no place for it, leaves it where others look at it. */
static void check_spare(const struct cache *cache, const struct shard *shard, uint64_t *was)
{
	const struct slice *spare = shard->spare;

	if (*was && spare->state == SLICE_FREE && !atomic_load(&cache->directory[*was - 1]))
		sim_fail("the spare slice of a shard was given up for nothing");
	*was = spare->state == SLICE_VALID ? spare->index + 1 : 0;
}

static void check_slices(const struct image *image)
{
	static unsigned turns;

	for (const struct node *node = &image->top; node; node = node->below) {
		if (node->raw || (node->cache.nslices > MANY_SLICES && turns++ % 64))
			continue;
		for (uint32_t i = 0; i < node->cache.nshards; i++)
			check_shard(image, &node->cache.shards[i], node == &image->top);
	}
}

static void check_tables(const struct tables *tables)
{
	bool busy = true;

	for (unsigned i = 0; i < TABLE_JOBS; i++) {
		busy &= tables->job[i].busy;
		law(waitq_empty(&tables->job[i].waiters) || tables->job[i].busy, "job->waiters");
	}
	law(waitq_empty(&tables->starved) || busy, "tables->starved");
}

/* --- the allocator ------------------------------------------------------------------------------- */

/* Could this one of the image's epochs move on? */
static bool epoch_is_over(const struct image *image, const struct epoch *epoch)
{
	uint64_t now = atomic_load(&epoch->now);

	for (unsigned i = 0; i < image->lanes; i++) {
		const struct image_lane *own = &image->lane[i];
		const struct epoch_lane *lane = epoch == &image->epoch ? &own->epoch : &own->inside;

		for (unsigned bucket = 0; bucket < EPOCH_BUCKETS; bucket++)
			if (bucket != now % EPOCH_BUCKETS && atomic_load(&lane->live[bucket]))
				return false;
	}
	return true;
}

/* Has somebody to leave first who came in before the door closed? */
static bool is_awaited(const struct image *image)
{
	return image->resize.order == RESIZE_EMPTY && !image_broken(image) &&
	       !(epoch_is_over(image, &image->epoch) && epoch_is_over(image, &image->requests));
}

/* Is something being dropped that a flush has made durable, or still will? */
static bool space_comes(const struct image *image)
{
	const struct flush *flush = &image->flush;

	/* While a run is under way it may have told the allocator how it ends, or not yet. */
	bool failed = flush->running ? image->alloc.flush_failed :
				       flush->finished != flush->succeeded;

	return !list_empty(&image->alloc.released) ||
	       (!failed && !(list_empty(&flush->pending) && list_empty(&flush->frozen_releases)));
}

/*
 * Larger refcount tables that have come to nothing take one place, behind what the old one describes and what
 * the file had; not one after the other.
 */
static void check_growth(const struct image *image)
{
	const struct alloc *alloc = &image->alloc;
	const struct geometry *geo = &image->top.geo;
	uint64_t per_block = UINT64_C(1) << geo->refcount_block_bits;
	uint64_t had = div_round_up(max_u64(alloc->opened_bytes, image->top.file->size),
				    geo->cluster_bytes);
	uint64_t described = max_u64(alloc->table_entries * per_block, had);

	if (alloc->tail > round_up(described, per_block) + (alloc->grow.blocks + 1) * per_block)
		sim_fail("the file has become longer and longer, and nothing describes it");
}

static void check_alloc(const struct image *image)
{
	const struct alloc *alloc = &image->alloc;
	const struct resize *resize = &image->resize;
	bool idle = is_in(&alloc->idle, &alloc->task), broken = image_broken(image);

	check_growth(image);
	law(!idle || broken || !alloc->starved || space_comes(image), "alloc->idle, starved");
	law(!idle || broken || !alloc->starved || !list_empty(&alloc->released) ||
		    image->flush.running || flush_comes(image),
	    "alloc->idle, starved, and no flush comes");
	law(!idle || !alloc->closing, "alloc->idle, the end");
	law(!idle || !atomic_load(&image->corrupt) || alloc->marked, "alloc->idle, the mark");
	law(!idle || !resize->order || is_awaited(image), "alloc->idle, an order of a resize");
	law(!idle || broken || !resize->unused, "alloc->idle, a row that is not used");
	law(!idle || broken || list_empty(&alloc->released) || !epoch_is_over(image, &image->epoch),
	    "alloc->idle, releases");
	/* What the last sync of all says may be believed. */
	if (alloc->closing && image->flush.running)
		sim_fail("a flush is under way, and the allocator closes");
	law(waitq_empty(&alloc->closed) || !alloc->closed_down, "alloc->closed");
	law(waitq_empty(&resize->answered) || resize->order, "resize->answered");
	law(waitq_empty(&resize->ended) || resize->busy, "resize->ended");
	for (unsigned i = 0; i < image->lanes; i++) {
		const struct reserve *reserve = &image->lane[i].reserve;

		law(!idle || !reserve->wanted || alloc->starved, "alloc->idle, a lane's order");
		law(waitq_empty(&reserve->waiters) || reserve->wanted, "reserve->waiters");
	}
}

/* The refcounts that a piece has are in memory, or in the file. */
static const uint8_t *piece_bytes(struct image *image, uint64_t index)
{
	static uint8_t bytes[LIMIT_SLICE_BYTES];
	const struct ref_piece *piece = piece_cached(image, index);
	struct host host;

	if (piece)
		return piece->bytes;
	if (piece_host(image, index, &host) || !host.byte)
		return NULL;
	image->top.file->read(image->top.file, bytes, image->top.geo.slice_bytes, host.byte);
	return bytes;
}

static void check_piece(struct image *image, uint64_t index, uint64_t end)
{
	const struct geometry *geo = &image->top.geo;
	uint64_t first = index << geo->slice_refcounts_bits;
	const uint8_t *bytes = piece_bytes(image, index);

	for (uint64_t at = first; bytes && at < end && at >> geo->slice_refcounts_bits == index;
	     at++)
		if (!refcount_get(bytes, geo->refcount_order, (uint32_t)(at - first)))
			sim_fail("there is no space, says the allocator, but cluster %llu is free",
				 (unsigned long long)at);
}

/* Somebody waited for clusters, and was told just now that there are none. */
static void check_told(const struct image *image, bool *waited)
{
	const struct alloc *alloc = &image->alloc;
	bool failing = strcmp(task_state(&alloc->task), "A_FAIL") == 0;

	if (*waited && !failing && !alloc->starved && !image_broken(image) && space_comes(image))
		sim_fail("there is no space, says the allocator, but some has been dropped");
	*waited = failing && alloc->task.err == -ENOSPC && !alloc->row &&
		  !waitq_empty(&image->lane[alloc->lane].reserve.waiters);
}

void waits_check_space(struct image *image, struct waits *waits, bool mishap)
{
	const struct alloc *alloc = &image->alloc;
	uint64_t end = alloc->tail;

	if (image->read_only)
		return;
	check_told(image, &waits->waited);

	/* Not of a row, which may not be anywhere. */
	if (mishap || alloc->task.err != -ENOSPC || alloc->row ||
	    strcmp(task_state(&alloc->task), "A_FAIL") != 0)
		return;
	if (image->top.file->fixed_size)
		end = image->top.file->size >> image->top.geo.cluster_bits;
	for (uint64_t index = 0; index << image->top.geo.slice_refcounts_bits < end; index++)
		check_piece(image, index, end);
}

bool waits_is_dropping(const struct image *image)
{
	const char *state = image->read_only ? "" : task_state(&image->alloc.task);

	return strcmp(state, "A_DROP") == 0 || strcmp(state, "A_DROPPED") == 0;
}

/* --- buffers ------------------------------------------------------------------------------------- */

static void check_copies(const struct copies *copies)
{
	for (unsigned i = 0; i < copies->buffers && !waitq_empty(&copies->waiters); i++)
		law(copies->busy[i], "copies->waiters");
}

/* Each run stands where who takes over finds it. */
static void check_stock(const struct image *image, unsigned lane)
{
	const struct reserve *reserve = &image->lane[lane].reserve;

	for (uint32_t i = 0; i < reserve->runs; i++) {
		const struct run *run = &reserve->run[i];

		if (arena_get(arena_stock(&image->arena, lane, run->word)) !=
		    word_make(run->cluster, run->count))
			sim_fail("lane %u has clusters in stock that stand nowhere", lane);
	}
}

static void check_lane(const struct image_lane *lane)
{
	const struct unpack *unpack = &lane->unpack;

	for (unsigned i = 0; i < UNPACK_SLOTS; i++) {
		const struct unpacked *slot = &unpack->slot[i];
		bool loading = slot->state == UNPACKED_LOADING;

		law(waitq_empty(&slot->waiters) || loading, "slot->waiters");
		law_outside(&slot->waiters, "slot->waiters");
		law(waitq_empty(&unpack->starved) || loading || slot->users, "unpack->starved");
	}
	law_outside(&unpack->starved, "unpack->starved");
	for (unsigned i = 0; i < BOUNCE_POOLS; i++) {
		const struct bounce_pool *pool = &lane->bounce.pool[i];

		if (!pool->buffers)
			continue;
		law(waitq_empty(&pool->waiters) || !pool->free_count, "bounce->waiters");
		law_outside(&pool->waiters, "bounce->waiters");
	}
}

void waits_check(struct image *image, struct waits *waits)
{
	const struct cache *cache = &image->top.cache;

	_Static_assert(WAITS_SHARDS >= CACHE_SHARDS_MAX, "all shards have room");
	for (uint32_t i = 0; i < cache->nshards; i++)
		check_spare(cache, &cache->shards[i], &waits->spare[i]);
	check_slices(image);
	for (unsigned i = 0; i < image->lanes; i++)
		check_lane(&image->lane[i]);
	if (image->read_only)
		return;
	for (unsigned i = 0; i < image->lanes; i++)
		check_stock(image, i);
	check_flush(image);
	check_syncs(image);
	check_l1(image);
	check_writeback(image);
	check_tables(&image->tables);
	check_alloc(image);
	check_copies(&image->copies);
}

void waits_check_rest(const struct image *image)
{
	for (unsigned i = 0; i < image->lanes; i++)
		for (unsigned bucket = 0; bucket < EPOCH_BUCKETS; bucket++)
			if (atomic_load(&image->lane[i].epoch.live[bucket]))
				sim_fail("nothing is under way, and lane %u is in an epoch", i);
}

/* What could not be saved stands there for the next process, unless it is past saving. */
void waits_check_closed(const struct image *image, int err)
{
	const struct arena *arena = &image->arena;

	if (arena->shared && (!err || image_broken(image)) &&
	    arena_get(&arena->header->state) != ARENA_CLOSED)
		sim_fail("the image is closed, and what was in memory is not given up");
}

bool waits_break_is_known(const struct image *image)
{
	return arena_get(&image->arena.header->broken) != ARENA_SOUND;
}
