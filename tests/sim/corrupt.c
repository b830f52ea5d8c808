/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Images here are sound, so no self-check of the engine ever fails: tests/native/overlap.py has
 * those.  What comes after is tested here, by saying the engine's own word for it.
 */
#include "corrupt.h"

#include "death.h"
#include "format.h"
#include "memory.h"
#include "report.h"

/* Of the engine (src/image/engine.h). */
void image_corrupt(struct image *image, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

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

void corrupt_now(struct stage *stage)
{
	unsigned lane = rng_below(&stage->rng, stage->config.lanes);

	trace("the image is found to be corrupt by lane %u", lane);
	stage->corrupt = stage->host.mishap = true;
	this_lane = &stage->host.ring[lane].lane;
	stage->host.ring[lane].blocked = false; /* it runs */
	engine_running = true;
	image_corrupt(stage->image, "the simulator says so");
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
	if (!has_mark(stage))
		return;
	sparse_write(&disk->visible, QCOW2_AT_INCOMPATIBLE, &word, sizeof(word));
	sparse_write(&disk->durable, QCOW2_AT_INCOMPATIBLE, &word, sizeof(word));
}
