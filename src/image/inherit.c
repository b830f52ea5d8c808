/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Is it for us, and in which order is it taken over? */
#include "inherit.h"

#include "cache.h"
#include "flush.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define LANES_MOST 4096u
#define LANE_WORDS_MOST (UINT32_C(1) << 20)
#define RELEASES_MOST (UINT32_C(1) << 20)

/* --- refusals --------------------------------------------------------------------------------------- */

int inherit_damaged(const struct inheritance *left, const char *format, ...)
{
	char what[160];
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	return why_set(left->why, -EINVAL,
		       "%s: what a killed daemon has left in memory for it is damaged: %s; "
		       "its last writes are lost if it is given up, with --abandon",
		       left->image->top.file->name, what);
}

int inherit_changed(const struct inheritance *left, const char *format, ...)
{
	char what[160];
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	return why_set(left->why, -ESTALE,
		       "%s: somebody else has changed it since its daemon was killed: %s; the last "
		       "writes, which stand in memory, do not go with that and must be given up, "
		       "with --abandon",
		       left->image->top.file->name, what);
}

static int for_another(const struct inheritance *left, const char *what)
{
	return why_set(left->why, -ESTALE,
		       "%s: what a killed daemon has left in memory for it %s; its last writes are "
		       "lost if it is given up, with --abandon",
		       left->image->top.file->name, what);
}

/* --- is it for us? ---------------------------------------------------------------------------------- */

static bool shape_is_sane(const struct arena_shape *shape)
{
	return shape->lanes >= 1 && shape->lanes <= LANES_MOST && shape->lane_words >= 1 &&
	       shape->lane_words <= LANE_WORDS_MOST && shape->slices >= 1 &&
	       shape->slices <= LIMIT_L2_CACHE_SLICES && shape->releases <= RELEASES_MOST &&
	       shape->l1_room <= LIMIT_L1_BYTES && is_aligned(shape->l1_room, L1_BLOCK_BYTES);
}

/* What a resize may have been about to change. */
static bool either(const _Atomic uint64_t *word, uint64_t value)
{
	return value == arena_get(&word[ARENA_NOW]) ||
	       (value && value == arena_get(&word[ARENA_NEXT]));
}

static bool was_resized(const struct arena_header *header, const struct image *image)
{
	return arena_get(&header->disk_bytes[ARENA_NOW]) != image->top.geo.size_bytes ||
	       arena_get(&header->l1_host[ARENA_NOW]) != image->top.header.l1.byte;
}

static bool same_disk(const struct arena_header *header, const struct image *image)
{
	return either(header->disk_bytes, image->top.geo.size_bytes) &&
	       either(header->l1_host, image->top.header.l1.byte) &&
	       either(header->l1_entries, image->top.l1_entries);
}

static bool same_image(const struct arena_shape *a, const struct image *image)
{
	const struct geometry *geo = &image->top.geo;

	return a->version == geo->version && a->cluster_bits == geo->cluster_bits &&
	       a->refcount_order == geo->refcount_order && a->slice_bytes == geo->slice_bytes &&
	       a->l2_entry_bytes == geo->l2_entry_bytes && a->data_apart == geo->data_apart;
}

static int check_header(struct inheritance *left, const struct handover *handover, uint64_t bytes)
{
	const struct arena_header *header = left->arena.header;

	if (bytes < sizeof(*header) || header->magic != ARENA_MAGIC)
		return inherit_damaged(left, "it does not begin as it must");
	if (header->layout != ARENA_LAYOUT || header->header_bytes != sizeof(*header))
		return for_another(left, "is of another version of this program, which can be "
					 "started once more to save it");
	if (header->sum != arena_header_sum(header))
		return inherit_damaged(left, "its header");
	if (memcmp(header->identity, handover->identity, sizeof(header->identity)) != 0)
		return for_another(left, "is another image's, or from before the host was started");
	left->shape = header->shape;
	if (!shape_is_sane(&left->shape))
		return inherit_damaged(left, "its sizes");
	if (arena_get(&header->state) == ARENA_CLOSED)
		return 0;
	if (arena_get(&header->state) != ARENA_OPEN || arena_get(&header->broken) > ARENA_CORRUPT)
		return inherit_damaged(left, "its state");
	if (!same_image(&left->shape, left->image) || !same_disk(header, left->image))
		return inherit_changed(left, "it has other sizes");
	if (arena_place(&left->arena, &left->shape, left->arena.memory) > bytes)
		return inherit_damaged(left, "it is cut off");
	left->resized = was_resized(header, left->image);
	left->there = true;
	return 0;
}

int inherit_find(struct inheritance *left, struct image *image, const struct handover *handover,
		 struct why *why)
{
	void *memory = NULL;
	uint64_t bytes = 0;
	int err = handover->inherit(handover->arg, &memory, &bytes, why);

	*left = (struct inheritance){ .image = image, .why = why };
	if (err || !bytes)
		return err;
	left->arena.memory = memory;
	left->arena.header = memory;
	return check_header(left, handover, bytes);
}

bool inherit_is_corrupt(const struct inheritance *left)
{
	return left->there && arena_get(&left->arena.header->broken) == ARENA_CORRUPT;
}

/* A release of data may become two, when the change that it is for had been made half. */
static uint32_t releases_of(const struct release_words *words)
{
	bool data = (arena_get(&words->where) & WHERE_KIND) == WHERE_DATA;

	return word_count(arena_get(&words->what)) > 0 ? 1u + data : 0;
}

