/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which image, guest and host bring the engine to a barrier that few lives pass? */
#include "narrow.h"

#define CLUSTER UINT64_C(512)
#define TABLE (CLUSTER / 8) /* entries */

/* Small clusters, nothing that is not asked for, and a host that is well. */
static void plain(struct config *config, uint64_t clusters)
{
	uint32_t align = config->align;

	*config = (struct config){
		.shape = {
			.cluster_bits = 9,
			.version = 3,
			.refcount_order = 4,
			.clusters = clusters,
			.size_bytes = clusters * CLUSTER,
			.hot[0].clusters = min_u64(clusters, 8),
			.hots = 1,
			.data_percent = 100,
		},
		.lanes = 3,
		.depth = 8,
		.reserve_bytes = CLUSTER,
		.small_percent = 50,
		.races = true,
		.align = align,
		.lives = 4,
		.turns = 400,
		.step_weight = 60,
		.complete_weight = 40,
		.submit_weight = 40,
		.slow_lane = MAX_LANES,
		.peek_one_in = 100,
	};
}

static void guest(struct config *config, unsigned reads, unsigned writes, unsigned flushes,
		  unsigned discards)
{
	config->op_weight[TRAFFIC_READ] = reads;
	config->op_weight[TRAFFIC_WRITE] = writes;
	config->op_weight[TRAFFIC_FLUSH] = flushes;
	config->op_weight[TRAFFIC_DISCARD] = discards;
}

static void kills(struct config *config, unsigned one_in)
{
	config->handover = true;
	config->kill_one_in = one_in;
	config->kill_points = 5000;
	config->aims |= 1u << AIM_KILLS;
}

/* --- the refcounts -------------------------------------------------------------------------------- */

/* New refcount blocks all the time: each has refcounts of 64 clusters. */
static void many_blocks(struct config *config, struct rng *rng)
{
	plain(config, 600);
	config->shape.refcount_order = 6;
	guest(config, 5, 70, 25, 0);
	config->hot_percent = 10;
	config->depth = rng_range(rng, 4, 8);
	config->reserve_bytes = CLUSTER * rng_range(rng, 1, 8);
	config->early_percent = rng_one_in(rng, 2) ? 50 : 0;
	config->held = 1u << IO_SYNC;
}

/* And a larger refcount table. */
static void larger_table(struct config *config, struct rng *rng)
{
	many_blocks(config, rng);
	config->shape.stuffed = true;
}

/* ... on a device full of noise, with clusters so large that a block has refcounts which nobody needs yet. */
static void larger_table_on_device(struct config *config, struct rng *rng)
{
	struct shape *shape = &config->shape;

	plain(config, 200);
	shape->cluster_bits = 13;
	shape->refcount_order = 6;
	shape->size_bytes = UINT64_C(200) << 13;
	shape->stuffed = shape->device = shape->full_host = true;
	shape->slack_clusters = rng_range(rng, 20, 200);
	guest(config, 0, 80, 20, 0);
	config->lives = 2;
	config->turns = 200;
	config->peek_one_in = 1000; /* there is much to count */
}

/* ... after which nothing is synced, and what is not needed any more goes at once. */
static void no_space_then(struct config *config, struct rng *rng)
{
	larger_table(config, rng);
	guest(config, 5, 95, 0, 0);
	config->faults.no_space = rng_range(rng, 100, 500);
	config->faults.error = rng_one_in(rng, 2) ? rng_range(rng, 5, 60) : 0;
	config->peek_one_in = 20;
}

/* ... while others sync, too. */
static void lost_header(struct config *config, struct rng *rng)
{
	no_space_then(config, rng);
	guest(config, 0, 60, 40, 0);
	config->faults.no_space = rng_range(rng, 50, 300);
	config->faults.error = 0;
	config->lanes = rng_range(rng, 3, MAX_LANES);
	config->early_percent = 0;
}

/* ... whose place the file may have, and nobody asks for more before it closes. */
static void lost_table(struct config *config, struct rng *rng)
{
	larger_table(config, rng);
	config->lanes = 2;
	config->depth = 1;
}

