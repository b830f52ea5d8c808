/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Free space where few images have it. */
#include "space.h"

#define SEEDS 32u
#define SEED_CRAMMED 21u
#define SEED_SHORT 25u
#define SEED_OUTGROWN 29u

#define CLUSTER UINT64_C(512)
#define PIECE 64u /* refcounts of 64 bits in a piece, which is as large as a cluster */

/*
 * A device that is nearly full: what is free lies at its start or its end, and in between is more than the
 * allocator would look through when the file could grow.
 */
static void cram(struct config *config, struct rng *rng)
{
	uint64_t clusters = rng_range(rng, 30, 120);
	uint32_t align = config->align;

	*config = (struct config){
		.shape = {
			.cluster_bits = 9,
			.version = 3,
			.refcount_order = 6,
			.clusters = clusters,
			.size_bytes = clusters * CLUSTER,
			.prefill = PREFILL_RANDOM,
			.data_percent = 80,
			.hot[0].clusters = clusters / 2,
			.hots = 1,
			.device = true,
			.full_host = true,
			.slack_clusters = rng_range(rng, 1, (uint32_t)clusters / 3),
			.crammed = PIECE * rng_range(rng, 9, 20),
		},
		.aims = 1u << AIM_SPACE,
		.lanes = rng_range(rng, 1, 3),
		.depth = rng_range(rng, 1, 8),
		.reserve_bytes = CLUSTER * rng_range(rng, 1, 8),
		.small_percent = rng_below(rng, 100),
		.races = true,
		.align = align,
		.lives = 2,
		.turns = 2000,
		.step_weight = 60,
		.complete_weight = 40,
		.submit_weight = rng_range(rng, 10, 40),
		.slow_lane = MAX_LANES,
		.peek_one_in = 300,
		.op_weight = { [TRAFFIC_WRITE] = 55, [TRAFFIC_FLUSH] = 15, [TRAFFIC_DISCARD] = 30 },
	};
}

/*
 * The file ends before the last cluster that is counted, with free ones in between, in which new tables will
 * lie: the next process, or who opens it after a power cut, must find these.
 */
static void shorten(struct config *config, struct rng *rng)
{
	struct shape *shape = &config->shape;

	config->aims |= 1u << AIM_SPACE;
	shape->device = shape->full_host = shape->stuffed = shape->data_raw = false;
	shape->prefill = rng_one_in(rng, 2) ? PREFILL_EMPTY : PREFILL_RANDOM;
	shape->counted_behind = rng_range(rng, 1, 60);
	config->hot_percent = rng_below(rng, 100);
	config->lives = 4;
	config->turns = rng_range(rng, 50, 400);
	if (!config->handover || !rng_one_in(rng, 2))
		return;
	config->aims |= 1u << AIM_KILLS;
	config->kill_one_in = rng_range(rng, 30, 400);
}

/* A larger refcount table, on a host that is nearly full: it fails many times before it comes to be. */
static void outgrow(struct config *config, struct rng *rng)
{
	uint64_t clusters = rng_range(rng, 200, 600);
	uint32_t align = config->align;

	*config = (struct config){
		.shape = {
			.cluster_bits = 9,
			.version = 3,
			.refcount_order = 6,
			.clusters = clusters,
			.size_bytes = clusters * CLUSTER,
			.hot[0].clusters = 8,
			.hots = 1,
			.stuffed = true,
		},
		.aims = 1u << AIM_SPACE | 1u << AIM_GROWTH,
		.lanes = rng_range(rng, 1, 3),
		.depth = rng_range(rng, 1, 8),
		.reserve_bytes = CLUSTER * rng_range(rng, 1, 8),
		.small_percent = rng_below(rng, 100),
		.hot_percent = 10,
		.races = true,
		.align = align,
		.faults.no_space = rng_range(rng, 20, 600),
		.lives = 2,
		.turns = 1000,
		.step_weight = 60,
		.complete_weight = 40,
		.submit_weight = rng_range(rng, 10, 40),
		.slow_lane = MAX_LANES,
		.peek_one_in = 300,
		.op_weight = { [TRAFFIC_WRITE] = 85, [TRAFFIC_FLUSH] = 10, [TRAFFIC_DISCARD] = 5 },
	};
}

/* What is being dropped comes late, or not at all. */
static void disturb(struct config *config, struct rng *rng)
{
	config->held = rng_one_in(rng, 2) ? 1u << rng_below(rng, IO_ZEROS) : 0;
	config->early_percent = rng_one_in(rng, 2) ? rng_below(rng, 100) : 0;
	config->shape.snapshot = rng_one_in(rng, 3);
	config->fua_percent = rng_one_in(rng, 2) ? 0 : rng_below(rng, 60);
	if (rng_one_in(rng, 2))
		config->op_weight[TRAFFIC_READ] = 30;
	if (rng_one_in(rng, 4))
		config->faults.sync = rng_range(rng, 5, 200);
	if (rng_one_in(rng, 4))
		config->faults.error = rng_range(rng, 1, 60);
	if (rng_one_in(rng, 4))
		config->faults.no_space = rng_range(rng, 1, 300);
	config->handover = rng_one_in(rng, 2);
	if (config->handover && rng_one_in(rng, 2)) {
		config->aims |= 1u << AIM_KILLS;
		config->kill_one_in = rng_range(rng, 30, 2000);
		config->kill_points = 5000;
	}
}

void space_draw(struct config *config, uint64_t seed)
{
	struct rng rng = { .state = seed * UINT64_C(0xda942042e4dd58b5) };

	if (seed % SEEDS == SEED_CRAMMED)
		cram(config, &rng);
	if (seed % SEEDS == SEED_CRAMMED && rng_one_in(&rng, 2))
		disturb(config, &rng);
	if (seed % SEEDS == SEED_SHORT)
		shorten(config, &rng);
	if (seed % SEEDS == SEED_OUTGROWN)
		outgrow(config, &rng);
}
