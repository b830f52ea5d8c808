/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests by lot: where, how long, and what. */
#include "traffic.h"

/* A sector range within [first, first + sectors), @max sectors at most. */
static void draw_within(struct traffic *traffic, struct req *req, uint64_t first, uint64_t sectors,
			uint64_t max)
{
	struct rng *rng = traffic->rng;
	uint64_t per_cluster = (UINT64_C(1) << traffic->config->shape.cluster_bits) / SECTOR_SIZE;
	uint64_t per_unit = shape_unit_bytes(&traffic->config->shape) / SECTOR_SIZE;
	uint64_t from = first + rng_below_u64(rng, sectors);
	uint64_t end = first + sectors;
	uint64_t len;

	if (rng_percent(rng, traffic->config->small_percent)) {
		end = min_u64(end, round_down(from, per_cluster) + per_cluster);
		len = 1 + rng_below_u64(rng, end - from);
		if (rng_one_in(rng, 2)) {
			from = max_u64(first, round_down(from, per_unit));
			len = per_unit * rng_range(rng, 1, 10);
		}
	} else {
		if (rng_one_in(rng, 2))
			from = max_u64(first, round_down(from, per_cluster));
		len = rng_one_in(rng, 2) ? per_cluster * rng_range(rng, 1, 4) :
					   rng_range(rng, 1, 64);
		if (rng_one_in(rng, 8))
			len = max;
	}
	req->guest.byte = from * SECTOR_SIZE;
	req->len = SECTOR_SIZE * min_u64(min_u64(len, end - from), max);
}

static void draw_range(struct traffic *traffic, struct req *req)
{
	const struct shape *shape = &traffic->config->shape;
	uint64_t per_cluster = (UINT64_C(1) << shape->cluster_bits) / SECTOR_SIZE;
	/* Version 2 has no other way to say zero over a layer below than to write it. */
	bool writes_zeros = req->op == REQ_WRITE_ZEROES && shape->version == 2 && shape->layers;
	bool has_bytes = req->op == REQ_READ || req->op == REQ_WRITE || writes_zeros;
	uint64_t first = 0, sectors = traffic->model->sectors, max;

	if (traffic->door && traffic->well_behaved)
		sectors = traffic->door;
	max = has_bytes ? MAX_REQ_SECTORS : sectors;

	if (rng_percent(traffic->rng, traffic->config->hot_percent)) {
		const struct region *hot = &shape->hot[rng_below(traffic->rng, shape->hots)];

		/* Which may be behind the end of a disk that has become smaller. */
		first = hot->first_cluster * per_cluster < sectors ?
				hot->first_cluster * per_cluster :
				0;
		sectors = min_u64(hot->clusters * per_cluster, sectors - first);
	}
	draw_within(traffic, req, first, sectors, max);
}

void traffic_draw(struct traffic *traffic, struct req *req)
{
	static const enum req_op ops[] = { REQ_READ, REQ_WRITE, REQ_FLUSH, REQ_DISCARD,
					   REQ_WRITE_ZEROES };
	struct rng *rng = traffic->rng;

	memset(req, 0, offsetof(struct req, result));
	req->op = ops[rng_weighted(rng, traffic->config->op_weight, TRAFFIC_OPS)];
	if (req->op != REQ_FLUSH)
		draw_range(traffic, req);
	if ((req->op == REQ_WRITE || req->op == REQ_WRITE_ZEROES) &&
	    rng_percent(rng, traffic->config->fua_percent))
		req->flags |= REQ_FUA;
	if (req->op == REQ_WRITE_ZEROES && rng_one_in(rng, 2))
		req->flags |= REQ_NOUNMAP;
}
