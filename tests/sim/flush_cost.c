/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a flush costs: how often it syncs the image, by what has changed before; and flushes that come
 * at once share that.  And what it costs to have clusters in stock, with refcounts that are durable.
 */
#include "report.h"
#include "stage.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#define LANES 3u /* two for requests */
#define DEPTH 8u
#define CLUSTER UINT64_C(4096)
#define BLOCK_CLUSTERS (CLUSTER / 8) /* that a refcount block counts */
#define REFILL_CLUSTERS UINT64_C(40) /* written at once */

enum make { EMPTY, FULL, BACKED, PACKED, DEVICE, DATA_FILE, CACHED, FORGETFUL, MAKES };

static const struct shape shapes[MAKES] = {
	[EMPTY] = { .prefill = PREFILL_EMPTY },
	[FULL] = { .prefill = PREFILL_ALL, .data_percent = 100 },
	[BACKED] = { .prefill = PREFILL_EMPTY,
		     .layers = 1,
		     .layer = { { .raw = true, .cluster_bits = 9, .size_bytes = 8 * CLUSTER } } },
	[PACKED] = { .prefill = PREFILL_ALL, .data_percent = 100, .packed_percent = 100 },
	[DEVICE] = { .prefill = PREFILL_EMPTY, .device = true, .slack_clusters = 500 },
	[DATA_FILE] = { .prefill = PREFILL_EMPTY, .data_apart = true },
	[CACHED] = { .prefill = PREFILL_ALL, .data_percent = 100 },
	[FORGETFUL] = { .prefill = PREFILL_ALL, .data_percent = 100 },
};

/* A change, then a flush. */
struct cost {
	const char *what;
	enum make image;
	enum req_op op; /* REQ_FLUSH: nothing changes */
	uint64_t cluster; /* of the guest, of which the first sector is written */
	uint64_t image_syncs; /* that this flush does */
	uint64_t data_syncs;
	uint64_t guessed; /* image_syncs, when the change was expected to come alone */
};

static const struct cost costs[] = {
	{ "nothing", EMPTY, REQ_FLUSH, 0, 0, 0, 0 },
	{ "a write in place", FULL, REQ_WRITE, 0, 1, 0, 0 },
	{ "a cluster of zeros, now data where nothing was before", EMPTY, REQ_WRITE, 1, 1, 0, 0 },
	{ "the same, and its table is new", EMPTY, REQ_WRITE, 600, 1, 0, 1 },
	{ "the same, full of noise, where holes cannot be punched", DEVICE, REQ_WRITE, 1, 2, 0, 0 },
	{ "a cluster that was copied from a layer below", BACKED, REQ_WRITE, 1, 2, 0, 0 },
	{ "a cluster that was compressed", PACKED, REQ_WRITE, 1, 2, 0, 0 },
	{ "a cluster of zeros that was data", FULL, REQ_WRITE_ZEROES, 1, 0, 0, 0 },
	{ "a cluster that was discarded", FULL, REQ_DISCARD, 1, 0, 0, 0 },
	{ "nothing, through the page cache", CACHED, REQ_FLUSH, 0, 0, 0, 0 },
	{ "a write in place through the page cache", CACHED, REQ_WRITE, 0, 1, 0, 1 },
	{ "a cluster that was discarded, through the page cache", CACHED, REQ_DISCARD, 1, 1, 0, 1 },
	{ "nothing, where durable writes are not kept", FORGETFUL, REQ_FLUSH, 0, 0, 0, 0 },
	{ "a write in place where durable writes are not kept", FORGETFUL, REQ_WRITE, 0, 1, 0, 1 },
	{ "a cluster that was discarded there", FORGETFUL, REQ_DISCARD, 1, 1, 0, 1 },
	{ "nothing, and there is a data file", DATA_FILE, REQ_FLUSH, 0, 1, 1, 0 },
	{ "a cluster in a data file", DATA_FILE, REQ_WRITE, 1, 1, 1, 1 },
};

static struct stage stage;
static const struct cost *now;
static unsigned failed;

static void run_lanes(void)
{
	bool moved = true;

	while (moved) {
		moved = false;
		for (unsigned i = 0; i < LANES; i++)
			moved |= stage_turn(&stage, i);
	}
}

/* Everything that is under way ends, background jobs too; no time passes. */
static void settle(void)
{
	for (run_lanes(); host_complete_one(&stage.host, true); run_lanes())
		;
	must(stage.traffic.busy == 0);
}

static void wait_for_guest(void)
{
	for (run_lanes(); stage.traffic.busy; run_lanes())
		must(host_complete_one(&stage.host, true));
}

static uint64_t data_syncs(void)
{
	return stage.host.data_syncs;
}

static uint64_t image_syncs(void)
{
	return stage.host.queued[IO_SYNC] - stage.host.data_syncs;
}

static void ask(unsigned lane, enum req_op op, uint64_t cluster, uint64_t len)
{
	must(traffic_request(&stage.traffic, lane, op, 0, cluster * CLUSTER, len));
}

static void change(void)
{
	if (now->op == REQ_WRITE)
		ask(0, REQ_WRITE, now->cluster, SECTOR_SIZE);
	else if (now->op != REQ_FLUSH)
		ask(0, now->op, now->cluster, CLUSTER);
	settle();
}

