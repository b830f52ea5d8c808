/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Free space where few images have it. */
#include "space.h"

#define SEEDS 32u
#define SEED_CRAMMED 21u
#define SEED_SHORT 25u
#define SEED_OUTGROWN 29u

#define CLUSTER UINT64_C(512)
#define PIECE 64u /* refcounts of 64 bits in a piece, which is as large as a cluster */

/* Refcounts of 64 bits, so that few clusters have many pieces. */
static void small_disk(struct config *config, struct rng *rng, uint64_t clusters)
{
	uint32_t align = config->align;

	*config = (struct config){
		.shape = {
			.cluster_bits = 9,
			.version = 3,
			.refcount_order = 6,
			.clusters = clusters,
			.size_bytes = clusters * CLUSTER,
			.hots = 1,
		},
		.aims = 1u << AIM_SPACE,
		.races = true,
		.align = align,
		.lives = 2,
		.step_weight = 60,
		.complete_weight = 40,
		.slow_lane = MAX_LANES,
		.peek_one_in = 300,
	};
	config->lanes = rng_range(rng, 1, 3);
	config->depth = rng_range(rng, 1, 8);
	config->reserve_bytes = CLUSTER * rng_range(rng, 1, 8);
	config->small_percent = rng_below(rng, 100);
}

static void guest(struct config *config, unsigned writes, unsigned flushes, unsigned discards)
{
	config->op_weight[TRAFFIC_WRITE] = writes;
	config->op_weight[TRAFFIC_FLUSH] = flushes;
	config->op_weight[TRAFFIC_DISCARD] = discards;
}

/*
 * A device that is nearly full: what is free lies at its start or its end, and in between is more than the
 * allocator would look through when the file could grow.
 */
static void cram(struct config *config, struct rng *rng)
{
	uint64_t clusters = rng_range(rng, 30, 120);
	uint64_t slack = rng_range(rng, 1, (uint32_t)clusters / 3);
	uint64_t crammed = PIECE * rng_range(rng, 9, 20);
	struct shape *shape = &config->shape;

	small_disk(config, rng, clusters);
	shape->prefill = PREFILL_RANDOM;
	shape->data_percent = 80;
	shape->hot[0].clusters = clusters / 2;
	shape->device = true;
	shape->full_host = true;
	shape->slack_clusters = slack;
	shape->crammed = crammed;
	config->turns = 2000;
	config->submit_weight = rng_range(rng, 10, 40);
	guest(config, 55, 15, 30);
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
	small_disk(config, rng, rng_range(rng, 200, 600));
	config->shape.hot[0].clusters = 8;
	config->shape.stuffed = true;
	config->aims |= 1u << AIM_GROWTH;
	config->hot_percent = 10;
	config->faults.no_space = rng_range(rng, 20, 600);
	config->turns = 1000;
	config->submit_weight = rng_range(rng, 10, 40);
	guest(config, 85, 10, 5);
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
