/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests and moves. */
#include "guest.h"

#include "memory.h"
#include "report.h"

/* Moves that all requests need to end, at most: far more than any has needed. */
#define MOVES_MOST 400000u
#define TIMERS_MOST 100u
#define DISCARD_MOST (32 * MIB)

void guest_init(struct guest_side *guest, struct sim_host *host, struct rng *rng)
{
	guest->host = host;
	guest->rng = rng;
	host->arena_bytes = GUEST_DEPTH * GUEST_BYTES;
	host->arena = reserve_zeroed(host->arena_bytes);
	for (unsigned i = 0; i < GUEST_DEPTH; i++)
		guest->slot[i].guest = guest;
}

static void on_done(struct req *req)
{
	struct guest_slot *slot = container_of(req, struct guest_slot, req);
	struct guest_side *guest = slot->guest;

	if (!slot->busy)
		sim_fail("a request was done twice");
	if (req->result > 0)
		sim_fail("a request has ended with %d", req->result);
	slot->busy = false;
	guest->busy--;
}

/* --- moves --------------------------------------------------------------------------------------- */

static bool turn(struct guest_side *guest, unsigned lane)
{
	struct sim_ring *ring = &guest->host->ring[lane];

	if (ring->blocked)
		return false;
	this_lane = &ring->lane;
	engine_running = true;
	if (!lane_run(&ring->lane, 1))
		ring->blocked = lane_doze(&ring->lane);
	engine_running = false;
	return true;
}

static void random_move(struct guest_side *guest)
{
	guest->host->now += 1000;
	if (rng_one_in(guest->rng, 3))
		host_complete_one(guest->host, false);
	else
		turn(guest, rng_below(guest->rng, guest->host->lanes));
}

/* Whatever can move, moves, until all is done; false when nothing moves any more before. */
static bool settle(struct guest_side *guest, bool (*done)(const struct guest_side *guest))
{
	unsigned timers = 0;

	for (unsigned i = 0; i < MOVES_MOST; i++) {
		bool moved = false;

		for (unsigned lane = 0; lane < guest->host->lanes; lane++)
			moved |= turn(guest, lane);
		moved |= host_complete_one(guest->host, true);
		if (done(guest))
			return true;
		if (!moved && (++timers > TIMERS_MOST || !host_complete_timer(guest->host)))
			return false;
	}
	sim_fail("the engine does not come to rest");
}

static bool all_is_back(const struct guest_side *guest)
{
	return guest->busy == 0;
}

/* --- requests ------------------------------------------------------------------------------------ */

/* Near the start, near the end, at the borders of clusters and tables, or anywhere. */
static uint64_t where(const struct guest_side *guest, uint16_t choice)
{
	uint64_t size = guest->info.size_bytes, cluster = guest->info.cluster_bytes;
	uint64_t nth = choice >> 2, off = 0;

	switch (choice & 3) {
	case 0:
		off = nth * SECTOR_SIZE;
		break;
	case 1:
		off = size - min_u64(size, nth * SECTOR_SIZE);
		break;
	case 2:
		off = (nth & 255) * cluster + (nth >> 8) * (cluster / 8) * cluster;
		break;
	case 3:
		off = nth * (size >> 14);
		break;
	}
	return round_down(min_u64(off, size), SECTOR_SIZE);
}

static uint64_t how_long(const struct guest_side *guest, enum req_op op, uint8_t choice)
{
	uint64_t most = op == REQ_DISCARD || op == REQ_WRITE_ZEROES ? DISCARD_MOST : GUEST_BYTES;
	uint64_t len = (1 + (choice & 63)) * SECTOR_SIZE;

	if (choice >> 6 == 2)
		len = (1 + (choice & 63)) * guest->info.cluster_bytes;
	if (choice >> 6 == 3)
		len = most;
	return min_u64(len, most);
}

static void ask(struct guest_side *guest, struct guest_slot *slot, unsigned lane, uint8_t what,
		uint64_t off, uint64_t len)
{
	static const enum req_op ops[] = { REQ_READ,	REQ_WRITE,   REQ_WRITE,	       REQ_FLUSH,
					   REQ_DISCARD, REQ_DISCARD, REQ_WRITE_ZEROES, REQ_WRITE };
	uint8_t *buffer = guest->host->arena + (size_t)(slot - guest->slot) * GUEST_BYTES;
	struct sim_ring *ring = &guest->host->ring[lane];
	struct req *req = &slot->req;

	memset(req, 0, offsetof(struct req, result));
	req->op = ops[what & 7];
	req->flags = (what & 8 ? REQ_FUA : 0u) | (what & 16 ? REQ_NOUNMAP : 0u);
	req->guest.byte = req->op == REQ_FLUSH ? 0 : off;
	req->len = req->op == REQ_FLUSH ? 0 : len;
	req->span = span_memory(buffer);
	req->done = on_done;
	if (req->op == REQ_WRITE)
		memset(buffer, 0x80 | what, len);
	slot->busy = true;
	slot->lane = lane;
	guest->busy++;
	ring->blocked = false;
	this_lane = &ring->lane;
	engine_running = true;
	image_submit(guest->image, &ring->lane, req);
	engine_running = false;
}

static struct guest_slot *free_slot(struct guest_side *guest)
{
	for (unsigned i = 0; i < GUEST_DEPTH; i++)
		if (!guest->slot[i].busy)
			return &guest->slot[i];
	return NULL;
}

static void one_request(struct guest_side *guest, struct input *in)
{
	uint8_t what = input_byte(in);
	uint64_t off = where(guest, (uint16_t)input_take(in, 2));
	uint64_t len = how_long(guest, what & 7, input_byte(in));
	unsigned moves = input_byte(in);
	struct guest_slot *slot = free_slot(guest);

	len = min_u64(len, guest->info.size_bytes - off);
	if (slot)
		ask(guest, slot, (what >> 5) % guest->host->lanes, what, off, len);
	for (unsigned i = 0; i < moves; i++)
		random_move(guest);
}

void guest_live(struct guest_side *guest, struct input *in)
{
	unsigned requests = input_byte(in) % 64;

	guest->info = image_info(guest->image);
	guest->busy = 0;
	for (unsigned i = 0; i < GUEST_DEPTH; i++)
		guest->slot[i].busy = false;
	for (unsigned i = 0; i < requests; i++)
		one_request(guest, in);
}

/* --- the end ------------------------------------------------------------------------------------- */

static void on_closed(void *arg, int err)
{
	struct guest_side *guest = arg;

	if (err > 0)
		sim_fail("the close has ended with %d", err);
	guest->closed = true;
}

static bool is_closed(const struct guest_side *guest)
{
	return guest->closed;
}

void guest_close(struct guest_side *guest)
{
	struct sim_ring *ring = &guest->host->ring[0];

	if (!settle(guest, all_is_back))
		sim_fail("nothing flies, nothing is ready, %u requests wait", guest->busy);
	guest->closed = false;
	this_lane = &ring->lane;
	ring->blocked = false;
	engine_running = true;
	image_close_start(guest->image, &ring->lane, on_closed, guest);
	engine_running = false;
	if (!settle(guest, is_closed))
		sim_fail("nothing flies, nothing is ready, the close does not end");
	guest->host->flights = guest->host->timers = 0;
}
