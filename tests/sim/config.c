/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How a seed aims: what is common in one seed is rare in the next. */
#include "config.h"

#include <stdio.h>

#define AIM_NAME(name, text) [AIM_##name] = text,
#define AIM(name) (1u << AIM_##name)

static const char *const aim_names[] = { AIM_LIST(AIM_NAME) };

static void draw_engine(struct config *config, struct rng *rng)
{
	uint64_t cluster = UINT64_C(1) << config->shape.cluster_bits;
	uint64_t slice = min_u64(cluster, 4096);

	config->lanes = rng_range(rng, 1, MAX_LANES);
	config->depth = rng_one_in(rng, 3) ? rng_range(rng, 1, 3) : rng_range(rng, 2, 16);
	config->l2_cache_bytes = rng_one_in(rng, 4) ? 0 : slice * rng_range(rng, 1, 6);
	config->reserve_bytes = rng_one_in(rng, 8) ? 0 : cluster * rng_range(rng, 1, 8);
	config->by_slot = rng_one_in(rng, 3);
	config->buffers = rng_one_in(rng, 3) ? 0 : rng_range(rng, 1, 3);
	config->workers = rng_one_in(rng, 4) ? 0 : rng_range(rng, 1, 3);
	config->unpack_here_bytes = rng_one_in(rng, 4) ? 0 : 1;
}

static void draw_guest(struct config *config, struct rng *rng)
{
	static const unsigned mixes[][TRAFFIC_OPS] = {
		/* read write flush discard zeroes */
		{ 20, 50, 10, 10, 10 }, { 5, 70, 25, 0, 0 },   { 5, 45, 15, 30, 5 },
		{ 40, 25, 10, 25, 0 },	{ 10, 40, 10, 0, 40 }, { 30, 60, 3, 4, 3 },
		{ 10, 30, 30, 15, 15 }, { 30, 40, 5, 20, 5 },
	};
	const unsigned *mix = mixes[rng_below(rng, ARRAY_SIZE(mixes))];

	for (unsigned i = 0; i < TRAFFIC_OPS; i++)
		config->op_weight[i] = mix[i];
	config->fua_percent = rng_one_in(rng, 3) ? rng_below(rng, 60) : 0;
	config->hot_percent = rng_one_in(rng, 4) ? 50 : 95;
	config->small_percent = rng_below(rng, 100);
	config->races = rng_one_in(rng, 2);
	config->service_submits = rng_one_in(rng, 8);
}

/* By a chance of its own, which takes no luck away from others. */
static void draw_ahead(struct config *config, struct rng rng)
{
	rng_below(&rng, 2);
	config->faults.no_ahead = rng_one_in(&rng, 8);
	config->faults.ahead = rng_one_in(&rng, 4) ? rng_range(&rng, 1, 300) : 0;
}

/* The same. */
static bool draw_page_cache(struct rng rng)
{
	rng_below(&rng, 3);
	rng_below(&rng, 5);
	return rng_one_in(&rng, 8);
}

/* The same. */
static bool draw_no_dsync(struct rng rng)
{
	rng_below(&rng, 7);
	rng_below(&rng, 11);
	return rng_one_in(&rng, 8);
}

static void draw_host(struct config *config, struct rng *rng)
{
	unsigned kind = rng_below(rng, 10);

	if (kind >= 5) {
		config->faults.again = rng_below(rng, 100);
		config->faults.shortened = rng_below(rng, 300);
	}
	if (kind >= 8)
		config->faults.error = rng_one_in(rng, 2) ? rng_below(rng, 100) : 5;
	if (kind == 8)
		config->faults.no_space = rng_below(rng, 100);
	if (kind == 9 && rng_one_in(rng, 2)) {
		config->faults.error = rng_one_in(rng, 2) ? 0 : config->faults.error;
		config->faults.sync = rng_range(rng, 5, 200);
	}
	config->faults.cipher = kind == 9 && rng_one_in(rng, 4) ? rng_below(rng, 30) : 0;
	config->faults.no_punch = rng_one_in(rng, 10);
	draw_ahead(config, *rng);
	config->page_cache = draw_page_cache(*rng);
	config->no_dsync = draw_no_dsync(*rng);
	config->early_percent = rng_one_in(rng, 2) ? 0 : rng_below(rng, 100);
	if (rng_one_in(rng, 2))
		config->held = 1u << rng_below(rng, IO_ZEROS);
	if (rng_one_in(rng, 4))
		config->held |= 1u << rng_below(rng, IO_ZEROS);
	if (rng_one_in(rng, 4))
		config->held |= 1u << IO_WORK;
	config->align = rng_one_in(rng, 3) ? 512 : 1;
}