/* More pieces of refcounts than are in memory, and all of them change. */
static void many_pieces(struct config *config, struct rng *rng)
{
	plain(config, 2600);
	config->shape.refcount_order = 6;
	config->shape.prefill = PREFILL_ALL;
	config->shape.data_percent = 2;
	guest(config, 0, 20, 20, 60);
	config->hot_percent = 0;
	config->small_percent = 60;
	config->peek_one_in = 300;
	config->early_percent = rng_below(rng, 100);
}

static void many_pieces_killed(struct config *config, struct rng *rng)
{
	many_pieces(config, rng);
	kills(config, 300);
}

/* What has gone to make room for another is wanted again at once, and nothing saves all of them. */
static void changing_pieces(struct config *config, struct rng *rng)
{
	many_pieces(config, rng);
	config->shape.data_percent = 100;
	guest(config, 0, 0, 15, 85);
	config->small_percent = 90;
	config->depth = 16;
	config->turns = 2000;
	config->submit_weight = 100;
}

static void undone(struct config *config, struct rng *rng)
{
	plain(config, 2 * TABLE);
	guest(config, 0, 90, 10, 0);
	config->reserve_bytes = 8 * CLUSTER;
	config->depth = 16;
	config->hot_percent = 10;
	config->faults.error = rng_range(rng, 50, 300);
}

/* Much stock, in pieces: of what is taken some is linked, and some put back. */
static void fragments(struct config *config, struct rng *rng)
{
	plain(config, 4000);
	guest(config, 0, 100, 0, 0);
	config->lanes = 1;
	config->depth = rng_range(rng, 2, 4);
	config->reserve_bytes = 2048 * CLUSTER;
	config->hot_percent = 0;
	config->small_percent = 100;
	config->races = false;
	config->turns = 12000;
	config->lives = 1;
	config->peek_one_in = 100000;
	config->faults.error = rng_range(rng, 100, 500);
}

/* Large writes from free space that is in pieces: a kill leaves more of them than a lane has room for. */
static void scattered_stock(struct config *config, struct rng *rng)
{
	plain(config, 1000);
	kills(config, 200);
	guest(config, 0, 100, 5, 5);
	config->shape.prefill = PREFILL_ALL;
	config->shape.data_percent = 30;
	config->shape.gap_percent = 50;
	config->lanes = 1;
	config->reserve_bytes = 64 * CLUSTER;
	config->l2_cache_bytes = CLUSTER;
	config->hot_percent = 0;
	config->small_percent = 0;
	config->depth = rng_range(rng, 4, 16);
	config->lives = 2;
}

/* What is freed keeps its bytes, and is needed again for writes that fill less than a cluster. */
static void unpunched(struct config *config, struct rng *rng)
{
	plain(config, 100);
	config->shape.cluster_bits = 12;
	config->shape.size_bytes = UINT64_C(100) << 12;
	config->shape.prefill = PREFILL_ALL;
	guest(config, 20, 50, 10, 20);
	config->reserve_bytes = rng_range(rng, 4, 16) << 12;
	config->faults.no_space = rng_range(rng, 50, 300);
	config->lives = 1;
}

/* Many dirty slices, whose shards are others in the next cache. */
static void other_caches(struct config *config, struct rng *rng)
{
	plain(config, 40 * TABLE);
	kills(config, 400);
	config->kill_points = 0;
	config->caches_change = true;
	config->shape.prefill = PREFILL_ALL;
	guest(config, 0, 10, 0, 90);
	config->hot_percent = 0;
	config->reserve_bytes = 32 * CLUSTER;
	config->turns = 1000;
	config->submit_weight = 100;
	config->l2_cache_bytes = CLUSTER * rng_range(rng, 10, 15);
	config->held = 1u << IO_SYNC;
	config->lanes = MAX_LANES;
	config->depth = 16;
	config->small_percent = 90;
	config->peek_one_in = 1000;
}

/* --- syncs ---------------------------------------------------------------------------------------- */

/* Durable writes in place, each over others. */
static void durable_writes(struct config *config, struct rng *rng)
{
	plain(config, rng_range(rng, 2, 6));
	config->shape.prefill = PREFILL_ALL;
	guest(config, 0, 70, 30, 0);
	config->fua_percent = rng_range(rng, 40, 90);
	config->hot_percent = 100;
	config->depth = rng_range(rng, 8, 16);
	config->early_percent = 60;
	config->held = 1u << IO_SYNC;
}

