/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * All short histories: every sequence of a few small requests, on images of several kinds, with a
 * look after every host I/O at every subset of the writes that no sync covers.
 */
#include "report.h"
#include "stage.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_LENGTH 4u
#define LANES 3u /* two for requests */

/* One request; in clusters and sectors of the first clusters of the disk. */
struct letter {
	const char *name;
	enum req_op op;
	unsigned flags;
	unsigned first_cluster;
	unsigned first_sector; /* within it */
	unsigned sectors; /* 0: two clusters */
};

static const struct letter alphabet[] = {
	{ "write", REQ_WRITE, 0, 0, 0, 1 },
	{ "write-next", REQ_WRITE, 0, 1, 0, 1 },
	{ "write-both", REQ_WRITE, 0, 0, 0, 0 },
	{ "write-fua", REQ_WRITE, REQ_FUA, 0, 0, 1 },
	{ "zero-both", REQ_WRITE_ZEROES, 0, 0, 0, 0 },
	{ "zero-fua", REQ_WRITE_ZEROES, REQ_FUA | REQ_NOUNMAP, 0, 0, 1 },
	{ "discard", REQ_DISCARD, 0, 0, 0, 0 },
	{ "write-across", REQ_WRITE, 0, 0, 1, 2 }, /* the border of subclusters */
	{ "zero-first", REQ_WRITE_ZEROES, 0, 0, 0, 2 }, /* one of them */
	{ "flush", REQ_FLUSH, 0, 0, 0, 0 },
};

/* Which io completes first. */
enum order { OLDEST_FIRST, NEWEST_FIRST, SYNCS_LAST, ORDERS };

static const struct shape shapes[] = {
	{ .cluster_bits = 9, .version = 3, .refcount_order = 4, .prefill = PREFILL_EMPTY },
	{ .cluster_bits = 9,
	  .version = 3,
	  .refcount_order = 6,
	  .prefill = PREFILL_EMPTY,
	  .stuffed = true },
	{ .cluster_bits = 10,
	  .version = 3,
	  .refcount_order = 4,
	  .prefill = PREFILL_ALL,
	  .data_percent = 100,
	  .gap_percent = 50 },
	{ .cluster_bits = 10,
	  .version = 3,
	  .refcount_order = 1,
	  .prefill = PREFILL_ALL,
	  .data_percent = 100,
	  .snapshot = true,
	  .gap_percent = 50 },
	{ .cluster_bits = 9,
	  .version = 3,
	  .refcount_order = 0,
	  .prefill = PREFILL_ALL,
	  .data_percent = 0,
	  .gap_percent = 50 },
	{ .cluster_bits = 10,
	  .version = 2,
	  .refcount_order = 4,
	  .prefill = PREFILL_ALL,
	  .data_percent = 50,
	  .early_refcounts = true },
	{ .cluster_bits = 10,
	  .version = 3,
	  .refcount_order = 4,
	  .prefill = PREFILL_RANDOM,
	  .data_percent = 20,
	  .layers = 1,
	  .layer = { { .raw = true, .cluster_bits = 9, .size_bytes = 2700 } } },
	{ .cluster_bits = 10,
	  .version = 3,
	  .refcount_order = 4,
	  .prefill = PREFILL_ALL,
	  .data_percent = 100,
	  .packed_percent = 100,
	  .layers = 1,
	  .layer = { { .cluster_bits = 9,
		       .version = 2,
		       .size_bytes = 3072,
		       .packed_percent = 50 } } },
	{ .cluster_bits = 10,
	  .version = 3,
	  .refcount_order = 4,
	  .prefill = PREFILL_RANDOM,
	  .data_percent = 40,
	  .data_apart = true,
	  .layers = 1,
	  .layer = { { .raw = true, .cluster_bits = 9, .size_bytes = 2700 } } },
	{ .cluster_bits = 10,
	  .version = 3,
	  .refcount_order = 4,
	  .prefill = PREFILL_ALL,
	  .data_percent = 50,
	  .data_apart = true,
	  .data_raw = true },
	{ .cluster_bits = 10,
	  .version = 3,
	  .refcount_order = 4,
	  .prefill = PREFILL_RANDOM,
	  .data_percent = 40,
	  .encrypted = true,
	  .layers = 1,
	  .layer = { { .raw = true, .cluster_bits = 9, .size_bytes = 2700 } } },
	{ .cluster_bits = 15,
	  .version = 3,
	  .extended = true,
	  .refcount_order = 4,
	  .prefill = PREFILL_ALL,
	  .data_percent = 0,
	  .layers = 1,
	  .layer = { { .raw = true, .cluster_bits = 15, .size_bytes = 90000 } } },
	{ .cluster_bits = 15,
	  .version = 3,
	  .extended = true,
	  .refcount_order = 4,
	  .prefill = PREFILL_ALL,
	  .data_percent = 80,
	  .snapshot = true },
};