static void draw_scheduler(struct config *config, struct rng *rng)
{
	static const unsigned turns[] = { 40, 100, 200, 400, 800, 2000 };

	config->lives = rng_range(rng, 1, 5);
	config->turns = turns[rng_below(rng, ARRAY_SIZE(turns))];
	config->step_weight = rng_range(rng, 20, 100);
	config->complete_weight = rng_range(rng, 5, 60);
	config->submit_weight = rng_range(rng, 5, 60);
	config->slow_lane = rng_one_in(rng, 3) ? rng_below(rng, config->lanes) : MAX_LANES;
	config->peek_one_in = rng_one_in(rng, 3) ? 20 : 100;
}

static void draw_kills(struct config *config, struct rng *rng)
{
	static const unsigned moves[] = { 30, 100, 400, 2000 };
	static const unsigned points[] = { 0, 10, 100, 1000, 5000 };

	config->handover = !rng_one_in(rng, 4);
	if (!config->handover || rng_one_in(rng, 2))
		return;
	config->aims |= AIM(KILLS);
	config->kill_one_in = moves[rng_below(rng, ARRAY_SIZE(moves))];
	config->kill_points = points[rng_below(rng, ARRAY_SIZE(points))];
}

static void set_mix(struct config *config, const unsigned *mix)
{
	for (unsigned i = 0; i < TRAFFIC_OPS; i++)
		config->op_weight[i] = mix[i];
}

/* Much to release, little room for it, and reads that keep their epoch for long. */
static void draw_churn(struct config *config, struct rng *rng)
{
	static const unsigned mixes[][TRAFFIC_OPS] = { { 15, 40, 5, 40, 0 }, { 30, 5, 5, 60, 0 } };

	config->aims |= AIM(CHURN);
	set_mix(config, mixes[rng_below(rng, 2)]);
	config->turns = rng_one_in(rng, 2) ? 100 : 400;
	config->shape.prefill = PREFILL_ALL;
	config->shape.gap_percent = 50;
	config->l2_cache_bytes = SECTOR_SIZE;
	config->depth = rng_range(rng, 8, 16);
	config->small_percent = 20;
	config->hot_percent = 30;
	config->held |= 1u << IO_READ;
}

/* Clusters that are used again as soon as they may be, while somebody still reads or writes. */
static void draw_reuse(struct config *config, struct rng *rng)
{
	static const unsigned mix[TRAFFIC_OPS] = { 15, 35, 25, 25, 0 };
	static const enum io_op held[] = { IO_READ, IO_WRITE, IO_WRITE, IO_PUNCH };

	config->aims |= AIM(REUSE);
	set_mix(config, mix);
	config->shape.prefill = PREFILL_ALL;
	config->shape.data_percent = 80;
	config->shape.gap_percent = 0;
	config->reserve_bytes = UINT64_C(1) << config->shape.cluster_bits;
	config->depth = rng_range(rng, 4, 16);
	config->turns = 2000;
	config->step_weight = 100;
	config->complete_weight = 50;
	config->submit_weight = rng_range(rng, 10, 50);
	config->small_percent = rng_below(rng, 50);
	config->hot_percent = 95;
	config->held = 1u << held[rng_below(rng, ARRAY_SIZE(held))];
	config->early_percent = 0;
	if (rng_one_in(rng, 2))
		config->shape.packed_percent = 100;
	/* Or while somebody waits for a buffer. */
	if (rng_one_in(rng, 2)) {
		config->shape.encrypted = true;
		config->shape.packed_percent = 0;
		config->buffers = 1;
		config->held = 1u << IO_WRITE;
	}
}

