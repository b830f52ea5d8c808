/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Parts: how a request becomes machines, and machines a result. */
#include "part.h"

#include "door.h"
#include "probe.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

static const struct machine *machine_of(enum req_op op)
{
	switch (op) {
	case REQ_READ:
		return &read_machine;
	case REQ_WRITE:
		return &write_machine;
	case REQ_FLUSH:
		return &flush_machine;
	case REQ_DISCARD:
	case REQ_WRITE_ZEROES:
		return &zero_machine;
	}
	abort();
}

static void part_init(struct part *part, struct image *image, struct lane *lane, struct req *req,
		      const struct machine *machine, struct guest guest, uint64_t len)
{
	task_init(&part->task, lane, machine, PART_FIRST_STATE);
	part->req = req;
	part->image = image;
	part->guest = guest;
	part->len = len;
	part->span = span_skip(req->span, guest.byte - req->guest.byte);
	part->node = NULL;
	part->unpacked = NULL;
	part->held = NULL;
	part->slice = NULL;
	part->host_cluster = 0;
	part->copy_buffer = -1;
	part->bounce = NULL;
	part->writes_zeros = false;
	part->claimed = false;
	part->flush_after = false;
	part->later = 0;
	part->flush_run = 0;
	part->sync_wait.asked = false;
	part->durable.nth = 0;
	for (unsigned i = 0; i < PART_IOS; i++)
		part->io[i].flying = IO_LANDED;
	part->epoch = EPOCH_OUTSIDE;
	req->parts++;
}

static struct task *inline_part(struct image *image, struct lane *lane, struct req *req,
				const struct machine *machine)
{
	req->result = 0;
	req->parts = 0;
	req->started = 0;
	req->cause = CAUSE_HIT;
	part_init(&req->part, image, lane, req, machine, req->guest, req->len);
	req->part.pooled = false;
	return &req->part.task;
}

void part_start(struct image *image, struct lane *lane, struct req *req, uint32_t weight)
{
	struct task *task = inline_part(image, lane, req, machine_of(req->op));

	req->started = lane_now(lane);
	req->weight = weight;
	task->weight = weight;
	probe4(request_start, req, req->op, req->guest.byte, req->len);
	task_start(task);
}

void part_queue(struct image *image, struct lane *lane, struct req *req,
		const struct machine *machine)
{
	req->inside = EPOCH_OUTSIDE;
	task_wake(inline_part(image, lane, req, machine));
}

void part_enter(struct part *part)
{
	if (part->epoch == EPOCH_OUTSIDE)
		part->epoch =
			epoch_enter(part->image, &image_lane(part->image, part->task.lane)->epoch);
}

void part_leave(struct part *part)
{
	if (part->epoch != EPOCH_OUTSIDE)
		epoch_leave(part->image, &image_lane(part->image, part->task.lane)->epoch,
			    part->epoch);
	part->epoch = EPOCH_OUTSIDE;
}

static struct part *pool_take(const struct image *image, struct image_lane *lane)
{
	struct list *link = lane->free_parts.next;

	if (list_empty(&lane->free_parts)) {
		if (lane->parts_used == image->reqs_per_lane)
			return NULL;
		link = &lane->parts[lane->parts_used++].link;
		list_init(link);
	}
	list_del(link);
	return container_of(link, struct part, link);
}

void part_split(struct part *part)
{
	uint64_t done = part->extent.len;
	struct part *rest;

	/* What comes later begins where this part ends, so nobody else may do its rest. */
	if (part->len == done || (part->later && !mutant(SPLIT_BEFORE_LATER)))
		return;
	rest = pool_take(part->image, image_lane(part->image, part->task.lane));
	if (!rest)
		return;
	part_init(rest, part->image, part->task.lane, part->req, machine_of(part->req->op),
		  (struct guest){ part->guest.byte + done }, part->len - done);
	rest->pooled = true;
	part->len = done;
	task_wake(&rest->task);
}

bool part_advance(struct part *part)
{
	uint64_t done = part->extent.len;

	must(done > 0);
	must(done <= part->len);
	part_leave(part);
	part->node = NULL;
	part->guest.byte += done;
	part->len -= done;
	if (!part->writes_zeros)
		part->span = span_skip(part->span, done);
	return part->len > 0;
}

static void count_request(struct image_lane *lane, const struct req *req)
{
	if (req->started)
		histogram_count(&lane->requests[req->op][req->cause],
				lane_now(lane->lane) - req->started,
				req->cause == CAUSE_HIT ? req->weight : 1);
}

void part_end(struct part *part)
{
	struct req *req = part->req;
	struct image_lane *lane = image_lane(part->image, part->task.lane);

	must(!part->claimed);
	must(!part->slice);
	must(!part->held);
	must(!part->unpacked);
	must(!part->bounce);
	must(!part->durable.nth);
	part_leave(part);
	if (part->task.err && !req->result)
		req->result = part->task.err;
	if (part->pooled)
		list_add_head(&lane->free_parts, &part->link);
	must(req->parts > 0);
	if (--req->parts > 0)
		return;
	count_request(lane, req);
	door_leave(part->image, lane, req);
	probe4(request_end, req, req->op, req->cause, req->result);
	req->done(req);
}

enum step part_become(struct part *part, const struct machine *machine)
{
	part->task.machine = machine;
	return go(&part->task, PART_FIRST_STATE);
}

/* --- pools ---------------------------------------------------------------------------------------- */

static size_t pool_bytes(const struct image *image)
{
	return image->reqs_per_lane * sizeof(struct part);
}

/* A pool is resident as far as it was used: most requests need no more than the part they have. */
int parts_open(struct image *image, unsigned reqs_per_lane)
{
	image->reqs_per_lane = reqs_per_lane;
	for (unsigned i = 0; i < image->lanes; i++) {
		struct image_lane *lane = &image->lane[i];

		list_init(&lane->free_parts);
		lane->parts = sparse_map(pool_bytes(image));
		if (!lane->parts)
			return -ENOMEM;
	}
	return 0;
}

void parts_free(struct image *image)
{
	for (unsigned i = 0; i < image->lanes; i++)
		if (image->lane[i].parts)
			munmap(image->lane[i].parts, pool_bytes(image));
}
