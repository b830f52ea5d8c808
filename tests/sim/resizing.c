/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Resizes while requests run: when, by how much, and what a resize promises. */
#include "resizing.h"

#include "format.h"
#include "memory.h"
#include "report.h"
#include "stage.h"

#include <errno.h>
#include <inttypes.h>

#define MOST_BYTES (UINT64_C(1) << 30) /* the model has room for twice as much */

static uint64_t table_bytes(const struct shape *shape)
{
	return shape_l2_entries(shape) << shape->cluster_bits;
}

void resizing_draw(struct stage *stage, uint64_t seed)
{
	static const unsigned moves[] = { 5, 20, 60, 200 };
	struct resizing *resizing = &stage->resizing;
	struct shape *shape = &stage->config.shape;
	struct region *hot = &shape->hot[shape->hots - 1];
	uint64_t before;

	*resizing = (struct resizing){ .rng.state = seed * UINT64_C(0xd1342543de82ef95) };
	if (seed % 8 != 3 || shape->data_raw)
		return;
	/* What would be refused. */
	shape->snapshot &= shape->version > 2;
	resizing->one_in = moves[rng_below(&resizing->rng, ARRAY_SIZE(moves))];
	resizing->most = shape->size_bytes + table_bytes(shape) * rng_range(&resizing->rng, 1, 80) +
			 SECTOR_SIZE * rng_below(&resizing->rng, 100);
	resizing->most = min_u64(resizing->most, MOST_BYTES);
	resizing->possible = resizing->most > shape->size_bytes;
	stage->config.aims |= resizing->possible ? 1u << AIM_RESIZE : 0;
	/* The end is where something can go wrong; also what is behind it. */
	before = min_u64(shape->clusters, rng_range(&resizing->rng, 1, 4));
	hot->first_cluster = shape->clusters - before;
	hot->clusters = before + rng_range(&resizing->rng, 1, 12);
}

/* What was written behind the new end must not be lost. */
static void check_nothing_lost(const struct stage *stage, uint64_t bytes)
{
	const struct shape *shape = &stage->config.shape;
	uint64_t end = round_up(bytes, UINT64_C(1) << shape->cluster_bits);
	uint64_t lost = model_first_written(&stage->model, end / SECTOR_SIZE, !shape->layers);

	if (lost != NO_SECTOR)
		sim_fail("sector %" PRIu64 ", which was written, is cut off", lost);
}

static void resized(struct stage *stage, uint64_t bytes)
{
	struct shape *shape = &stage->config.shape;

	trace("the disk has %" PRIu64 " bytes now", bytes);
	if (bytes < shape->size_bytes)
		check_nothing_lost(stage, bytes);
	shape->size_bytes = bytes;
	shape->clusters = div_round_up(bytes, UINT64_C(1) << shape->cluster_bits);
	model_resize(&stage->model, bytes / SECTOR_SIZE);
	stage->resizing.done++;
}

/* Who came in before the door closed has left: at the latest when the disk is smaller. */
static void check_all_left(const struct stage *stage, uint64_t bytes)
{
	const struct traffic *traffic = &stage->traffic;

	for (unsigned lane = 0; lane < stage->config.lanes; lane++) {
		for (unsigned i = 0; i < stage->config.depth; i++) {
			const struct slot *slot = &traffic->slot[lane][i];

			if (slot->busy && !slot->lost &&
			    slot->req.guest.byte + slot->req.len > bytes)
				sim_fail("a request is under way behind the end of a disk that is "
					 "smaller now");
		}
	}
}

static bool is_fair(const struct stage *stage, int err)
{
	bool smaller = stage->resizing.target < stage->config.shape.size_bytes;

	return err == 0 || stage->host.mishap || (err == -EBUSY && smaller) ||
	       (err == -ENOSPC && stage->config.shape.full_host);
}

static void over(struct stage *stage)
{
	stage->resizing.busy = false;
	stage->traffic.door = 0;
}

static void on_resized(void *arg, int err)
{
	struct stage *stage = arg;
	bool engine = engine_running;

	engine_running = false;
	trace("resized: %d", err);
	if (!stage->resizing.busy)
		sim_fail("a resize was done twice");
	if (!is_fair(stage, err))
		sim_fail("a resize ended with %d", err);
	over(stage);
	if (!stage->resizing.asks) {
		stage->resizing.unsure = err && image_info(stage->image).broken;
		if (err == 0) {
			check_all_left(stage, stage->resizing.target);
			resized(stage, stage->resizing.target);
		}
	}
	/* What was promised a moment ago is the most likely to be broken. */
	stage->traffic.look = true;
	engine_running = engine;
}