/*
 * Encrypted writes that wait for a buffer, on a lane so slow that what they were about to write to
 * belongs to somebody else when they get it.
 */
static void draw_bounce(struct config *config, struct rng *rng)
{
	static const unsigned mix[TRAFFIC_OPS] = { 10, 45, 15, 30, 0 };

	config->aims |= AIM(BOUNCE);
	set_mix(config, mix);
	config->shape.encrypted = true;
	config->shape.data_apart = config->shape.data_raw = false;
	config->shape.packed_percent = 0;
	config->shape.prefill = PREFILL_ALL;
	config->shape.data_percent = 80;
	config->shape.gap_percent = 0;
	config->shape.hots = 1;
	config->shape.hot[0].clusters = min_u64(config->shape.hot[0].clusters, 6);
	config->buffers = 1;
	config->lanes = rng_range(rng, 3, MAX_LANES);
	config->slow_lane = 0;
	config->depth = rng_range(rng, 4, 16);
	config->reserve_bytes = UINT64_C(1) << config->shape.cluster_bits;
	config->races = true;
	config->small_percent = rng_range(rng, 50, 100);
	config->hot_percent = 100;
	config->turns = 2000;
	config->peek_one_in = 300;
	config->held = 0;
	config->early_percent = 0;
	config->kill_one_in = 0;
	config->aims &= ~AIM(KILLS);
	config->faults = (struct faults){ 0 };
}

/* The image breaks while many wait for room, and room for the few. */
static void draw_break(struct config *config, struct rng *rng)
{
	static const unsigned mixes[][TRAFFIC_OPS] = { { 10, 50, 20, 15, 5 },
						       { 10, 30, 10, 45, 5 },
						       { 20, 60, 5, 5, 10 } };

	config->aims |= AIM(BREAK);
	set_mix(config, mixes[rng_below(rng, ARRAY_SIZE(mixes))]);
	config->faults.sync = rng_range(rng, 20, 300);
	config->faults.error = rng_one_in(rng, 3) ? rng_range(rng, 1, 20) : 0;
	config->turns = rng_one_in(rng, 2) ? 100 : 400;
	config->shape.many_tables = false;
	config->shape.prefill = rng_one_in(rng, 2) ? PREFILL_ALL : config->shape.prefill;
	config->l2_cache_bytes = SECTOR_SIZE;
	config->reserve_bytes = UINT64_C(1) << config->shape.cluster_bits;
	config->depth = rng_range(rng, 4, 16);
	config->lanes = rng_range(rng, 2, MAX_LANES);
	config->small_percent = rng_below(rng, 100);
	config->hot_percent = rng_one_in(rng, 2) ? 30 : 95;
	config->fua_percent = rng_one_in(rng, 2) ? 30 : 0;
	config->held |= rng_one_in(rng, 2) ? 1u << IO_SYNC : 0;
	config->submit_weight = 60;
}

/* Durable writes in place, of which some are told of what others have lost, and it takes long until we know. */
static void draw_durable(struct config *config, struct rng *rng)
{
	static const unsigned mix[TRAFFIC_OPS] = { 5, 70, 25, 0, 0 };

	config->aims |= AIM(DURABLE);
	set_mix(config, mix);
	config->shape.snapshot = false;
	config->shape.packed_percent = 0;
	config->shape.prefill = PREFILL_ALL;
	config->shape.data_percent = 100;
	config->shape.hots = 1;
	config->shape.hot[0].clusters = min_u64(config->shape.hot[0].clusters, 6);
	config->hot_percent = 100;
	config->small_percent = rng_range(rng, 50, 100);
	config->fua_percent = rng_range(rng, 20, 80);
	config->lanes = rng_range(rng, 2, MAX_LANES);
	config->depth = rng_range(rng, 4, 16);
	config->held = rng_one_in(rng, 2) ? 1u << IO_WRITE : 0;
	config->early_percent = rng_range(rng, 40, 90);
	config->faults = (struct faults){ .sync = rng_range(rng, 10, 100) };
}

