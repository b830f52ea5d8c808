/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest that knows what it has written. */
#include "traffic.h"

#include "memory.h"
#include "report.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define BUFFER_BYTES (MAX_REQ_SECTORS * SECTOR_SIZE)
#define GUARD_BYTES 4096u

static const char *const op_names[] = {
	[REQ_READ] = "read",
	[REQ_WRITE] = "write",
	[REQ_FLUSH] = "flush",
	[REQ_DISCARD] = "discard",
	[REQ_WRITE_ZEROES] = "write_zeroes",
};

void traffic_init(struct traffic *traffic, struct sim_host *host, struct model *model,
		  struct rng *rng)
{
	uint64_t stride = BUFFER_BYTES + GUARD_BYTES;

	traffic->rng = rng;
	traffic->host = host;
	traffic->model = model;
	host->arena_bytes = MAX_LANES * MAX_DEPTH * stride;
	host->arena = reserve_zeroed(host->arena_bytes);
	host->buffer_bytes = BUFFER_BYTES;
	for (unsigned i = 0; i < MAX_LANES * MAX_DEPTH; i++) {
		struct slot *slot = &traffic->slot[i / MAX_DEPTH][i % MAX_DEPTH];

		host->buffer[i] = host->arena + i * stride;
		slot->buffer = host->buffer[i];
		slot->lane = i / MAX_DEPTH;
		slot->traffic = traffic;
	}
}

void traffic_start(struct traffic *traffic, const struct config *config, struct image *image,
		   bool read_only)
{
	traffic->config = config;
	traffic->image = image;
	traffic->read_only = read_only;
	traffic->busy = traffic->lost = 0;
	traffic->look = false;
	traffic->door = 0;
	for (unsigned i = 0; i < MAX_LANES; i++)
		for (unsigned k = 0; k < MAX_DEPTH; k++)
			traffic->slot[i][k].busy = traffic->slot[i][k].lost = false;
}

void traffic_go_on(struct traffic *traffic, struct image *image)
{
	traffic->image = image;
	traffic->lost = traffic->busy;
	traffic->look = false;
	for (unsigned i = 0; i < MAX_LANES; i++)
		for (unsigned k = 0; k < MAX_DEPTH; k++)
			traffic->slot[i][k].lost = traffic->slot[i][k].busy;
}

/* --- results --------------------------------------------------------------------------------------- */

static bool is_change(enum req_op op)
{
	return op == REQ_WRITE || op == REQ_DISCARD || op == REQ_WRITE_ZEROES;
}

/* May a request have ended like this? */
static bool result_is_fair(const struct traffic *traffic, const struct slot *slot)
{
	const struct strike *strike = &traffic->host->strike;
	const struct req *req = &slot->req;

	if (slot->late && req->result == -EIO)
		return true;
	/* Who reads needs no space, whatever is dirty. */
	if (req->op == REQ_READ && req->result == -ENOSPC)
		return false;
	if (req->result < 0 && strike->kind)
		return strike->struck &&
		       (strike->kind == STRIKE_EIO    ? req->result == -EIO :
			strike->kind == STRIKE_ENOSPC ? req->result == -ENOSPC || strike->latches :
							false);
	if (req->result == 0)
		return !(traffic->read_only && is_change(req->op));
	if (traffic->read_only && req->result == -EROFS)
		return is_change(req->op);
	if (req->result == -ENOSPC && traffic->config->shape.full_host && is_change(req->op))
		return true;
	return traffic->host->mishap && req->result < 0;
}

static void check_read(struct slot *slot)
{
	struct req *req = &slot->req;
	const char *wrong;

	if (req->result)
		return;
	wrong = model_read_end(slot->traffic->model, req->guest.byte / SECTOR_SIZE,
			       req->len / SECTOR_SIZE, slot->seen, slot->buffer);
	if (wrong)
		sim_fail("%s", wrong);
}