/* What is lost comes to light: it hides what a layer below has. */
static void hiding(struct config *config, struct rng *rng)
{
	plain(config, 4 * TABLE);
	config->shape.layers = 1;
	config->shape.layer[0] = (struct layer){ .raw = true, .size_bytes = 4 * TABLE * CLUSTER };
	config->shape.hot[0].clusters = 3 * TABLE;
	guest(config, 0, 75, 25, 0);
	config->hot_percent = 100;
	config->depth = rng_range(rng, 4, 12);
	config->held = 1u << IO_SYNC;
	config->peek_one_in = 20;
}

static void killed_resizes(struct config *config, struct rng *rng)
{
	kills(config, 200);
	config->faults = (struct faults){ .sync = rng_range(rng, 50, 200) };
}

/* --- room ----------------------------------------------------------------------------------------- */

/* Tables that a snapshot shares, and few releases. */
static void shared_tables(struct config *config, struct rng *rng)
{
	plain(config, 12 * TABLE);
	config->shape.prefill = PREFILL_ALL;
	config->shape.snapshot = true;
	guest(config, 5, 80, 5, 10);
	config->hot_percent = 5;
	config->l2_cache_bytes = CLUSTER * rng_range(rng, 1, 2);
	config->depth = rng_range(rng, 2, 16);
	config->held = rng_one_in(rng, 2) ? 1u << IO_SYNC : 0;
}

static void many_tables(struct config *config, struct rng *rng)
{
	plain(config, 24 * TABLE);
	guest(config, 0, 100, 0, 0);
	config->depth = 16;
	config->lanes = rng_range(rng, 3, MAX_LANES);
	config->held = 1u << IO_WRITE | 1u << IO_SYNC | 1u << IO_TRUNCATE;
}

static void starving(struct config *config, struct rng *rng)
{
	plain(config, 6 * TABLE);
	guest(config, 40, 60, 0, 0);
	config->hot_percent = 5;
	config->l2_cache_bytes = CLUSTER;
	config->lanes = 2;
	config->depth = rng_range(rng, 1, 3);
	config->faults.error = rng_range(rng, 50, 200);
}

/* The host is full, and all slices are dirty, while others are read. */
static void full(struct config *config, struct rng *rng)
{
	starving(config, rng);
	config->shape.prefill = PREFILL_ALL;
	config->lanes = rng_range(rng, 2, MAX_LANES);
	config->faults = (struct faults){ .no_space = rng_range(rng, 100, 900) };
}

/* More reads than slices, each of another one. */
static void rivals(struct config *config, struct rng *rng)
{
	starving(config, rng);
	guest(config, 80, 20, 0, 0);
	config->shape.prefill = PREFILL_ALL;
	config->hot_percent = 0;
	config->lanes = MAX_LANES;
	config->depth = 16;
	config->small_percent = 100;
	config->submit_weight = 100;
	config->faults = (struct faults){ 0 };
}

/* It breaks while no flush runs that would say so to who waits for a slice. */
static void breaking(struct config *config, struct rng *rng)
{
	starving(config, rng);
	config->lanes = 3;
	config->depth = rng_range(rng, 2, 6);
	config->faults = (struct faults){ .sync = rng_range(rng, 50, 300) };
}

/* Durable writes and flushes, while the L1 table moves. */
static void gates(struct config *config, struct rng *rng)
{
	plain(config, 2 * TABLE);
	config->shape.prefill = PREFILL_ALL;
	guest(config, 0, 50, 40, 10);
	config->fua_percent = 60;
	config->hot_percent = 100;
	config->lanes = MAX_LANES;
	config->depth = rng_range(rng, 4, 8);
	config->early_percent = rng_below(rng, 100);
	config->turns = 1000;
}