/* Enough new clusters to outgrow the refcount table, and trouble on the way. */
static void draw_growth(struct config *config, struct rng *rng)
{
	static const unsigned mix[TRAFFIC_OPS] = { 5, 70, 10, 10, 5 };

	config->aims |= AIM(GROWTH);
	set_mix(config, mix);
	config->turns = rng_one_in(rng, 2) ? 400 : 2000;
	config->small_percent = 20;
	config->hot_percent = 30;
	config->reserve_bytes = rng_one_in(rng, 2) ? 0 : config->reserve_bytes;
	config->peek_one_in = 300; /* there is much to count */
	config->shape.prefill = rng_one_in(rng, 2) ? PREFILL_EMPTY : PREFILL_RANDOM;
	config->shape.clusters += 100;
	config->shape.size_bytes += UINT64_C(100) << config->shape.cluster_bits;
	if (rng_one_in(rng, 3))
		config->faults.error = rng_range(rng, 5, 60);
}

/* Copies of what a snapshot shares, as many at a time as there may be. */
static void draw_copies(struct config *config, struct rng *rng)
{
	config->aims |= AIM(COPIES);
	config->shape.snapshot = config->shape.refcount_order > 0;
	config->shape.prefill = PREFILL_ALL;
	config->shape.data_percent = 100;
	config->depth = 16;
	config->lanes = rng_range(rng, 2, MAX_LANES);
	config->small_percent = 90;
	config->hot_percent = 30;
	config->held |= 1u << IO_READ | 1u << IO_WRITE;
	config->submit_weight = 60;
	config->by_slot = rng_one_in(rng, 2);
	config->faults.fetch = rng_one_in(rng, 2) ? rng_range(rng, 20, 400) : 0;
}

/* Few changes at a time of clusters that have subclusters of all kinds. */
static void draw_subclusters(struct config *config, struct rng *rng)
{
	static const unsigned mixes[][TRAFFIC_OPS] = { { 10, 60, 20, 3, 7 },
						       { 10, 30, 20, 0, 40 } };

	set_mix(config, mixes[rng_below(rng, 2)]);
	config->shape.refcount_order = rng_range(rng, 1, 6);
	config->shape.encrypted = config->shape.data_apart = config->shape.data_raw = false;
	config->shape.snapshot = !config->shape.layers;
	config->shape.prefill = PREFILL_ALL;
	config->shape.data_percent = config->shape.snapshot ? 90 : 0;
	config->shape.packed_percent /= 4;
	config->depth = rng_range(rng, 1, 3);
	/* Of a large disk only the hot regions are filled: see shape_limit(). */
	config->hot_percent = 100;
	config->small_percent = 90;
	/* As many flushes as changes: what one of them owes is not paid by another. */
	config->fua_percent = rng_one_in(rng, 2) ? 0 : 90;
	config->peek_one_in = 8;
	config->faults = (struct faults){ 0 };
}

/* Entries that change from cluster to cluster, while others are in the middle of looking at them. */
static void draw_torn(struct config *config, struct rng *rng)
{
	static const unsigned mix[TRAFFIC_OPS] = { 40, 30, 2, 26, 2 };

	set_mix(config, mix);
	config->torn_percent = rng_range(rng, 20, 60);
	config->lanes = rng_range(rng, 2, MAX_LANES);
	config->depth = rng_range(rng, 4, 16);
	config->l2_cache_bytes = 0;
	config->races = true;
	config->hot_percent = 100;
	config->small_percent = 90;
	config->peek_one_in = 300;
	config->held = 0;
	config->faults = (struct faults){ 0 };
}

struct config config_draw(struct rng *rng)
{
	struct config config = { .shape = shape_draw(rng) };