static void on_done(struct req *req)
{
	struct slot *slot = container_of(req, struct slot, req);
	struct traffic *traffic = slot->traffic;
	bool engine = engine_running;
	bool fua = req->flags & REQ_FUA;

	engine_running = false;
	if (!slot->busy || slot->lost)
		sim_fail("a request was done twice");
	if (this_lane != &traffic->host->ring[slot->lane].lane)
		sim_fail("a request was done on another lane than its own");
	trace("lane %u: %s %#llx+%#llx done: %d", slot->lane, op_names[req->op],
	      (unsigned long long)req->guest.byte, (unsigned long long)req->len, req->result);
	if (!result_is_fair(traffic, slot))
		sim_fail("%s %#llx+%#llx ended with %d", op_names[req->op],
			 (unsigned long long)req->guest.byte, (unsigned long long)req->len,
			 req->result);
	if (slot->broken && !req->result && req->op != REQ_READ)
		sim_fail("%s %#llx+%#llx succeeds on an image that had broken before",
			 op_names[req->op], (unsigned long long)req->guest.byte,
			 (unsigned long long)req->len);
	traffic->result = req->result;
	if (req->op == REQ_READ)
		check_read(slot);
	if (slot->version)
		model_end(traffic->model, slot->version, req->result == 0, fua);
	if (slot->rest)
		model_end(traffic->model, slot->rest, req->result == 0, false);
	if (req->result == 0 && (req->op == REQ_FLUSH || fua))
		traffic->look = true;
	slot->busy = false;
	traffic->busy--;
	engine_running = engine;
}

/* --- requests --------------------------------------------------------------------------------------- */

static struct slot *free_slot(struct traffic *traffic, unsigned lane)
{
	uint64_t depth = min_u64(traffic->config->depth, MAX_DEPTH);

	for (unsigned i = 0; i < depth; i++)
		if (!traffic->slot[lane][i].busy)
			return &traffic->slot[lane][i];
	return NULL;
}

static void submit(struct traffic *traffic, struct slot *slot)
{
	struct req *req = &slot->req;
	struct sim_ring *ring = &traffic->host->ring[slot->lane];

	trace("lane %u: %s %#llx+%#llx%s%s version %u", slot->lane, op_names[req->op],
	      (unsigned long long)req->guest.byte, (unsigned long long)req->len,
	      req->flags & REQ_FUA ? " fua" : "", req->flags & REQ_NOUNMAP ? " nounmap" : "",
	      slot->version);
	slot->broken = image_health(traffic->image) != IMAGE_SOUND;
	/* Who asks again may find the disk smaller than it was. */
	slot->late = req->guest.byte + req->len >
		     (traffic->door ? traffic->door : traffic->model->sectors) * SECTOR_SIZE;
	ring->blocked = false; /* a command from the device is a completion, too */
	this_lane = &ring->lane;
	engine_running = true;
	image_submit(traffic->image, &ring->lane, req);
	engine_running = false;
}

static void hand_in(struct traffic *traffic, struct slot *slot)
{
	struct req *req = &slot->req;
	unsigned number = (unsigned)(slot - &traffic->slot[0][0]);

	req->done = on_done;
	req->span = span_memory(slot->buffer);
	if (traffic->config->by_slot)
		req->span = (struct span){ .at = 0, .slot = (int32_t)number };
	slot->busy = true;
	traffic->busy++;
	traffic->requests++;
	submit(traffic, slot);
}

bool traffic_ask_again(struct traffic *traffic)
{
	unsigned slots = MAX_LANES * MAX_DEPTH, at = rng_below(traffic->rng, slots);

	if (!traffic->lost)
		return false;
	while (!traffic->slot[at / MAX_DEPTH][at % MAX_DEPTH].lost)
		at = (at + 1) % slots;
	traffic->slot[at / MAX_DEPTH][at % MAX_DEPTH].lost = false;
	traffic->lost--;
	submit(traffic, &traffic->slot[at / MAX_DEPTH][at % MAX_DEPTH]);
	return true;
}

static void start_read(struct traffic *traffic, struct slot *slot)
{
	uint64_t first = slot->req.guest.byte / SECTOR_SIZE;
	uint64_t sectors = slot->req.len / SECTOR_SIZE;

	memset(slot->buffer, 0xdb, slot->req.len);
	model_read_start(traffic->model, first, sectors, slot->seen);
}

static void start_write(struct traffic *traffic, struct slot *slot)
{
	uint64_t first = slot->req.guest.byte / SECTOR_SIZE;
	uint64_t sectors = slot->req.len / SECTOR_SIZE;

	slot->version = model_start(traffic->model, CHANGE_WRITE, first, sectors, false);
	for (uint64_t i = 0; i < sectors; i++)
		pattern_fill(slot->buffer + i * SECTOR_SIZE, first + i, slot->version);
}

/*
 * Whole clusters become zeros; of the last one of the disk, what there is may.  An image of version
 * 2 cannot say so over a layer below, and may leave all as it is; in a raw data file that is encrypted
 * zeros cost as much as other bytes.
 */