/* What a life begins with is not what is asked about: stock, the first table. */
static void begin(void)
{
	stage.rng.state = 1;
	stage.config = (struct config){
		.shape = shapes[now->image],
		.lanes = LANES,
		.depth = DEPTH,
		.l2_cache_bytes = 64 * KIB,
		.reserve_bytes = 64 * CLUSTER,
		.align = 1,
		.page_cache = now->image == CACHED,
		.no_dsync = now->image == FORGETFUL,
		.faults.no_punch = now->image == DEVICE,
	};
	stage.config.shape.cluster_bits = 12;
	stage.config.shape.version = 3;
	stage.config.shape.refcount_order = 6;
	stage.config.shape.clusters = 1024;
	stage.config.shape.size_bytes = 1024 * CLUSTER;
	stage.config.shape.hots = 1;
	stage.config.shape.hot[0] = (struct region){ 0, 8 };
	stage_make(&stage);
	stage_look(&stage, BYTES_VISIBLE, LOOK_DURABLE, "as made");
	stage_open(&stage, false);
	for (unsigned lane = 0; lane < 2; lane++)
		ask(lane, REQ_WRITE, 4 + lane, SECTOR_SIZE);
	settle();
	ask(0, REQ_FLUSH, 0, 0);
	settle();
}

static void end(void)
{
	settle();
	stage_close(&stage);
	model_closed(&stage.model);
	model_life_over(&stage.model);
	stage_free(&stage);
}

static void compare(const char *how, uint64_t image, uint64_t data, uint64_t image_expected,
		    uint64_t data_expected)
{
	bool right = image == image_expected && data == data_expected;

	printf("%s: %" PRIu64 " of the image, %" PRIu64 " of the data file%s%s\n", now->what, image,
	       data, how, right ? "" : "  WRONG");
	failed += !right;
}

static void change_and_flush(const char *how, uint64_t image_expected, uint64_t data_expected)
{
	uint64_t image, data;

	change();
	image = image_syncs();
	data = data_syncs();
	ask(0, REQ_FLUSH, 0, 0);
	wait_for_guest();
	compare(how, image_syncs() - image, data_syncs() - data, image_expected, data_expected);
	end();
}

static void flush_once(void)
{
	begin();
	change_and_flush("", now->image_syncs, now->data_syncs);
}

/* The last write came alone before its flush, so this one is taken for alone, too (alone.h). */
static void flush_guessed(void)
{
	begin();
	ask(1, REQ_WRITE, 4, SECTOR_SIZE);
	settle();
	ask(1, REQ_FLUSH, 0, 0);
	settle();
	change_and_flush(", which was expected to come alone", now->guessed,
			 now->guessed ? now->data_syncs : 0);
}

/* The file is used from its beginning to its end. */
static uint64_t refcount_blocks(void)
{
	return div_round_up(stage.host.disk.visible.size, BLOCK_CLUSTERS * CLUSTER);
}

static bool sync_flies(void)
{
	for (unsigned i = 0; i < stage.host.flights; i++)
		if (stage.host.flight[i].io->op == IO_SYNC)
			return true;
	return false;
}

/*
 * One run begins at once, and a second one serves all the others: it finds that nothing has changed, but for
 * tables beside a data file, which the first one has written.
 */
static void flush_together(void)
{
	bool apart = now->image == DATA_FILE && now->op == REQ_WRITE;
	uint64_t image, data;

	begin();
	change();
	image = image_syncs();
	data = data_syncs();
	ask(0, REQ_FLUSH, 0, 0);
	for (run_lanes(); !sync_flies(); run_lanes())
		must(host_complete_one(&stage.host, true));
	for (unsigned i = 1; i < 2 * DEPTH; i++)
		ask(i % 2, REQ_FLUSH, 0, 0);
	wait_for_guest();
	compare(", and 15 more flushes for those of one without changes", image_syncs() - image,
		data_syncs() - data, now->image_syncs + apart, now->data_syncs + apart);
	end();
}

/* Of the allocator: one each time, and one more for each new refcount block. */
static void refill(void)
{
	static const struct cost writes = {
		"clusters of zeros that are data now", EMPTY, REQ_WRITE, 0, 0, 0, 0
	};
	struct image_stats stats;
	uint64_t syncs, refills, blocks;

	now = &writes;
	begin();
	stats = image_stats(stage.image);
	refills = stats.refills;
	syncs = image_syncs() - stats.syncs;
	blocks = refcount_blocks();
	for (uint64_t at = 8; at + REFILL_CLUSTERS <= stage.config.shape.clusters;
	     at += REFILL_CLUSTERS) {
		ask(0, REQ_WRITE, at, REFILL_CLUSTERS * CLUSTER);
		settle();
	}
	stats = image_stats(stage.image);
	refills = stats.refills - refills;
	syncs = image_syncs() - stats.syncs - syncs;
	blocks = refcount_blocks() - blocks;
	printf("%" PRIu64 " refills of the stock, %" PRIu64 " new refcount blocks: %" PRIu64
	       " of the image%s\n",
	       refills, blocks, syncs, syncs == refills + blocks ? "" : "  WRONG");
	must(refills > 0 && blocks > 0);
	failed += syncs != refills + blocks;
	end();
}

static void report(void)
{
	fprintf(stderr, "a flush after %s\n", now->what);
}

int main(void)
{
	stage_report = report;
	stage_init(&stage);
	for (unsigned i = 0; i < ARRAY_SIZE(costs); i++) {
		now = &costs[i];
		flush_once();
		flush_guessed();
		if (now->image_syncs)
			flush_together();
	}
	refill();
	fflush(stdout);
	/* LeakSanitizer does not look where the pages of files are listed. */
	_exit(failed ? 1 : 0);
}