struct history {
	unsigned shape;
	enum order order;
	unsigned length;
	unsigned letter[MAX_LENGTH];
	bool waits[MAX_LENGTH]; /* for all before it */
};

static struct stage stage;
static struct history history;
static unsigned max_subsets_log = 7;
static uint64_t looks;

static void describe(void)
{
	static const char *const orders[] = { "oldest first", "newest first", "syncs last" };

	fprintf(stderr, "history: shape %u, %s:", history.shape, orders[history.order]);
	for (unsigned i = 0; i < history.length; i++)
		fprintf(stderr, "%s%s",
			i == 0		 ? " " :
			history.waits[i] ? ", then " :
					   " with ",
			alphabet[history.letter[i]].name);
	fputc('\n', stderr);
}

/* --- looking ------------------------------------------------------------------------------------ */

/* With many writes: none, all, only the Nth, all but the Nth. */
static uint64_t some_subset(uint32_t ops, uint64_t i)
{
	uint64_t all = ops < 64 ? (UINT64_C(1) << ops) - 1 : UINT64_MAX;
	uint64_t one = UINT64_C(1) << (i / 2 % ops);

	return i & 1 ? all & ~one : one;
}

static void look_at_all(void)
{
	struct disk *disk = &stage.host.disk, *data = &stage.host.data;
	uint32_t before = disk->ops, data_before = data->ops, ops;
	uint64_t subsets;

	host_append_flying(&stage.host);
	/* The image's operations are the lower bits. */
	ops = disk->ops + data->ops;
	subsets = ops <= max_subsets_log ? UINT64_C(1) << ops : 2 * (uint64_t)ops;
	for (uint64_t i = 0; i < subsets; i++) {
		uint64_t subset = ops <= max_subsets_log ? i : some_subset(ops, i);

		disk_peek_subset(disk, subset);
		disk_peek_subset(data, disk->ops < 64 ? subset >> disk->ops : 0);
		stage_look(&stage, BYTES_DURABLE, LOOK_ONLY, "if the power failed now");
		disk_peek_end(data, data->ops);
		disk_peek_end(disk, disk->ops);
		looks++;
	}
	/* What was appended goes. */
	disk_peek_subset(disk, 0);
	disk_peek_end(disk, before);
	disk_peek_subset(data, 0);
	disk_peek_end(data, data_before);
}

/* --- playing ------------------------------------------------------------------------------------- */

static bool is_late(const struct flight *flight)
{
	return flight->io->op == IO_TIMER ||
	       (history.order == SYNCS_LAST && flight->io->op == IO_SYNC);
}

static unsigned choose(void)
{
	const struct sim_host *host = &stage.host;
	unsigned choice = history.order == NEWEST_FIRST ? host->flights - 1 : 0;

	for (unsigned i = 0; i < host->flights && is_late(&host->flight[choice]); i++)
		choice = (choice + 1) % host->flights;
	return choice;
}

/* Every lane runs until it sleeps; then one io completes.  False when there is none. */
static bool move(void)
{
	bool moved = true;

	while (moved) {
		moved = false;
		for (unsigned i = 0; i < LANES; i++)
			moved |= stage_turn(&stage, i);
	}
	if (stage.host.flights == stage.host.timers)
		return false;
	look_at_all();
	host_complete(&stage.host, choose());
	return true;
}