static void start_discard(struct traffic *traffic, struct slot *slot)
{
	uint64_t cluster = UINT64_C(1) << traffic->config->shape.cluster_bits;
	uint64_t size = traffic->model->sectors * SECTOR_SIZE;
	uint64_t end = slot->req.guest.byte + slot->req.len;
	uint64_t first = round_up(slot->req.guest.byte, cluster);
	uint64_t last = round_down(end, cluster);
	const struct shape *shape = &traffic->config->shape;
	bool may_stay = (shape->version == 2 && shape->layers) ||
			(shape->data_raw && shape->encrypted);

	if (first < last)
		slot->version = model_start(traffic->model, CHANGE_ZERO, first / SECTOR_SIZE,
					    (last - first) / SECTOR_SIZE, may_stay);
	/* Of a disk that is becoming smaller, it may be done when that is its end. */
	if ((end == size || end == traffic->door * SECTOR_SIZE) && last < end &&
	    slot->req.guest.byte <= last)
		slot->rest = model_start(traffic->model, CHANGE_ZERO, last / SECTOR_SIZE,
					 (end - last) / SECTOR_SIZE, true);
}

static void start(struct traffic *traffic, struct slot *slot)
{
	struct req *req = &slot->req;

	slot->version = slot->rest = 0;
	switch (req->op) {
	case REQ_READ:
		start_read(traffic, slot);
		break;
	case REQ_WRITE:
		start_write(traffic, slot);
		break;
	case REQ_FLUSH:
		/* Who may not write may not sync either. */
		if (!traffic->read_only)
			slot->version = model_start(traffic->model, CHANGE_FLUSH, 0, 0, false);
		break;
	case REQ_DISCARD:
		start_discard(traffic, slot);
		break;
	case REQ_WRITE_ZEROES:
		slot->version = model_start(traffic->model, CHANGE_ZERO,
					    req->guest.byte / SECTOR_SIZE, req->len / SECTOR_SIZE,
					    false);
		break;
	}
	hand_in(traffic, slot);
}

/* --- which -------------------------------------------------------------------------------------- */

/* Would this change race with another? */
static bool races(const struct traffic *traffic, const struct req *req)
{
	for (unsigned i = 0; i < MAX_LANES * MAX_DEPTH; i++) {
		const struct slot *slot = &traffic->slot[i / MAX_DEPTH][i % MAX_DEPTH];

		if (slot->busy && is_change(slot->req.op) &&
		    slot->req.guest.byte < req->guest.byte + req->len &&
		    req->guest.byte < slot->req.guest.byte + slot->req.len)
			return true;
	}
	return false;
}

bool traffic_submit(struct traffic *traffic)
{
	const struct config *config = traffic->config;
	unsigned queues = config->lanes - (config->lanes > 1 && !config->service_submits);
	struct slot *slot = free_slot(traffic, rng_below(traffic->rng, queues));

	/* Mostly the old ones come first. */
	if (traffic->lost && !rng_one_in(traffic->rng, 4))
		return traffic_ask_again(traffic);
	if (!slot)
		return false;
	traffic_draw(traffic, &slot->req);
	if (!config->races && is_change(slot->req.op) && races(traffic, &slot->req))
		return false;
	start(traffic, slot);
	return true;
}

bool traffic_request(struct traffic *traffic, unsigned lane, enum req_op op, unsigned flags,
		     uint64_t guest, uint64_t len)
{
	struct slot *slot = free_slot(traffic, lane);

	if (!slot)
		return false;
	memset(&slot->req, 0, offsetof(struct req, result));
	slot->req.op = op;
	slot->req.flags = flags;
	slot->req.guest.byte = guest;
	slot->req.len = len;
	start(traffic, slot);
	return true;
}

void traffic_dump(const struct traffic *traffic)
{
	for (unsigned i = 0; i < MAX_LANES * MAX_DEPTH; i++) {
		const struct slot *slot = &traffic->slot[i / MAX_DEPTH][i % MAX_DEPTH];
		const struct req *req = &slot->req;

		if (slot->busy)
			fprintf(stderr, "lane %u: %s %#llx+%#llx version %u is in %s, %u parts\n",
				slot->lane, op_names[req->op], (unsigned long long)req->guest.byte,
				(unsigned long long)req->len, slot->version,
				task_state(&req->part.task), req->parts);
	}
}