/* The image closes soon after somebody has made so much dirty that a flush is begun for it. */
static void unasked(struct config *config, struct rng *rng)
{
	plain(config, 8 * TABLE);
	guest(config, 0, 100, 0, 0);
	config->hot_percent = 0;
	config->reserve_bytes = 8 * CLUSTER;
	config->l2_cache_bytes = CLUSTER * rng_range(rng, 2, 6);
	config->lanes = rng_range(rng, 2, MAX_LANES);
	config->slow_lane = rng_one_in(rng, 2) ? config->lanes - 1 : MAX_LANES;
	config->depth = rng_range(rng, 1, 4);
	config->turns = 200;
	config->faults.no_space = rng_one_in(rng, 2) ? 30 : 0;
}

/* --- looks ---------------------------------------------------------------------------------------- */

/* Hits that take long, of clusters that are used again soon. */
static void long_hits(struct config *config, struct rng *rng)
{
	static const enum io_op held[] = { IO_READ, IO_WRITE, IO_WRITE, IO_PUNCH };

	plain(config, rng_range(rng, 12, 40));
	config->shape.prefill = PREFILL_ALL;
	guest(config, 25, 30, 25, 20);
	config->hot_percent = 95;
	config->depth = rng_range(rng, 4, 16);
	config->turns = 2000;
	config->step_weight = 100;
	config->complete_weight = 50;
	config->submit_weight = rng_range(rng, 10, 50);
	config->held = 1u << held[rng_below(rng, ARRAY_SIZE(held))];
}

/* Hits that take long, in the last cluster of a disk that becomes smaller by a part of it. */
static void hits_at_the_end(struct config *config, struct rng *rng)
{
	plain(config, rng_range(rng, 4, 12));
	config->shape.cluster_bits = 14;
	config->shape.size_bytes = config->shape.clusters << 14;
	config->shape.prefill = PREFILL_ALL;
	guest(config, 60, 35, 5, 0);
	config->hot_percent = 95;
	config->small_percent = 100;
	config->depth = rng_range(rng, 2, 8);
	config->submit_weight = rng_range(rng, 5, 40);
	config->held = 1u << IO_READ;
}

/* Of several clusters, so that they are no hits; a flush would wait for durable ones before it drops anything. */
static void long_writes(struct config *config, struct rng *rng)
{
	long_hits(config, rng);
	config->small_percent = 0;
	config->held = 1u << IO_WRITE;
}

static void long_loads(struct config *config, struct rng *rng)
{
	long_hits(config, rng);
	guest(config, 40, 25, 15, 20);
	config->shape.packed_percent = 100;
	config->held = 1u << IO_READ;
}

/* Extended entries in slices that replace each other while they are looked at. */
static void torn_looks(struct config *config, struct rng *rng)
{
	struct shape *shape = &config->shape;

	plain(config, 600);
	shape->cluster_bits = 14;
	shape->extended = true;
	shape->size_bytes = UINT64_C(600) << 14;
	shape->prefill = PREFILL_RANDOM;
	shape->hots = 3;
	for (unsigned i = 0; i < 3; i++)
		shape->hot[i] = (struct region){ 260 * i, 6 };
	guest(config, 70, 20, 5, 5);
	config->hot_percent = 100;
	config->small_percent = 90;
	config->l2_cache_bytes = 4096 * rng_range(rng, 1, 2);
	config->reserve_bytes = 0;
	config->torn_percent = rng_range(rng, 20, 80);
	config->peek_one_in = 300;
}

/* Zeros over clusters of a raw data file of which some subclusters are zeros, and some are not. */
static void raw_subclusters(struct config *config, struct rng *rng)
{
	struct shape *shape = &config->shape;

	plain(config, 20);
	shape->cluster_bits = 14;
	shape->extended = true;
	shape->size_bytes = UINT64_C(20) << 14;
	shape->data_apart = true;
	shape->data_raw = true;
	shape->prefill = PREFILL_ALL;
	shape->data_percent = 20;
	guest(config, 30, 20, 10, 0);
	config->op_weight[TRAFFIC_ZEROES] = 40;
	config->depth = rng_range(rng, 1, 4);
}

