/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One failure at every place of an open: each allocation, and each call of the host, fails once, of a
 * new life and of one that goes on after a kill.  The open fails with that error and a sentence, gives
 * back what it had, and has changed nothing: the next one finds all as it was.
 */
#include "histories.h"
#include "memory.h"
#include "report.h"
#include "stage.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

enum failure { NO_MEMORY, HOST_ERROR, FAILURES };

static struct stage stage;

static struct {
	unsigned kind; /* of image */
	enum failure failure;
	uint64_t nth;
	uint64_t failures; /* ever */
} now;

static void arm(uint64_t nth)
{
	engine_memory = (struct engine_memory){ .mapped = engine_memory.mapped };
	stage.host.open_strike = (struct open_strike){ 0 };
	now.nth = nth;
	if (now.failure == NO_MEMORY)
		engine_memory.nth = nth;
	else
		stage.host.open_strike.nth = nth;
}

static bool has_struck(void)
{
	return engine_memory.failed || stage.host.open_strike.name;
}

static void check_failed(int err, const struct why *why)
{
	int expected = now.failure == NO_MEMORY ? -ENOMEM : -EIO;

	if (err != expected)
		sim_fail("the open ends with %d, not %d", err, expected);
	if (!why->text[0])
		sim_fail("the open has failed without a word");
	now.failures++;
}

/* An open in which this goes wrong; false when it has no such place any more. */
static bool try_one(uint64_t nth)
{
	uint64_t mapped = engine_memory.mapped;
	struct why why = { "" };
	bool struck;
	int err;

	arm(nth);
	err = stage_try(&stage, &why);
	struck = has_struck();
	arm(0);
	if (!struck && err)
		sim_fail("image_open: %d: %s", err, why.text);
	if (struck)
		check_failed(err, &why);
	else
		stage_free(&stage);
	if (struck && engine_memory.mapped != mapped)
		sim_fail("%" PRIu64 " bytes were mapped before the open, and are %" PRIu64, mapped,
			 engine_memory.mapped);
	return struck;
}

static void try_all(bool read_only)
{
	stage.read_only = stage.host.read_only = read_only;
	for (unsigned i = 0; i < FAILURES; i++) {
		struct estate_memory before = estate_copy(&stage.estate);

		now.failure = (enum failure)i;
		for (uint64_t nth = 1; try_one(nth); nth++)
			;
		/* It was taken by the open that went well. */
		estate_put(&stage.estate, before);
	}
	stage.read_only = stage.host.read_only = false;
}

/* Something of all that a process may leave behind. */
static void work(void)
{
	uint64_t cluster = UINT64_C(1) << stage.config.shape.cluster_bits;

	stage_ask(&stage, REQ_WRITE, 0, 0, cluster + SECTOR_SIZE);
	stage_ask(&stage, REQ_FLUSH, 0, 0, 0);
	stage_ask(&stage, REQ_DISCARD, 0, 0, cluster);
	stage_ask(&stage, REQ_WRITE, 0, 2 * cluster, SECTOR_SIZE);
	must(traffic_request(&stage.traffic, 0, REQ_WRITE, 0, 3 * cluster, SECTOR_SIZE));
	must(traffic_request(&stage.traffic, 1, REQ_FLUSH, 0, 0, 0));
	for (unsigned i = 0; i < 20; i++)
		stage_turn(&stage, i % HISTORY_LANES);
}

static void go_on(void)
{
	stage_go_on(&stage);
	traffic_go_on(&stage.traffic, stage.image);
	stage_drain(&stage);
	stage_read_back(&stage);
	stage_close(&stage);
	model_closed(&stage.model);
	model_life_over(&stage.model);
	stage_free(&stage);
	stage_look(&stage, BYTES_VISIBLE, LOOK_DURABLE, "after a clean close");
}

static void try_kind(unsigned kind)
{
	struct history history = history_decode(kind, 1);

	now.kind = kind;
	stage.rng.state = 1;
	stage.config = history_config(&history);
	stage.config.handover = true;
	stage_make(&stage);
	stage_look(&stage, BYTES_VISIBLE, LOOK_DURABLE, "as made");
	try_all(true);
	try_all(false);
	stage_open(&stage, false);
	work();
	stage_kill(&stage);
	try_all(false);
	go_on();
}

static void report(void)
{
	const char *name = stage.host.open_strike.name;

	fprintf(stderr, "image %u, %s %" PRIu64 " of an open fails", now.kind,
		now.failure == NO_MEMORY ? "allocation" : "call of the host", now.nth);
	if (name)
		fprintf(stderr, " (%s)", name);
	fputc('\n', stderr);
}

int main(void)
{
	/* What the engine says about failures is no news. */
	log_threshold = LOG_ERROR;
	stage_report = report;
	stage_init(&stage);
	for (unsigned kind = 0; kind < history_kinds(); kind++)
		try_kind(kind);
	printf("%u kinds of images, %" PRIu64 " failures\n", history_kinds(), now.failures);
	fflush(stdout);
	/* LeakSanitizer does not look where the pages of files are listed. */
	_exit(0);
}
