/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The cache of L2 slices: which pieces of the mapping are in memory?
 *
 * Who misses a slice starts its load and parks on it; the load is a task of its own, so that readers,
 * writers and zeroers need no states for it.  Dirty, pinned and
 * loading slices stay; all others may be evicted at any time, because whoever changes a mapping
 * pins it first and whoever only reads it looks with slice_peek().
 *
 * When all of a shard's slices are needed, who only looks takes turns at a spare one, which never
 * becomes dirty: a read does not wait for a flush, which may fail for want of space.
 */
#include "cache.h"

#include "epoch.h"
#include "writeback.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#define SHARD_WAYS 8u
#define GROWING_SLICES 64u /* at least, of a disk that may grow */

/*
 *	READ   -> LOADED LOADED~
 *	LOADED -> DONE
 */
#define LOAD_LIST(s) s(L_READ) s(L_LOADED)
MACHINE_STATES(load, LOAD_LIST);

static struct host slice_host(const struct node *node, uint64_t index)
{
	unsigned slices_bits = node->geo.cluster_bits - node->geo.slice_bits;
	struct l1_entry table = l1_decode(&node->geo, be64_load(&node->l1[index >> slices_bits]));
	uint64_t slice = index & ((UINT64_C(1) << slices_bits) - 1);

	if (table.kind != L1_TABLE)
		return (struct host){ 0 };
	return (struct host){ table.host.byte + (slice << node->geo.slice_bits) };
}

/* Pin it for each of the parts that wait for it; they are parked, so they are ours to touch. */
static void hold_for_waiters(struct slice *slice)
{
	list_for_each(node, &slice->load->loaded.tasks) {
		struct task *task = container_of(node, struct task, link);

		container_of(task, struct part, task)->held = slice;
		slice->pins++;
	}
}

void slice_looked_locked(struct part *part)
{
	struct slice *slice = part->held;

	part->held = NULL;
	if (slice)
		slice_unpin(slice);
}

/* --- loads ------------------------------------------------------------------------------------ */

static struct slice_load *load_idle(const struct shard *shard)
{
	for (uint32_t i = 0; i < shard_loads(shard); i++)
		if (!shard->loads[i].slice)
			return &shard->loads[i];
	return NULL;
}

/* What was loaded is there for all, or it is not and they hear why. */
static void slice_loaded(struct slice *slice, int err)
{
	struct slice_load *load = slice->load;
	_Atomic uintptr_t *cell = &slice->node->cache.directory[slice->index];

	if (err) {
		atomic_store_explicit(cell, 0, memory_order_release);
		slice->state = SLICE_FREE;
		slice->index = SLICE_NONE;
		waitq_fail(&load->loaded, err);
	} else {
		slice->state = SLICE_VALID;
		atomic_store_explicit(cell, (uintptr_t)slice, memory_order_release);
		hold_for_waiters(slice);
		if (!mutant(NO_SLICE_WAKE))
			waitq_wake(&load->loaded);
	}
	slice->load = NULL;
	load->slice = NULL;
	shard_relieve(slice->shard);
}

static enum step load_step(struct task *t)
{
	struct slice_load *load = container_of(t, struct slice_load, task);
	struct slice *slice = load->slice;
	struct node *node = slice->node;
	struct image *image = node->image;

	switch (t->state) {
	case L_READ: {
		/* A table that is being replaced by an own copy must not go while it is read. */
		load->epoch = epoch_enter(image, &image_lane(image, t->lane)->epoch);
		struct host host = slice_host(node, slice->index);
		count(&image->counters.slice_loads, 1);
		if (!host.byte)
			return fail(t, -EIO, L_LOADED);
		io_start(t, &load->io, IO_READ, node->file->index, span_memory(slice->entries),
			 host, node->geo.slice_bytes);
		return await_io(t, L_LOADED);
	}
	case L_LOADED: {
		epoch_leave(image, &image_lane(image, t->lane)->epoch, load->epoch);
		CRITICAL(&slice->shard->lock);
		slice_loaded(slice, t->err);
		return STEP_DONE;
	}
	}
	abort();
}

static const struct machine load_machine = { "load", load_step, load_states };

static bool is_needed(const struct slice *slice)
{
	return slice->state == SLICE_LOADING || slice->pins || slice->dirty || slice->flushing;
}

static void slice_init(struct node *node, struct shard *shard, struct slice *slice, void *entries)
{
	slice->entries = entries;
	slice->index = SLICE_NONE;
	slice->shard = shard;
	slice->node = node;
	list_init(&slice->dirty_link);
}

/* The next one that was never used: a cache takes the memory that its use takes. */
static struct slice *slice_make(struct node *node, struct shard *shard)
{
	struct cache *cache = &node->cache;
	struct slice *slice = &shard->slices[shard->made++];
	size_t number = (size_t)(slice - cache->slices);

	slice_init(node, shard, slice, (uint8_t *)cache->memory + number * node->geo.slice_bytes);
	return slice;
}

/*
 * A slice that can be used for something else: one that never was, or else by the clock; NULL when all
 * are needed, which those that are dirty are for ever when the image has broken.
 */