static void play_letter(const struct letter *letter, unsigned lane)
{
	uint64_t cluster = UINT64_C(1) << stage.config.shape.cluster_bits;
	uint64_t guest = letter->first_cluster * cluster + letter->first_sector * SECTOR_SIZE;
	uint64_t len = letter->sectors ? letter->sectors * SECTOR_SIZE : 2 * cluster;

	if (letter->op == REQ_FLUSH)
		guest = len = 0;
	must(traffic_request(&stage.traffic, lane, letter->op, letter->flags, guest, len));
}

static void play(uint64_t seed)
{
	stage.rng.state = seed;
	stage_make(&stage);
	stage_look(&stage, BYTES_VISIBLE, LOOK_DURABLE, "as made");
	stage_open(&stage, false);
	for (unsigned i = 0; i < history.length; i++) {
		while (history.waits[i] && move())
			;
		play_letter(&alphabet[history.letter[i]], i % (LANES - 1));
	}
	while (move())
		;
	stage_drain(&stage);
	look_at_all();
	stage_close(&stage);
	model_closed(&stage.model);
	look_at_all();
	model_life_over(&stage.model);
	stage_free(&stage);
}

/* --- all of them ------------------------------------------------------------------------------------ */

static void set_config(unsigned shape)
{
	stage.config = (struct config){
		.shape = shapes[shape],
		.lanes = LANES,
		.depth = MAX_LENGTH,
		.l2_cache_bytes = SECTOR_SIZE,
		.reserve_bytes = UINT64_C(2) << shapes[shape].cluster_bits,
		.align = 1,
	};
	stage.config.shape.clusters = 4;
	stage.config.shape.size_bytes = UINT64_C(4) << shapes[shape].cluster_bits;
	stage.config.shape.hots = 1;
	stage.config.shape.hot[0] = (struct region){ 0, 4 };
}

/* The history with this number; false behind the last. */
static bool decode(uint64_t number, unsigned length)
{
	history.length = length;
	history.shape = (unsigned)(number % ARRAY_SIZE(shapes));
	number /= ARRAY_SIZE(shapes);
	history.order = (enum order)(number % ORDERS);
	number /= ORDERS;
	for (unsigned i = 0; i < length; i++) {
		history.letter[i] = (unsigned)(number % ARRAY_SIZE(alphabet));
		number /= ARRAY_SIZE(alphabet);
		history.waits[i] = i && number % 2;
		number /= i ? 2 : 1;
	}
	return number == 0;
}

/* Every @jobs-th of all histories of @length. */
static uint64_t play_share(unsigned length, unsigned share, unsigned jobs)
{
	uint64_t played = 0;

	stage_init(&stage);
	for (uint64_t number = share; decode(number, length); number += jobs) {
		set_config(history.shape);
		play(1);
		played++;
	}
	return played;
}

static int run(unsigned length, unsigned jobs)
{
	int failed = 0, status;

	for (unsigned i = 0; i < jobs; i++) {
		fflush(stdout);
		if (fork() == 0) {
			uint64_t played = play_share(length, i, jobs);

			printf("%" PRIu64 " histories of %u requests, %" PRIu64
			       " states of the disk: nothing found\n",
			       played, length, looks);
			fflush(stdout);
			_exit(0);
		}
	}
	while (wait(&status) > 0)
		failed |= status;
	return failed ? 1 : 0;
}

static void usage(void)
{
	fprintf(stderr,
		"usage: exhaustive [--length N] [--subsets N] [--jobs N]\n"
		"  --length N   requests of a history, 1 to %u (2)\n"
		"  --subsets N  all subsets of up to so many writes (7)\n"
		"  --jobs N     processes (as many as there are processors)\n",
		MAX_LENGTH);
	exit(2);
}

static void report(void)
{
	describe();
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "length", required_argument, NULL, 'l' },
		{ "subsets", required_argument, NULL, 's' },
		{ "jobs", required_argument, NULL, 'j' },
		{ 0 },
	};
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned length = 2, jobs = processors > 0 ? (unsigned)processors : 1;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		unsigned number = optarg ? (unsigned)strtoul(optarg, NULL, 0) : 0;

		if (option == 'l')
			length = number;
		else if (option == 's')
			max_subsets_log = number;
		else if (option == 'j')
			jobs = number;
		else
			usage();
	}
	if (optind < argc || length < 1 || length > MAX_LENGTH || jobs < 1 || max_subsets_log > 20)
		usage();
	stage_report = report;
	return run(length, jobs);
}
