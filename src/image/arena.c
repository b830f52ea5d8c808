/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The arena: how large it is, what is where, and what is stored when. */
#include "arena.h"

#include "cache.h"
#include "flush.h"
#include "reserve.h"
#include "resize.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

/* Regions begin at pages, so that what is not used is not touched either. */
#define REGION_BYTES 4096u

static uint8_t *region(const struct arena *arena, uint64_t *at, uint64_t bytes)
{
	uint8_t *start = arena->memory ? arena->memory + *at : NULL;

	*at = round_up(*at + bytes, REGION_BYTES);
	return start;
}

uint64_t arena_place(struct arena *arena, const struct arena_shape *shape, void *memory)
{
	uint64_t units, at = 0;

	arena->memory = memory;
	arena->slices = shape->slices;
	arena->l1_blocks = shape->l1_room / L1_BLOCK_BYTES;
	arena->l1_room = shape->l1_room;
	arena->lane_words = shape->lane_words;
	arena->releases = shape->releases;
	units = (uint64_t)shape->slices + arena->l1_blocks + REF_PIECES;
	arena->header = (void *)region(arena, &at, sizeof(*arena->header));
	arena->stock = (void *)region(arena, &at,
				      ((uint64_t)shape->lanes * shape->lane_words + RESERVE_RUNS) *
					      sizeof(*arena->stock));
	arena->release = (void *)region(arena, &at,
					((uint64_t)shape->releases + RELEASE_EXTRAS) *
						sizeof(*arena->release));
	arena->mark = (void *)region(arena, &at, units * sizeof(*arena->mark));
	arena->sums = (void *)region(arena, &at, units * sizeof(*arena->sums));
	arena->l1 = (void *)region(arena, &at, shape->l1_room);
	arena->pieces = region(arena, &at, (uint64_t)REF_PIECES * shape->slice_bytes);
	arena->slice = region(arena, &at, (uint64_t)shape->slices * shape->slice_bytes);
	arena->bytes = at;
	return at;
}

/* --- sums ----------------------------------------------------------------------------------------- */

static uint64_t sum(const void *bytes, size_t len)
{
	uint64_t hash = len, word = 0;

	for (size_t i = 0; i < len; i += sizeof(word)) {
		memcpy(&word, (const uint8_t *)bytes + i, min_u64(sizeof(word), len - i));
		hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
		hash ^= hash >> 32;
	}
	return hash;
}

uint64_t arena_header_sum(const struct arena_header *header)
{
	return sum(header, offsetof(struct arena_header, sum));
}

static void sum_sectors(uint64_t *sums, const void *bytes, size_t len)
{
	for (size_t at = 0; at < len; at += SECTOR_SIZE)
		sums[at / SECTOR_SIZE] =
			sum((const uint8_t *)bytes + at, min_u64(SECTOR_SIZE, len - at));
}

bool arena_sums_match(const struct arena *arena, uint32_t unit, const void *bytes, size_t len)
{
	uint64_t mark = arena_get(&arena->mark[unit]);
	const struct unit_sums *sums = &arena->sums[unit];
	uint64_t now[UNIT_SECTORS];

	if (mark & MARK_UNSURE)
		return true;
	sum_sectors(now, bytes, len);
	for (size_t i = 0; i < div_round_up(len, SECTOR_SIZE); i++)
		if (now[i] != sums->before[i] &&
		    !(mark & MARK_WRITING && now[i] == sums->written[i]))
			return false;
	return true;
}

/* --- units ---------------------------------------------------------------------------------------- */

void arena_mark(struct arena *arena, uint32_t unit, uint64_t index, const void *bytes, size_t len)
{
	if (arena_get(&arena->mark[unit]))
		return;
	if (arena->shared && bytes)
		sum_sectors(arena->sums[unit].before, bytes, len);
	arena_set(&arena->mark[unit], index + 1);
}

void arena_writing(struct arena *arena, uint32_t unit, const void *bytes, size_t len)
{
	uint64_t mark = arena_get(&arena->mark[unit]);

	/* The last write has not succeeded: of which of the two are the bytes in the file? */
	if (mark & MARK_WRITING && !(mark & MARK_UNSURE)) {
		mark |= MARK_UNSURE;
		arena_set(&arena->mark[unit], mark);
	}
	if (arena->shared)
		sum_sectors(arena->sums[unit].written, bytes, len);
	arena_set(&arena->mark[unit], mark | MARK_WRITING);
}

void arena_written(struct arena *arena, uint32_t unit, bool dirty)
{
	uint64_t index = arena_get(&arena->mark[unit]) & MARK_INDEX;

	if (arena->shared)
		memcpy(arena->sums[unit].before, arena->sums[unit].written,
		       sizeof(arena->sums[unit].before));
	arena_set(&arena->mark[unit], dirty ? index : 0);
}