	draw_engine(&config, rng);
	draw_guest(&config, rng);
	draw_host(&config, rng);
	draw_scheduler(&config, rng);
	draw_kills(&config, rng);
	if (config.shape.many_tables)
		config.hot_percent = rng_below(rng, 60);
	if (config.shape.stuffed)
		draw_growth(&config, rng);
	if (rng_one_in(rng, 2))
		config.torn_percent = rng_range(rng, 1, 40);
	if (config.shape.extended && !rng_one_in(rng, 3))
		draw_subclusters(&config, rng);
	else if (config.shape.extended && rng_one_in(rng, 2))
		draw_torn(&config, rng);
	switch (config.shape.stuffed ? UINT32_MAX : rng_below(rng, 48)) {
	case 0 ... 2:
		draw_churn(&config, rng);
		break;
	case 3 ... 5:
		draw_reuse(&config, rng);
		break;
	case 6 ... 7:
		draw_copies(&config, rng);
		break;
	case 8 ... 12:
		draw_break(&config, rng);
		break;
	case 13:
		draw_bounce(&config, rng);
		break;
	case 14:
		draw_durable(&config, rng);
		break;
	}
	shape_limit(&config.shape);
	/* Only bytes in memory can be encrypted. */
	config.by_slot &= !shape_has_keys(&config.shape);
	return config;
}

/* Nothing else goes wrong, so that what must happen then can be asked for. */
void config_corrupts(struct config *config)
{
	config->corrupts = true;
	config->aims = (config->aims & ~AIM(KILLS)) | AIM(CORRUPT);
	config->kill_one_in = 0;
	config->faults = (struct faults){ .no_punch = config->faults.no_punch,
					  .ahead = config->faults.ahead,
					  .no_ahead = config->faults.no_ahead };
}

uint32_t config_aim(const char *name)
{
	for (unsigned i = 0; i < AIMS; i++)
		if (strcmp(name, aim_names[i]) == 0)
			return 1u << i;
	return 0;
}

void config_print(const struct config *config)
{
	char text[512];

	shape_describe(&config->shape, text, sizeof(text));
	fprintf(stderr, "%s\n", text);
	fprintf(stderr,
		"engine: lanes %u depth %u l2_cache %llu reserve %llu bounce %u%s align %u%s%s\n",
		config->lanes, config->depth, (unsigned long long)config->l2_cache_bytes,
		(unsigned long long)config->reserve_bytes, config->buffers,
		config->by_slot ? " by_slot" : "", config->align,
		config->page_cache ? " page_cache" : "", config->no_dsync ? " no_dsync" : "");
	fprintf(stderr,
		"guest: read %u write %u flush %u discard %u zeroes %u fua %u%% small %u%%%s%s\n",
		config->op_weight[TRAFFIC_READ], config->op_weight[TRAFFIC_WRITE],
		config->op_weight[TRAFFIC_FLUSH], config->op_weight[TRAFFIC_DISCARD],
		config->op_weight[TRAFFIC_ZEROES], config->fua_percent, config->small_percent,
		config->races ? " races" : "", config->service_submits ? " service_submits" : "");
	fprintf(stderr,
		"host: again %u shortened %u error %u no_space %u sync %u fetch %u ahead %u per mille%s%s "
		"early %u%% held %#x\n",
		config->faults.again, config->faults.shortened, config->faults.error,
		config->faults.no_space, config->faults.sync, config->faults.fetch,
		config->faults.ahead, config->faults.no_punch ? " no_punch" : "",
		config->faults.no_ahead ? " no_ahead" : "", config->early_percent, config->held);
	fprintf(stderr,
		"scheduler: lives %u turns %u weights %u/%u/%u slow_lane %d torn %u%% kills %s %u/%u\n",
		config->lives, config->turns, config->step_weight, config->complete_weight,
		config->submit_weight, config->slow_lane < MAX_LANES ? (int)config->slow_lane : -1,
		config->torn_percent,
		config->caches_change ? "other caches" :
		config->handover      ? "handover" :
					"plain",
		config->kill_one_in, config->kill_points);
}