static struct slice *shard_evict(struct node *node, struct shard *shard)
{
	struct slice *last = NULL;

	if (shard->made < shard->count)
		return slice_make(node, shard);
	for (uint32_t n = 0; n < 2 * shard->count; n++) {
		struct slice *slice = &shard->slices[shard->hand];

		shard->hand = (shard->hand + 1) % shard->count;
		if (slice->state == SLICE_FREE)
			return slice;
		if (is_needed(slice))
			continue;
		last = slice;
		if (atomic_exchange_explicit(&slice->used, false, memory_order_relaxed))
			continue;
		return slice;
	}
	/* Others look without the lock, and marked all meanwhile; nobody would wake who waits. */
	return last;
}

static struct slice *shard_spare(struct shard *shard)
{
	return is_needed(shard->spare) ? NULL : shard->spare;
}

/* Nobody finds it any more. */
static void slice_forget(struct slice *slice)
{
	_Atomic uintptr_t *directory = slice->node->cache.directory;

	if (slice->index != SLICE_NONE)
		atomic_store(&directory[slice->index], 0);
	slice->index = SLICE_NONE;
	slice->state = SLICE_FREE;
}

static void slice_replace(struct node *node, struct slice *slice, uint64_t index, struct lane *lane)
{
	_Atomic uintptr_t *directory = node->cache.directory;
	struct slice_load *load = load_idle(slice->shard);

	must(load);
	slice_forget(slice);
	/* Before the memory changes, and after nobody can find it any more. */
	atomic_fetch_add(&slice->generation, SLICE_GENERATION);
	slice->state = SLICE_LOADING;
	slice->index = index;
	slice->summed = false;
	atomic_store(&directory[index], (uintptr_t)slice | SLICE_IS_LOADING);
	slice->load = load;
	load->slice = slice;
	waitq_init(&load->loaded);
	task_init(&load->task, lane, &load_machine, L_READ);
	task_wake(&load->task);
}

static struct slice *slice_find(const struct node *node, uint64_t index)
{
	uintptr_t seen = atomic_load_explicit(&node->cache.directory[index], memory_order_relaxed);

	return (struct slice *)(seen & ~SLICE_IS_LOADING);
}

/* It is valid; or it is loaded, into @fresh if it is nowhere, NULL: once there is a slice for it. */
static struct slice *slice_have(struct slice *slice, struct slice *fresh, uint64_t index,
				struct lane *lane, struct waitq **wait)
{
	if (slice && slice->state == SLICE_VALID) {
		atomic_store_explicit(&slice->used, true, memory_order_relaxed);
		return slice;
	}
	if (!slice && !fresh)
		return NULL;
	if (!slice) {
		slice_replace(fresh->node, fresh, index, lane);
		slice = fresh;
	}
	*wait = &slice->load->loaded;
	return NULL;
}

struct slice *slice_get(struct node *node, uint64_t index, struct lane *lane, struct waitq **wait)
{
	struct shard *shard = cache_shard(node, index);
	struct slice *slice = slice_find(node, index), *fresh = NULL;
	bool broken = image_broken(node->image);
	bool there = slice == shard->spare && !broken;

	*wait = &shard->starved;
	/* There it must not be changed: who looks at it there does so soon. */
	if (there && is_needed(slice))
		return NULL;
	if ((!slice || there) && !load_idle(shard)) {
		/* Loads end whatever becomes of a flush. */
		if (!mutant(LOADS_STARVE))
			*wait = &shard->lookers;
		return NULL;
	}
	if (!slice || there)
		fresh = shard_evict(node, shard);
	/* As long as it has no other place, it stays for who only looks. */
	if (there && (fresh || mutant(SPARE_GIVEN_UP)))
		slice_forget(slice);
	if (there)
		slice = NULL;
	/* Who would change something finds the image broken before. */
	if (!slice && !fresh && broken)
		fresh = shard_spare(shard);
	if (!slice && !fresh)
		writeback_want(node->image);
	return slice_have(slice, fresh, index, lane, wait);
}

struct slice *slice_look(struct node *node, uint64_t index, struct lane *lane, struct waitq **wait)
{
	struct shard *shard = cache_shard(node, index);
	struct slice *slice = slice_find(node, index), *fresh = NULL;

	if (mutant(READS_NEED_ROOM))
		return slice_get(node, index, lane, wait);
	*wait = &shard->lookers;
	if (!slice && !load_idle(shard))
		return NULL;
	if (!slice)
		fresh = shard_evict(node, shard);
	if (!slice && !fresh) {
		/* Below the top nothing is dirty: who keeps a slice there looks or loads. */
		if (node == &node->image->top)
			writeback_want(node->image);
		fresh = shard_spare(shard);
	}
	return slice_have(slice, fresh, index, lane, wait);
}

struct slice *slice_adopt(struct node *node, uint64_t index)
{
	struct shard *shard = cache_shard(node, index);
	struct slice *slice;

