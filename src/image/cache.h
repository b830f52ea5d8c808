/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The cache of L2 slices: look up, load, evict.  Its memory is allocated once, at open. */
#ifndef CACHE_H
#define CACHE_H

#include "engine.h"

/*
 * How many slices; @bytes 0: as many as map the whole disk, within LIMIT_L2_CACHE_DEFAULT.  @grows: some
 * more, for a disk that may become larger.
 */
uint32_t cache_slices(const struct geometry *geo, uint64_t bytes, bool grows);

#define CACHE_SHARDS_MAX 64u

/* Into how many shards a cache of so many slices is divided, a power of two; or fewer. */
uint32_t cache_shards(uint32_t slices);

/* How many of them the @nth shard has. */
static inline uint32_t cache_shard_slices(uint32_t slices, uint32_t shards, uint32_t nth)
{
	return slices / shards + (nth < slices % shards);
}

#define SHARD_LOADS 8u

/* How many loads there can be at a time. */
static inline uint32_t shard_loads(const struct shard *shard)
{
	return (uint32_t)min_u64(shard->count, SHARD_LOADS);
}

/*
 * @shards: 0: see cache_shards().  @room: that many slices of the disk can be there, if it has no more
 * now.  @memory: of so many slices, which the owner gives back; NULL: the cache makes its own.  -ENOMEM.
 */
int cache_open(struct node *node, uint32_t slices, uint32_t shards, uint64_t room, void *memory);
void cache_free(struct node *node);

static inline struct shard *cache_shard(struct node *node, uint64_t slice_index)
{
	return &node->cache.shards[slice_index & (node->cache.nshards - 1)];
}

/*
 * The slice, when it is valid; else NULL, and *@wait is what to park on before looking again (a
 * load has been started on @lane if need be).  The L2 table exists.  Under the shard's lock.
 *
 * slice_get() is for who may change it, of the top: as long as all slices of the shard are dirty, that
 * waits for a flush, and hears of its failure.  slice_look() is for who only looks, which waits for
 * other looks and loads alone.
 */
struct slice *slice_look(struct node *node, uint64_t index, struct lane *lane, struct waitq **wait);
struct slice *slice_get(struct node *node, uint64_t index, struct lane *lane, struct waitq **wait);

/*
 * A slice that was never used becomes the one with this index, valid, its memory still to be filled;
 * before lanes run.  NULL: there is none in its shard.
 */
struct slice *slice_adopt(struct node *node, uint64_t index);

/* Keep a valid slice from being evicted.  Under the shard's lock. */
void slice_pin(struct slice *slice);
void slice_unpin(struct slice *slice);

/*
 * A slice is pinned for whoever waited for its load until they have looked at it, or a tiny cache
 * would have them evict each other's slices for ever.  slice_looked() takes the shard's lock when
 * there is something to give back, slice_looked_locked() is for who has it.
 */
void slice_looked_locked(struct part *part);

static inline void slice_looked(struct part *part)
{
	if (!part->held)
		return;
	CRITICAL(&part->held->shard->lock);
	slice_looked_locked(part);
}

/* Wake who waits for a slice of this shard, the spare one too, to become evictable.  Under the shard's lock. */
void shard_relieve(struct shard *shard);

/*
 * Where to look at a slice without its lock, and what it is used for; NULL when it is not there.  A
 * slice's memory is never given back, so a stale look is harmless: slice_peek_end() tells.
 */
static inline struct slice *slice_peek_begin(const struct node *node, uint64_t index,
					     uint32_t *generation)
{
	const _Atomic uintptr_t *cell = &node->cache.directory[index];
	uintptr_t seen = atomic_load_explicit(cell, memory_order_acquire);

	if (!seen || (seen & SLICE_IS_LOADING))
		return NULL;

	struct slice *slice = (struct slice *)seen;

	*generation = atomic_load_explicit(&slice->generation, memory_order_acquire);
	return atomic_load_explicit(cell, memory_order_acquire) == seen ? slice : NULL;
}

/* Is what was loaded in between the slice's? */
static inline bool slice_peek_end(struct slice *slice, uint32_t generation)
{
	if (atomic_load_explicit(&slice->generation, memory_order_acquire) != generation)
		return false;
	if (!atomic_load_explicit(&slice->used, memory_order_relaxed))
		atomic_store_explicit(&slice->used, true, memory_order_relaxed);
	return true;
}

/* One entry without the lock: false when the slice is not there, or was just being replaced. */
static inline bool slice_peek(const struct node *node, uint64_t index, uint32_t entry,
			      uint64_t *word)
{
	uint32_t generation;
	struct slice *slice = slice_peek_begin(node, index, &generation);

	if (!slice)
		return false;
	*word = be64_load(&slice->entries[entry]);
	return slice_peek_end(slice, generation);
}

/*
 * The same for an extended entry, which has two words: false also while one of the slice is being
 * changed, so that they belong together; see slice_set_entry().
 */
static inline bool slice_peek_extended(const struct node *node, uint64_t index, uint32_t entry,
				       struct l2_word *word)
{
	uint32_t generation;
	struct slice *slice = slice_peek_begin(node, index, &generation);

	if (!slice || generation & SLICE_CHANGING)
		return false;
	word->entry = be64_load(&slice->entries[2 * entry]);
	if (image_peek_seam)
		image_peek_seam();
	word->bitmap = be64_load(&slice->entries[2 * entry + 1]);
	return slice_peek_end(slice, generation);
}

/*
 * May a FUA write to a mapped cluster of this slice end with the data alone?  So when the slice
 * has no change that is not durable; without the lock, a stale "no" is only slower.
 */
static inline bool slice_durable(const struct node *node, uint64_t index)
{
	uintptr_t seen = atomic_load_explicit(&node->cache.directory[index], memory_order_acquire);

	return seen && !(seen & SLICE_IS_LOADING) &&
	       !atomic_load_explicit(&((struct slice *)seen)->unsynced, memory_order_acquire);
}

#endif
