/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests that need nothing but one host I/O.
 *
 * The machines for reading and writing would do the same with them, in more steps: this is a
 * short cut, and whatever it does not know at once it leaves to them.
 */
#include "hit.h"

#include "alone.h"
#include "cache.h"
#include "door.h"
#include "overlap.h"

#include <stdlib.h>

/* Which share of the hits is timed. */
#define TIMED_OFTEN_NS 10000000u
#define TIMED_SELDOM_NS 40000000u
#define TIMED_ONE_OF 1024u

/*
 *	ENDED -> DONE
 */
#define HIT_LIST(s) s(H_ENDED)
MACHINE_STATES(hit, HIT_LIST);

static bool hits_possible(const struct image *image)
{
	const struct node *top = &image->top;

	return !top->raw && !top->geo.data_apart && top->geo.l2_entry_bytes == sizeof(*top->l1) &&
	       !top->header.crypt_method;
}

/* Of an entry of an L1 or L2 table: does it point to a whole cluster? */
static bool points(const struct geometry *geo, uint64_t word)
{
	uint64_t host = word & ENTRY_HOST_MASK;

	return host && is_aligned(host, geo->cluster_bytes);
}

/*
 * The host byte of @guest when its cluster is mapped to data.  @own: to nobody else's, which
 * table and cluster must say.
 */
static bool find(const struct node *top, struct guest guest, bool own, struct host *host)
{
	const struct geometry *geo = &top->geo;
	uint64_t copied = own ? ENTRY_COPIED : 0;
	uint64_t table = be64_load(&top->l1[guest_l1_index(geo, guest)]);
	uint64_t word;

	if (!points(geo, table) ||
	    !slice_peek(top, guest_slice(geo, guest), guest_slice_entry(geo, guest), &word) ||
	    !points(geo, word) || word & (ENTRY_COMPRESSED | ENTRY_ZERO) ||
	    (table & word & copied) != copied)
		return false;
	host->byte = (word & ENTRY_HOST_MASK) + guest_in_cluster(geo, guest);
	return true;
}

static enum step hit_step(struct task *t)
{
	struct part *part = container_of(t, struct part, task);
	struct req *req = part->req;

	switch (t->state) {
	case H_ENDED:
		epoch_leave(part->image, &image_lane(part->image, t->lane)->epoch, part->epoch);
		req->result = t->err;
		req->done(req);
		return STEP_DONE;
	}
	abort();
}

const struct machine hit_machine = { "hit", hit_step, hit_states };

static void start(struct image *image, struct lane *lane, struct req *req, struct host host,
		  uint8_t epoch)
{
	struct part *part = &req->part;
	bool write = req->op == REQ_WRITE;

	task_init(&part->task, lane, &hit_machine, H_ENDED);
	part->req = req;
	part->image = image;
	part->guest = req->guest;
	part->len = req->len;
	part->epoch = epoch;
	req->started = 0;
	part->io[0].flying = IO_LANDED;
	io_start_flags(&part->task, &part->io[0], write ? IO_WRITE : IO_READ,
		       image->top.data->index, req->span, host, req->len,
		       IO_UNTIMED | IO_STEPS | (write ? IO_IN_PLACE : 0));
}

/*
 * Looking at the clock twice costs more than a hit may: where there are many, few are timed, some
 * fifty in a second; where there are few, all are.
 */
static uint32_t time_one(struct image_lane *own)
{
	uint64_t now = lane_now(own->lane);
	uint64_t interval = max_u64(now - own->hit_timed_at, 1);
	uint32_t stands_for = own->hits_every;

	if (interval < TIMED_OFTEN_NS && own->hits_every < TIMED_ONE_OF)
		own->hits_every *= 2;
	else if (interval > TIMED_SELDOM_NS)
		own->hits_every =
			(uint32_t)max_u64((uint64_t)own->hits_every * TIMED_OFTEN_NS / interval, 1);
	own->hits_untimed = own->hits_every;
	own->hit_timed_at = now;
	return stands_for;
}

void hits_open(struct image *image)
{
	image->hits = hits_possible(image);
	for (unsigned i = 0; i < image->lanes; i++)
		image->lane[i].hits_untimed = image->lane[i].hits_every = 1;
}

uint32_t hit_start(struct image *image, struct lane *lane, struct req *req)
{
	const struct geometry *geo = &image->top.geo;
	struct image_lane *own = image_lane(image, lane);
	bool write = req->op == REQ_WRITE;
	struct host host;

	if (!image->hits || (!write && req->op != REQ_READ) || !req->len ||
	    guest_in_cluster(geo, req->guest) + req->len > geo->cluster_bytes)
		return 1;
	if (write &&
	    (req->flags & REQ_FUA || image->read_only || image_broken(image) || alone_next(image)))
		return 1;

	uint8_t bucket = epoch_enter(image, &own->epoch);

	if (!door_is_open(image, req) || !find(&image->top, req->guest, write, &host) ||
	    (write && !overlap_allows(image, host_cluster(geo, host), 1))) {
		epoch_leave(image, &own->epoch, bucket);
		return 1;
	}
	if (--own->hits_untimed == 0) {
		epoch_leave(image, &own->epoch, bucket);
		return time_one(own);
	}
	start(image, lane, req, host, bucket);
	return 0;
}