	if (shard->made == shard->count)
		return NULL;
	slice = slice_make(node, shard);
	slice->state = SLICE_VALID;
	slice->index = index;
	atomic_store(&node->cache.directory[index], (uintptr_t)slice);
	return slice;
}

void shard_relieve(struct shard *shard)
{
	if (mutant(NO_SLICE_FREE_WAKE))
		return;
	waitq_wake(&shard->starved);
	waitq_wake(&shard->lookers);
}

void slice_pin(struct slice *slice)
{
	must(slice->state == SLICE_VALID);
	slice->pins++;
}

void slice_unpin(struct slice *slice)
{
	must(slice->pins > 0);
	if (--slice->pins == 0)
		shard_relieve(slice->shard);
}

/* --- open ------------------------------------------------------------------------------------- */

static void shards_init(struct node *node)
{
	struct cache *cache = &node->cache;
	uint8_t *spare_memory = cache->spare_memory;
	struct slice_load *loads = cache->loads;
	struct slice *slices = cache->slices;

	for (uint32_t i = 0; i < cache->nshards; i++) {
		struct shard *shard = &cache->shards[i];

		pthread_mutex_init(&shard->lock, NULL);
		list_init(&shard->claims);
		waitq_init(&shard->starved);
		waitq_init(&shard->lookers);
		shard->slices = slices;
		shard->count = cache_shard_slices(cache->nslices, cache->nshards, i);
		slices += shard->count;
		shard->loads = loads;
		loads += SHARD_LOADS;
		shard->spare = &cache->slices[cache->nslices + i];
		slice_init(node, shard, shard->spare, spare_memory + i * node->geo.slice_bytes);
	}
}

static size_t slices_bytes(const struct cache *cache)
{
	return (cache->nslices + cache->nshards) * sizeof(*cache->slices);
}

static size_t loads_bytes(const struct cache *cache)
{
	return cache->nshards * SHARD_LOADS * sizeof(*cache->loads);
}

static size_t spare_bytes(const struct node *node)
{
	return (size_t)node->cache.nshards * node->geo.slice_bytes;
}

/* That map the whole disk. */
static uint64_t all_slices(const struct geometry *geo)
{
	uint64_t covered = (uint64_t)1 << (geo->cluster_bits + geo->slice_entries_bits);

	return max_u64(div_round_up(geo->size_bytes, covered), 1);
}

uint32_t cache_slices(const struct geometry *geo, uint64_t bytes, bool grows)
{
	uint64_t all = max_u64(all_slices(geo), grows ? GROWING_SLICES : 0);

	if (!bytes)
		bytes = min_u64(all * geo->slice_bytes, LIMIT_L2_CACHE_DEFAULT);
	return (uint32_t)min_u64(min_u64(max_u64(bytes / geo->slice_bytes, 1), all),
				 LIMIT_L2_CACHE_SLICES);
}

uint32_t cache_shards(uint32_t slices)
{
	uint32_t shards = 1;

	while (shards < CACHE_SHARDS_MAX && slices / (shards * 2) >= SHARD_WAYS)
		shards *= 2;
	return shards;
}

int cache_open(struct node *node, uint32_t slices, uint32_t shards, uint64_t room, void *memory)
{
	const struct geometry *geo = &node->geo;
	struct cache *cache = &node->cache;
	uint64_t all = max_u64(all_slices(geo), room);

	cache->nslices = slices;
	cache->nshards = shards ? shards : cache_shards(slices);

	/* Reserved address space: pages are touched as slices are used. */
	cache->directory_entries = all;
	cache->directory = sparse_map(all * sizeof(*cache->directory));
	if (!memory) {
		cache->memory_bytes = (size_t)cache->nslices * geo->slice_bytes;
		memory = sparse_map(cache->memory_bytes);
	}
	cache->memory = memory;
	cache->spare_memory = sparse_map(spare_bytes(node));
	cache->slices = sparse_map(slices_bytes(cache));
	cache->loads = sparse_map(loads_bytes(cache));
	cache->shards = aligned_alloc(CACHE_LINE, cache->nshards * sizeof(*cache->shards));
	if (!cache->directory || !cache->memory || !cache->spare_memory || !cache->slices ||
	    !cache->loads || !cache->shards)
		return -ENOMEM;
	memset(cache->shards, 0, cache->nshards * sizeof(*cache->shards));
	shards_init(node);
	return 0;
}

void cache_free(struct node *node)
{
	struct cache *cache = &node->cache;

	if (cache->directory)
		munmap((void *)cache->directory,
		       cache->directory_entries * sizeof(*cache->directory));
	if (cache->memory_bytes && cache->memory)
		munmap(cache->memory, cache->memory_bytes);
	if (cache->spare_memory)
		munmap(cache->spare_memory, spare_bytes(node));
	if (cache->slices)
		munmap(cache->slices, slices_bytes(cache));
	if (cache->loads)
		munmap(cache->loads, loads_bytes(cache));
	for (uint32_t i = 0; cache->shards && i < cache->nshards; i++)
		pthread_mutex_destroy(&cache->shards[i].lock);
	free(cache->shards);
}