static uint64_t draw_smaller(struct resizing *resizing, const struct shape *shape)
{
	uint64_t cluster = UINT64_C(1) << shape->cluster_bits, bytes = shape->size_bytes;
	uint64_t less;

	switch (rng_below(&resizing->rng, 8)) {
	case 0 ... 1:
		less = SECTOR_SIZE * rng_range(&resizing->rng, 1, 16);
		break;
	case 2 ... 4:
		less = bytes - round_down(bytes - 1, cluster) +
		       cluster * rng_below(&resizing->rng, 4);
		break;
	case 5:
		less = bytes - round_down(bytes - 1, table_bytes(shape));
		break;
	default:
		less = SECTOR_SIZE * rng_below_u64(&resizing->rng, bytes / SECTOR_SIZE);
		break;
	}
	return less < bytes ? bytes - less : bytes;
}

static uint64_t draw_target(struct resizing *resizing, const struct shape *shape)
{
	uint64_t cluster = UINT64_C(1) << shape->cluster_bits, bytes = shape->size_bytes;

	switch (rng_below(&resizing->rng, 12)) {
	case 0 ... 2:
		bytes += SECTOR_SIZE * rng_range(&resizing->rng, 1, 16);
		break;
	case 3 ... 4:
		bytes = round_up(bytes + 1, cluster);
		break;
	case 5 ... 7:
		bytes += cluster * rng_range(&resizing->rng, 1, 20);
		break;
	case 8 ... 10:
		bytes = round_up(bytes + 1, table_bytes(shape)) +
			cluster * rng_below(&resizing->rng, 3);
		break;
	default:
		bytes += SECTOR_SIZE * rng_below_u64(&resizing->rng, resizing->most / SECTOR_SIZE);
		break;
	}
	return min_u64(bytes, resizing->most);
}

static void begin(struct stage *stage, uint64_t target)
{
	struct resizing *resizing = &stage->resizing;
	struct sim_ring *ring = &stage->host.ring[stage->config.lanes - 1];
	bool smaller = target < stage->config.shape.size_bytes;

	resizing->busy = true;
	resizing->asks = smaller && rng_one_in(&resizing->rng, 4);
	resizing->target = target;
	resizing->fresh = 0;
	trace(resizing->asks ? "is anything behind %" PRIu64 "?" : "resize to %" PRIu64, target);
	sparse_read(&stage->host.disk.visible, QCOW2_AT_SIZE, resizing->header, HEADER_WATCHED);
	if (!smaller)
		model_zero_behind(&stage->model);
	else if (!resizing->asks)
		stage->traffic.door = target / SECTOR_SIZE;
	stage->traffic.well_behaved = rng_percent(&resizing->rng, 75);
	ring->blocked = false;
	this_lane = &ring->lane;
	engine_running = true;
	if (resizing->asks)
		image_unused_start(stage->image, target, on_resized, stage);
	else
		image_resize_start(stage->image, target, on_resized, stage);
	engine_running = false;
}

void resizing_may_begin(struct stage *stage)
{
	struct resizing *resizing = &stage->resizing;
	struct shape *shape = &stage->config.shape;
	struct why why;
	uint64_t target;

	if (!resizing->possible || resizing->busy || resizing->unsure || stage->read_only ||
	    !rng_one_in(&resizing->rng, resizing->one_in))
		return;
	target = rng_percent(&resizing->rng, 40) ? draw_smaller(resizing, shape) :
						   draw_target(resizing, shape);
	if (target != shape->size_bytes && !image_resize_check(stage->image, target, true, &why))
		begin(stage, target);
}

bool resizing_is_worth_a_kill(struct stage *stage)
{
	struct resizing *resizing = &stage->resizing;
	uint8_t now[HEADER_WATCHED];

	if (!resizing->busy)
		return false;
	sparse_read(&stage->host.disk.visible, QCOW2_AT_SIZE, now, sizeof(now));
	if (memcmp(now, resizing->header, sizeof(now)) != 0)
		resizing->fresh = 16;
	memcpy(resizing->header, now, sizeof(now));
	if (resizing->fresh) {
		resizing->fresh--;
		return rng_one_in(&resizing->rng, 8);
	}
	return rng_one_in(&resizing->rng, 500);
}

void resizing_found(struct stage *stage, uint64_t bytes, bool last)
{
	struct resizing *resizing = &stage->resizing;
	uint64_t now = stage->config.shape.size_bytes;
	bool may_have_changed = (resizing->busy && !resizing->asks) || resizing->unsure;
	bool may_be = may_have_changed && bytes == resizing->target;
	bool broken = stage->image && image_info(stage->image).broken;

	if (bytes != now && !may_be)
		sim_fail("the disk has %" PRIu64 " bytes instead of %" PRIu64, bytes, now);
	if (!last)
		return;
	/* What a failed write or sync has left in the file is no promise until somebody writes there. */
	resizing->unsure = may_have_changed && (!stage->image || broken || stage->read_only);
	over(stage);
	if (bytes > now && may_have_changed && broken)
		sim_fail("the disk is larger, though nobody knows whether that is durable");
	if (bytes == now)
		return;
	resized(stage, bytes);
	resizing->target = now;
}