/* --- words ---------------------------------------------------------------------------------------- */

void arena_set_stock(_Atomic uint64_t *word, uint64_t cluster, uint64_t count)
{
	must(count <= WORD_COUNT_MAX);
	if (mutant(STOCK_TORN) && count)
		arena_set(word, word_make(cluster, word_count(arena_get(word)) | 1));
	arena_set(word, word_make(cluster, count));
}

struct release_words *arena_extra_release(const struct arena *arena, unsigned which)
{
	return &arena->release[arena->releases + which];
}

void arena_set_release(struct release *release)
{
	if (release->count)
		arena_set(&release->words->where, release->where);
	arena_set(&release->words->what, word_make(release->cluster, release->count));
}

void arena_drop_begin(struct image *image, const struct release *release, uint64_t refcount)
{
	const struct arena *arena = &image->arena;

	arena_set(&arena->header->drop_release, (uint64_t)(release->words - arena->release));
	arena_set(&arena->header->drop_refcount, refcount);
	arena_set(&arena->header->drop_cluster, release->cluster + 1);
}

void arena_drop_end(struct image *image, struct release *release)
{
	release->cluster++;
	release->count--;
	if (!mutant(RELEASE_STAYS))
		arena_set_release(release);
	arena_set(&image->arena.header->drop_cluster, 0);
}

/* --- life ----------------------------------------------------------------------------------------- */

uint32_t image_handover_layout(void)
{
	return ARENA_LAYOUT;
}

static struct arena_shape shape_of(const struct image *image, const struct image_options *options,
				   struct arena_least least)
{
	const struct node *top = &image->top;
	uint32_t own = cache_slices(&top->geo, options->l2_cache_bytes, options->size_most > 0);
	uint32_t slices = (uint32_t)max_u64(own, least.slices);

	return (struct arena_shape){
		.version = top->geo.version,
		.cluster_bits = top->geo.cluster_bits,
		.refcount_order = top->geo.refcount_order,
		.slice_bytes = top->geo.slice_bytes,
		.l2_entry_bytes = top->geo.l2_entry_bytes,
		.data_apart = top->geo.data_apart,
		.l1_room = (uint32_t)resize_l1_room(top, options->size_most),
		.lanes = options->lanes,
		.lane_words = reserve_words(options->reqs_per_lane),
		.slices = slices,
		.releases = (uint32_t)max_u64(flush_releases(slices), least.releases),
	};
}

static int make_memory(struct image *image, const struct handover *handover, uint64_t bytes,
		       void **memory, struct why *why)
{
	if (handover)
		return handover->make(handover->arg, bytes, memory, why);
	*memory = sparse_map(bytes);
	if (!*memory)
		return why_set(why, -ENOMEM, "%s: not enough memory", image->top.file->name);
	return 0;
}

static void move_l1(struct image *image)
{
	struct node *top = &image->top;

	memcpy(image->arena.l1, top->l1, top->l1_bytes);
	munmap(top->l1, top->l1_bytes);
	top->l1 = image->arena.l1;
	top->l1_lent = true;
}

int arena_open(struct image *image, const struct image_options *options, struct arena_least least,
	       struct why *why)
{
	const struct handover *handover = options->read_only ? NULL : options->handover;
	struct arena_shape shape = shape_of(image, options, least);
	struct arena *arena = &image->arena;
	struct arena_header *header;
	void *memory = NULL;
	int err;

	err = make_memory(image, handover, arena_place(arena, &shape, NULL), &memory, why);
	if (err)
		return err;
	arena_place(arena, &shape, memory);
	arena->shared = handover != NULL;
	move_l1(image);
	if (!handover)
		return 0;
	header = arena->header;
	header->magic = ARENA_MAGIC;
	header->layout = ARENA_LAYOUT;
	header->header_bytes = sizeof(*header);
	memcpy(header->identity, handover->identity, sizeof(header->identity));
	header->shape = shape;
	header->sum = arena_header_sum(header);
	header->disk_bytes[ARENA_NOW] = image->top.geo.size_bytes;
	header->l1_host[ARENA_NOW] = image->top.header.l1.byte;
	header->l1_entries[ARENA_NOW] = image->top.l1_entries;
	arena_set(&header->state, ARENA_OPEN);
	return 0;
}

void arena_broken(struct image *image, enum arena_broken how)
{
	arena_set(&image->arena.header->broken, how);
}

void arena_closed(struct image *image)
{
	arena_set(&image->arena.header->state, ARENA_CLOSED);
}

void arena_free(struct image *image)
{
	if (image->arena.memory && !image->arena.shared)
		munmap(image->arena.memory, image->arena.bytes);
}
