/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Playing histories. */
#include "play.h"

#include "digest.h"
#include "report.h"

#include <errno.h>
#include <inttypes.h>

/* The one at hand. */
static struct scene {
	struct stage *stage;
	struct play *play;
	struct cuts *cuts;
	struct verdict begun;
	bool closing; /* nothing may leak any more */
	unsigned turns; /* of all lanes */
} scene;

/* How many clusters may have a refcount too many if the power fails now. */
static uint64_t leak_bound(void)
{
	const struct image_stats stats = image_stats(scene.stage->image);

	if (scene.closing)
		return scene.begun.leaks;
	/* What was mapped may have been dropped, but not yet released. */
	return scene.begun.leaks + scene.begun.mapped + stats.clusters_allocated +
	       stats.clusters_released + HISTORY_LANES * 2 * 2 + 8;
}

static void look(const char *when)
{
	if (!scene.play->strike.kind || scene.stage->host.strike.struck)
		cuts_look(scene.cuts, scene.stage, leak_bound(), when);
}

/* --- moves ------------------------------------------------------------------------------------------ */

static bool is_late(const struct flight *flight)
{
	return flight->io->op == IO_TIMER ||
	       (scene.play->history.order == SYNCS_LAST && flight->io->op == IO_SYNC);
}

static unsigned choose(void)
{
	const struct sim_host *host = &scene.stage->host;
	unsigned choice = scene.play->history.order == NEWEST_FIRST ? host->flights - 1 : 0;

	for (unsigned i = 0; i < host->flights && is_late(&host->flight[choice]); i++)
		choice = (choice + 1) % host->flights;
	return choice;
}

#define MOST_TURNS 1000000u /* of a history: far more than any has needed */

/* Every lane runs until it sleeps; then one io completes.  False when there is none. */
static bool move(void)
{
	struct sim_host *host = &scene.stage->host;
	bool moved = true;

	while (moved) {
		if (scene.turns++ == MOST_TURNS)
			sim_fail("the engine does not come to rest");
		moved = false;
		for (unsigned i = 0; i < HISTORY_LANES; i++)
			moved |= stage_turn(scene.stage, i);
	}
	if (host->flights == host->timers)
		return false;
	look("if the power failed now");
	host_complete(host, choose());
	return true;
}

static void play_letter(const struct letter *letter, unsigned lane)
{
	uint64_t guest, len;

	letter_range(letter, &scene.stage->config.shape, &guest, &len);
	must(traffic_request(&scene.stage->traffic, lane, letter->op, letter->flags, guest, len));
}

static void play_letters(void)
{
	const struct history *history = &scene.play->history;

	for (unsigned i = 0; i < history->length; i++) {
		while (history->waits[i] && move())
			;
		play_letter(history->letter[i], i % (HISTORY_LANES - 1));
	}
	while (move())
		;
	stage_drain(scene.stage);
}

/* --- after something has gone wrong -------------------------------------------------------------- */

/* A request after it: fails if the image must have broken by then, or else works. */
static void ask_after(enum req_op op, uint64_t guest, uint64_t len)
{
	struct stage *stage = scene.stage;
	const struct strike *strike = &stage->host.strike;
	bool struck = strike->struck;
	int result = stage_ask(stage, op, 0, guest, len);
	bool must_fail = strike->latches && op != REQ_READ;

	/* What goes wrong only now may have hit this one, or not. */
	if (struck && must_fail && result != -EIO)
		sim_fail("a sync or its like has failed, and a later request ends with %d", result);
	if (struck && !must_fail && result)
		sim_fail("a single failure is over, and a later request ends with %d", result);
}

static void use_on(void)
{
	uint64_t cluster = UINT64_C(1) << scene.stage->config.shape.cluster_bits;

	ask_after(REQ_WRITE, 0, 2 * cluster);
	ask_after(REQ_WRITE, 2 * cluster, SECTOR_SIZE);
	ask_after(REQ_FLUSH, 0, 0);
	ask_after(REQ_DISCARD, 0, 2 * cluster);
	ask_after(REQ_FLUSH, 0, 0);
	ask_after(REQ_READ, 0,
		  4 * cluster <= MAX_REQ_SECTORS * SECTOR_SIZE ? 4 * cluster : cluster);
}

/* The close has failed: the image must be sound all the same. */
static void crash(void)
{
	struct stage *stage = scene.stage;
	struct sim_host *host = &stage->host;

	model_life_over(&stage->model);
	host_append_flying(host);
	disk_power_cut(&host->disk, cut_draw(&host->disk, &stage->rng), &stage->rng);
	disk_power_cut(&host->data, cut_draw(&host->data, &stage->rng), &stage->rng);
	stage_free(stage);
	stage_use(stage);
}

static void close_after(bool struck)
{
	struct stage *stage = scene.stage;
	bool latched = stage->host.strike.latches;

	if (struck && !latched && stage->close_err)
		sim_fail("a single failure is over, and the close ends with %d", stage->close_err);
	if (latched && !stage->close_err)
		sim_fail("a sync or its like has failed, and the close says that all is well");
	if (stage->close_err) {
		crash();
		return;
	}
	model_closed(&stage->model);
	model_life_over(&stage->model);
	stage_free(stage);
	stage_use(stage);
}

/* --- the whole ---------------------------------------------------------------------------------------- */

static void close_clean(void)
{
	struct stage *stage = scene.stage;

	model_closed(&stage->model);
	scene.closing = true;
	look("if the power failed after a clean close");
	model_life_over(&stage->model);
	stage_free(stage);
}

void play_history(struct stage *stage, struct play *play, struct cuts *cuts)
{
	struct strike *strike = &stage->host.strike;
	bool struck;

	scene = (struct scene){ .stage = stage, .play = play, .cuts = cuts };
	stage->rng.state = play->seed;
	stage->config = history_config(&play->history);
	stage_make(stage);
	scene.begun = stage_look(stage, BYTES_VISIBLE, LOOK_DURABLE, "as made");
	cuts->seen = 0;
	cuts->image = digest_add(play->history.kind, play->seed);
	stage_open(stage, false);
	strike->kind = play->strike.kind;
	strike->nth = play->strike.nth;
	play_letters();
	if (strike->kind)
		use_on();
	struck = strike->struck;
	stage_close_begin(stage);
	while (move())
		;
	stage_close_end(stage);
	play->struck = strike->struck;
	if (strike->kind)
		close_after(struck);
	else
		close_clean();
}