/* Each word of stock may become one. */
static uint64_t releases_least(const struct inheritance *left)
{
	const struct arena *arena = &left->arena;
	uint64_t words = (uint64_t)left->shape.lanes * left->shape.lane_words + RESERVE_RUNS;
	uint64_t least = 0;

	if (inherit_is_corrupt(left))
		return 0;
	for (uint64_t i = 0; i < words; i++)
		least += arena_get(&arena->stock[i]) != 0;
	for (uint32_t i = 0; i < arena->releases + RELEASE_EXTRAS; i++)
		least += releases_of(&arena->release[i]);
	return min_u64(least, RELEASES_MOST);
}

struct arena_least inherit_least(const struct inheritance *left)
{
	if (!left->there)
		return (struct arena_least){ 0 };
	return (struct arena_least){
		.slices = left->shape.slices,
		.releases = mutant(RELEASES_AS_ALONE) ? 0 : (uint32_t)releases_least(left),
	};
}

/* Would those that are newer than the file find room in so many shards?  In one of them they do. */
static bool finds_room(const struct inheritance *left, uint32_t slices, uint32_t shards)
{
	uint32_t used[CACHE_SHARDS_MAX] = { 0 };

	for (uint32_t unit = 0; unit < left->arena.slices; unit++) {
		uint64_t mark = arena_get(&left->arena.mark[unit]);
		uint32_t nth = (uint32_t)(((mark & MARK_INDEX) - 1) & (shards - 1));

		if (mark && ++used[nth] > cache_shard_slices(slices, shards, nth))
			return false;
	}
	return true;
}

uint32_t inherit_shards(const struct inheritance *left, uint32_t slices)
{
	uint32_t shards = cache_shards(slices);

	while (left->there && shards > 1 && !finds_room(left, slices, shards) &&
	       !mutant(SHARDS_AS_ALONE))
		shards /= 2;
	return shards;
}

/* --- taking it over ---------------------------------------------------------------------------------- */

static int make_room(struct inheritance *left)
{
	const struct image *image = left->image;
	uint64_t bytes = image->top.geo.slice_bytes;

	left->host_clusters = div_round_up(image->top.file->size, image->top.geo.cluster_bytes);
	left->unit = aligned_alloc(LIMIT_SLICE_BYTES, LIMIT_SLICE_BYTES);
	left->look.bytes = aligned_alloc(LIMIT_SLICE_BYTES,
					 round_up(INHERIT_PIECES * bytes, LIMIT_SLICE_BYTES));
	left->release = calloc(left->shape.releases + RELEASE_EXTRAS, sizeof(*left->release));
	if (!left->unit || !left->look.bytes || !left->release)
		return why_set(left->why, -ENOMEM, "%s: not enough memory", image->top.file->name);
	return 0;
}

/*
 * What a sync that has failed was to make durable does not count: the disk does not become larger by it,
 * and the file may still have either size the next time.
 */
static void keep_size(struct inheritance *left)
{
	struct image *image = left->image;
	struct arena_header *header = image->arena.header;
	uint64_t now = arena_get(&left->arena.header->disk_bytes[ARENA_NOW]);
	uint64_t next = arena_get(&left->arena.header->disk_bytes[ARENA_NEXT]);
	uint64_t size = image->top.geo.size_bytes, bytes = min_u64(now, size);

	arena_set(&header->disk_bytes[ARENA_NEXT], now == size ? next : max_u64(now, size));
	arena_set(&header->disk_bytes[ARENA_NOW], bytes);
	atomic_store(&image->disk_bytes, bytes);
}

static void take_header(struct inheritance *left)
{
	struct image *image = left->image;
	const struct arena_header *header = left->arena.header;
	uint64_t broken = arena_get(&header->broken);

	/* Only what has grown since then may be cut off at the end. */
	image->alloc.opened_bytes =
		min_u64(arena_get(&header->opened_bytes), image->alloc.opened_bytes);
	arena_set(&image->arena.header->opened_bytes, image->alloc.opened_bytes);
	if (broken == ARENA_SOUND)
		return;
	log_error("%s: the daemon that was killed had given up writing to it; so does this one",
		  image->top.file->name);
	arena_set(&image->arena.header->broken, broken);
	atomic_store(&image->broken, -EIO);
	atomic_store(&image->corrupt, broken == ARENA_CORRUPT);
	keep_size(left);
}

/* The dead process may not have come to it. */
static void mark_corrupt(struct image *image)
{
	CRITICAL(&image->alloc.lock);
	if (atomic_load(&image->corrupt))
		waitq_wake(&image->alloc.idle);
}

/* The sync before the first flush is for all that the dead process may have written and not synced. */
static void go_on(struct image *image)
{
	CRITICAL(&image->flush.lock);
	atomic_store(&image->inherited, true);
	if (!mutant(INHERITED_IS_DURABLE))
		image->flush.data_first = true;
}

/*
 * What is in no unit.  Of a corrupt image nothing is dropped or given any more, and its refcounts and releases
 * need not make sense: they are why it was found to be so.
 */
static int inherit_clusters(struct inheritance *left)
{
	int err = 0;

	if (inherit_is_corrupt(left) && !mutant(CORRUPT_TAKEN_AT_ITS_WORD))
		return 0;
	err = inherit_drop(left);
	if (!err)
		err = inherit_releases(left);
	return err ? err : inherit_stock(left);
}

int inherit(struct inheritance *left)
{
	int err;

	if (!left->there)
		return 0;
	err = make_room(left);
	if (!err)
		err = inherit_pieces(left);
	if (!err)
		err = inherit_l1(left);
	if (!err)
		err = inherit_slices(left);
	if (!err)
		err = inherit_clusters(left);
	if (err)
		return err;
	take_header(left);
	mark_corrupt(left->image);
	go_on(left->image);
	return 0;
}

void inherit_end(struct inheritance *left)
{
	free(left->unit);
	free(left->look.bytes);
	free(left->release);
	free(left->range);
}