/* Writes into subclusters that are new, beside such as go into those that are there. */
static void neighbours(struct config *config, struct rng *rng)
{
	plain(config, 4);
	config->shape.cluster_bits = 16;
	config->shape.extended = true;
	config->shape.size_bytes = UINT64_C(4) << 16;
	config->shape.prefill = PREFILL_RANDOM;
	guest(config, 5, 65, 5, 25);
	config->hot_percent = 100;
	config->small_percent = 100;
	config->depth = 16;
	config->reserve_bytes = 0;
	config->held = 1u << IO_WRITE;
	config->early_percent = rng_below(rng, 100);
}

/* Copies of what a snapshot shares, around bytes that have to be fetched and cannot always be. */
static void fetches(struct config *config, struct rng *rng)
{
	struct shape *shape = &config->shape;

	plain(config, 64);
	shape->cluster_bits = 12;
	shape->size_bytes = UINT64_C(64) << 12;
	shape->prefill = PREFILL_ALL;
	shape->snapshot = true;
	guest(config, 20, 75, 5, 0);
	config->by_slot = true;
	config->small_percent = 90;
	config->hot_percent = 0;
	config->depth = rng_range(rng, 2, 16);
	config->faults.fetch = rng_range(rng, 20, 400);
}

/* --- which ---------------------------------------------------------------------------------------- */

static const struct way {
	const char *kind, *where; /* what its place begins with; NULL: any kind */
	void (*suit)(struct config *config, struct rng *rng);
} ways[] = {
	{ NULL, "grow/G_BLOCK", many_blocks },
	{ NULL, "grow/G_HEADER_BELIEVE", lost_header },
	{ "sync", "grow/G_HEADER", no_space_then },
	{ "edge", "grow/G_HEADER", no_space_then },
	{ "order", "grow/G_HEADER", lost_table },
	{ NULL, "grow/", larger_table },
	{ NULL, "refblock/piece_written", many_pieces_killed },
	{ "edge", "refblock/P_EVICT", changing_pieces },
	{ NULL, "reserve/reserve_put", undone },
	{ NULL, "write/W_BELIEVE", durable_writes },
	{ NULL, "flush/F_DATA_BELIEVE", hiding },
	{ NULL, "open/open_for_writing", killed_resizes },
	{ NULL, "table/T_PUBLISH", shared_tables },
	{ NULL, "flush/flush_changed_l1", shared_tables },
	{ NULL, "table/T_END", many_tables },
	{ NULL, "flush/settle", starving },
	{ NULL, "image/wake", breaking },
	{ NULL, "resize/", gates },
	{ "order", "alloc/A_HEADER", gates },
	{ "named", "COPY_OVER_DATA", neighbours },
	{ "named", "FETCH_UNCHECKED", fetches },
	{ NULL, "write/W_PLACE", fetches },
	{ NULL, "close/", unasked },
	{ NULL, "writeback/U_", unasked },
	{ "named", "CLOSE_EARLY", unasked },
	{ "named", "READS_NEED_ROOM", full },
	{ "order", "cache/slice_loaded", rivals },
	{ "law 7", "cache/slice_get", breaking },
	{ "named", "SHARDS_AS_ALONE", other_caches },
	{ "named", "RELEASES_AS_ALONE", scattered_stock },
	{ "named", "FAILED_PUNCH_IS_ZERO", unpunched },
	{ "named", "NEW_BLOCKS_FRESH", larger_table_on_device },
	{ "epoch", "hit/", long_hits },
	{ "epoch", "write/", long_writes },
	{ "epoch", "door/", hits_at_the_end },
	{ "named", "NO_UNPACK_EPOCH", long_loads },
	{ "named", "FRAGMENTS_STAY", fragments },
	{ "named", "SPLIT_BEFORE_LATER", raw_subclusters },
	{ "named", "RAW_DATA_STAYS", raw_subclusters },
	{ NULL, "cache/slice_replace", torn_looks },
};

bool narrow_draw(struct config *config, const char *kind, const char *where, uint64_t seed)
{
	struct rng rng = { .state = seed * UINT64_C(0xe7037ed1a0b428db) };

	for (unsigned i = 0; i < ARRAY_SIZE(ways); i++) {
		const struct way *way = &ways[i];

		if ((way->kind && strcmp(way->kind, kind) != 0) ||
		    strncmp(way->where, where, strlen(way->where)) != 0)
			continue;
		way->suit(config, &rng);
		return true;
	}
	return false;
}
