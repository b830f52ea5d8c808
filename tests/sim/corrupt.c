/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Images here are sound, so no self-check of the engine ever fails: tests/native/overlap.py has
 * those.  What comes after is tested here, by saying the engine's own word for it, and by
 * losing refcounts of what it has to hand over.
 */
#include "corrupt.h"

#include "arena.h"
#include "death.h"
#include "engine.h"
#include "format.h"
#include "memory.h"
#include "refblock.h"
#include "report.h"

#define REFCOUNTS_MOST 8u

/* Refcounts that were lost in the file, until it is repaired. */
static struct {
	uint64_t slice; /* where in the file */
	uint32_t slot;
	uint64_t refcount;
} lost[REFCOUNTS_MOST];
static unsigned losses;

static uint64_t features(const struct sparse *bytes)
{
	struct be64 word;

	sparse_read(bytes, QCOW2_AT_INCOMPATIBLE, &word, sizeof(word));
	return be64_get(word);
}

static bool has_mark(const struct stage *stage)
{
	return stage->config.shape.version >= 3;
}

/* --- refcounts that make no sense ------------------------------------------------------------------ */

static uint64_t file_refcount(const struct stage *stage, const struct sparse *bytes, unsigned nth)
{
	static uint8_t slice[LIMIT_SLICE_BYTES];

	sparse_read(bytes, lost[nth].slice, slice, sizeof(slice));
	return refcount_get(slice, stage->config.shape.refcount_order, lost[nth].slot);
}

static void set_file_refcount(const struct stage *stage, struct sparse *bytes, unsigned nth,
			      uint64_t refcount)
{
	static uint8_t slice[LIMIT_SLICE_BYTES];
	uint64_t cluster = UINT64_C(1) << stage->config.shape.cluster_bits;
	uint64_t len = min_u64(cluster, LIMIT_SLICE_BYTES);

	sparse_read(bytes, lost[nth].slice, slice, len);
	refcount_set(slice, stage->config.shape.refcount_order, lost[nth].slot, refcount);
	sparse_write(bytes, lost[nth].slice, slice, len);
}

/* A cluster that is about to be dropped, or any. */
static uint64_t draw_cluster(struct stage *stage)
{
	const struct arena *arena = &stage->image->arena;
	uint64_t clusters = stage->host.disk.visible.size >> stage->config.shape.cluster_bits,
		 word = 0;
	uint32_t from = rng_below(&stage->rng, arena->releases);

	if (rng_one_in(&stage->rng, 4))
		return 1 + rng_below_u64(&stage->rng, clusters);
	for (uint32_t i = 0; i < arena->releases && !word; i++)
		word = arena_get(&arena->release[(from + i) % arena->releases].what);
	return word_cluster(word);
}

/* In memory, where it has got no further; or in the file, where all that was written of it is durable. */
static void lose_refcount(struct stage *stage)
{
	struct image *image = stage->image;
	struct disk *disk = &stage->host.disk;
	uint64_t cluster = draw_cluster(stage);
	uint64_t index = cluster >> image->top.geo.slice_refcounts_bits;
	struct ref_piece *piece = piece_cached(image, index);
	struct host host;

	if (piece) {
		piece_set(image, piece, cluster, 0);
		return;
	}
	if (losses == REFCOUNTS_MOST || piece_host(image, index, &host) || !host.byte)
		return;
	lost[losses].slice = host.byte;
	lost[losses].slot =
		(uint32_t)(cluster & ((UINT64_C(1) << image->top.geo.slice_refcounts_bits) - 1));
	lost[losses].refcount = file_refcount(stage, &disk->visible, losses);
	if (!lost[losses].refcount ||
	    lost[losses].refcount != file_refcount(stage, &disk->durable, losses))
		return;
	set_file_refcount(stage, &disk->visible, losses, 0);
	set_file_refcount(stage, &disk->durable, losses, 0);
	losses++;
}

/* Not while the allocator reads or writes some: these are its own. */
static void lose_refcounts(struct stage *stage)
{
	unsigned some = rng_below(&stage->rng, REFCOUNTS_MOST);

	if (!stage->config.handover || stage->image->alloc.task.inflight)
		return;
	for (unsigned i = 0; i < some; i++)
		lose_refcount(stage);
}

static void find_refcounts(const struct stage *stage, struct sparse *bytes)
{
	for (unsigned i = losses; i-- > 0;)
		if (file_refcount(stage, bytes, i) == 0)
			set_file_refcount(stage, bytes, i, lost[i].refcount);
}

/* --- a life ---------------------------------------------------------------------------------------- */

void corrupt_now(struct stage *stage)
{
	unsigned lane = rng_below(&stage->rng, stage->config.lanes);

	trace("the image is found to be corrupt by lane %u", lane);
	stage->corrupt = stage->host.mishap = true;
	this_lane = &stage->host.ring[lane].lane;
	stage->host.ring[lane].blocked = false; /* it runs */
	engine_running = true;
	image_corrupt(stage->image, "the simulator says so");
	lose_refcounts(stage);
	engine_running = false;
	if (stage->config.handover && rng_one_in(&stage->rng, 3))
		death_take_over(stage);
}

void corrupt_check(struct stage *stage)
{
	struct why why;

	if (image_health(stage->image) != IMAGE_CORRUPT)
		sim_fail("the image was found to be corrupt, and is served as if it were not");
	if (!stage->read_only &&
	    !image_resize_check(stage->image, image_info(stage->image).size_bytes, false, &why))
		sim_fail("the image was found to be corrupt, and may be resized");
	if (has_mark(stage) && !(features(&stage->host.disk.durable) & QCOW2_CORRUPT))
		sim_fail("the image was found to be corrupt, and is not marked as such");
}

void corrupt_repair(struct stage *stage)
{
	struct disk *disk = &stage->host.disk;
	struct be64 word = be64_make(features(&disk->visible) & ~(uint64_t)QCOW2_CORRUPT);

	stage->corrupt = false;
	find_refcounts(stage, &disk->visible);
	find_refcounts(stage, &disk->durable);
	losses = 0;
	if (!has_mark(stage))
		return;
	sparse_write(&disk->visible, QCOW2_AT_INCOMPATIBLE, &word, sizeof(word));
	sparse_write(&disk->durable, QCOW2_AT_INCOMPATIBLE, &word, sizeof(word));
}
