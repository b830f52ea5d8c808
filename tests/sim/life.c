/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lives: the scheduler, and the ends. */
#include "life.h"

#include "corrupt.h"
#include "death.h"
#include "report.h"
#include "siege.h"
#include "space.h"
#include "stage.h"

#include <inttypes.h>

#define CACHES_CHANGE_ONE_IN 16u
#define CORRUPT_ONE_IN 32u /* seeds; by their numbers, so that it takes no luck away from others */

static struct stage stage;

/* Of the life at hand. */
static struct life {
	uint64_t leaks; /* when it began */
	uint64_t takeovers; /* before it */
	uint64_t mapped; /* host clusters of the active disk, then */
	uint64_t size; /* of the file, then */
	uint64_t changes; /* that were asked of the host until a corrupt image came to rest */
	unsigned turns; /* still to take */
	unsigned corrupt_at; /* when so many are left; 0: never */
	bool closes_corrupt; /* at once then */
	enum siege_wish wish; /* for how it is to end */
	struct tally *tally;
	uint32_t aims;
} life;

/* With the mark of a corrupt image there is nothing to be judged. */
static struct verdict peek(void)
{
	if (stage.corrupt)
		return (struct verdict){ 0 };
	life.tally->cuts++;
	return stage_peek(&stage);
}

/* --- the scheduler -------------------------------------------------------------------------------- */

static void random_turn(void)
{
	unsigned id = rng_below(&stage.rng, stage.config.lanes);

	if (id == stage.config.slow_lane && !rng_one_in(&stage.rng, 32))
		id = rng_below(&stage.rng, stage.config.lanes);
	/* Lanes that sleep take no turns: go to the next one. */
	for (unsigned i = 0; i < stage.config.lanes; i++)
		if (stage_turn(&stage, (id + i) % stage.config.lanes))
			return;
}

static void random_move(void)
{
	unsigned weights[] = { stage.config.step_weight, stage.config.complete_weight,
			       stage.config.submit_weight };

	stage.host.now += 1000;
	switch (rng_weighted(&stage.rng, weights, ARRAY_SIZE(weights))) {
	case 0:
		random_turn();
		break;
	case 1:
		host_complete_one(&stage.host, false);
		break;
	case 2:
		traffic_submit(&stage.traffic);
		break;
	}
}

static void live(void)
{
	for (; life.turns > 0; life.turns--) {
		random_move();
		if (life.turns == life.corrupt_at)
			corrupt_now(&stage);
		resizing_may_begin(&stage);
		death_may_come(&stage);
		/* What was promised a moment ago is the most likely to be broken. */
		if ((stage.traffic.look && rng_one_in(&stage.rng, 3)) ||
		    rng_one_in(&stage.rng, stage.config.peek_one_in))
			peek();
		stage.traffic.look = false;
		switch (life.wish = siege_wish()) {
		case SIEGE_NOTHING:
			break;
		case SIEGE_LOOK:
			peek();
			break;
		case SIEGE_CUT:
		case SIEGE_REST:
		case SIEGE_CLOSE:
			return;
		}
	}
}

static void drain(void)
{
	stage_drain(&stage);
	if (rng_one_in(&stage.rng, 3))
		stage_rest(&stage);
}

static void close_down(void)
{
	if (siege_closes_early())
		stage_drain_requests(&stage);
	else
		stage_drain(&stage);
	stage_close(&stage);
}

/* --- ends ------------------------------------------------------------------------------------------ */

/* How many clusters a crash may leave with a refcount too many. */
static uint64_t leak_bound(const struct image_stats *stats)
{
	uint64_t run = stage.config.reserve_bytes >> stage.config.shape.cluster_bits;

	if (run == 0)
		return UINT64_MAX;
	/*
	 * What was mapped may have been dropped, but not yet released.  And who takes over may give what was in
	 * stock to one lane, and reserve more for the others.
	 */
	return life.leaks + life.mapped + stats->clusters_allocated + stats->clusters_released +
	       (2 * (run + 8) + (stage.takeovers - life.takeovers) * run) * stage.config.lanes + 64;
}

/* The image as the next life will find it. */
static struct verdict next_life(enum look look, const char *when)
{
	struct verdict verdict;

	if (stage.corrupt)
		corrupt_repair(&stage);
	verdict = stage_look(&stage, BYTES_VISIBLE, look, when);
	life.leaks = verdict.leaks;
	life.mapped = verdict.mapped;
	life.size = stage.host.disk.visible.size;
	life.takeovers = stage.takeovers;
	return verdict;
}

static void power_cut(void)
{
	trace("the power fails");
	host_append_flying(&stage.host);
	disk_power_cut(&stage.host.disk, cut_draw(&stage.host.disk, &stage.rng), &stage.rng);
	disk_power_cut(&stage.host.data, cut_draw(&stage.host.data, &stage.rng), &stage.rng);
	life.tally->cuts++;
	stage_free(&stage);
	estate_forget(&stage.estate);
	aside_forget(&stage.host.aside);
	next_life(LOOK_DURABLE, "after a power cut");
}

static void process_killed(void)
{
	trace("the process is killed, and what it hands over is given up");
	stage_kill(&stage);
	estate_forget(&stage.estate);
	/* Also what it was just asking for. */
	aside_forget(&stage.host.aside);
	next_life(LOOK_KILLED, "after a kill");
}

static void crash(bool power)
{
	struct image_stats stats = stage_stats(&stage);
	uint64_t bound = leak_bound(&stats);

	model_life_over(&stage.model);
	stage.crashed = true;
	/* Who starts anew after a failed sync would read what the host has forgotten to write. */
	if (power || stage.host.sync_failed)
		power_cut();
	else
		process_killed();
	if (life.leaks > bound)
		sim_fail("%" PRIu64 " leaks, %" PRIu64 " are to be expected at most", life.leaks,
			 bound);
}

/* Nobody would ever use it, or give it back. */
static void check_ahead(void)
{
	struct aside *aside = &stage.host.aside;

	/* What could not be punched is nobody's fault, nor the next one's. */
	if (stage.host.mishap || stage.host.faults.no_punch)
		aside_forget(aside);
	for (uint32_t i = 0; i < aside->stretches; i++)
		if (judge_uncounted(aside->stretch[i].at, aside->stretch[i].end))
			sim_fail("space stays set aside at %#" PRIx64 " to %#" PRIx64
				 ", of which some is not counted",
				 aside->stretch[i].at, aside->stretch[i].end);
}

static void check_closed(const struct verdict *verdict, uint64_t leaks, uint64_t size)
{
	uint64_t end = stage.host.disk.visible.size;
	uint64_t before = round_up(size, verdict->cluster_bytes);

	if (stage.host.mishap)
		return;
	if (verdict->leaks > leaks)
		sim_fail("%" PRIu64 " leaks after a clean close, %" PRIu64 " before: %s",
			 verdict->leaks, leaks, verdict->leak);
	if (!stage.host.device && end > max_u64(before, verdict->used_end))
		sim_fail("the file ends at %#" PRIx64 ", its last cluster at %#" PRIx64, end,
			 verdict->used_end);
}

/* Of the engine that has just closed, which may have taken over from others. */
static void check_counters(void)
{
	struct image_stats stats = image_stats(stage.image);

	if (stats.clusters_taken > stats.clusters_reserved)
		sim_fail("%" PRIu64 " clusters are counted as taken of %" PRIu64 " in stock",
			 stats.clusters_taken, stats.clusters_reserved);
	if (!stage.host.mishap && stats.clusters_released != stats.clusters_dropped)
		sim_fail("%" PRIu64 " clusters are counted as dropped, %" PRIu64 " as released",
			 stats.clusters_dropped, stats.clusters_released);
}

static uint64_t changes(void)
{
	const uint64_t *queued = stage.host.queued;

	return queued[IO_WRITE] + queued[IO_PUNCH] + queued[IO_TRUNCATE];
}

static void check_closed_corrupt(void)
{
	corrupt_check(&stage);
	if (!life.closes_corrupt && changes() != life.changes)
		sim_fail("the image was found to be corrupt, and is written to");
}

static void close_cleanly(void)
{
	uint64_t leaks = life.leaks, size = life.size;
	struct verdict verdict;

	death_through(&stage, close_down, 4);
	if (stage.corrupt)
		check_closed_corrupt();
	if (stage.close_err || stage.host.sync_failed) {
		crash(false);
		return;
	}
	if (!stage.read_only)
		model_closed(&stage.model);
	check_counters();
	model_life_over(&stage.model);
	verdict = peek();
	/* Who only reads may close what is not durable. */
	if (verdict.leaks > leaks && !stage.host.mishap && !stage.read_only)
		sim_fail("a power cut after a clean close leaves %" PRIu64 " leaks, %" PRIu64
			 " before: %s",
			 verdict.leaks, leaks, verdict.leak);
	stage_free(&stage);
	verdict = next_life(stage.read_only ? LOOK_KILLED : LOOK_DURABLE, "after a clean close");
	check_closed(&verdict, leaks, size);
	check_ahead();
}

static void settle_corrupt(void)
{
	stage_drain(&stage);
	stage_rest(&stage);
	corrupt_check(&stage);
}

/* The next process, too, finds the mark, and serves it all the same; or the image is closed at once. */
static void rest_corrupt(void)
{
	if (life.closes_corrupt) {
		life.wish = SIEGE_CLOSE;
		return;
	}
	settle_corrupt();
	if (stage.config.handover && stage.takeovers % 2 == 0) {
		death_take_over(&stage);
		settle_corrupt();
	}
	life.changes = changes();
}

static void one_life(void)
{
	bool read_only = rng_one_in(&stage.rng, 40);

	trace("a life begins%s", read_only ? ", read-only" : "");
	stage_open(&stage, read_only);
	if (rng_one_in(&stage.rng, 4))
		stage_read_back(&stage);
	life.turns = 1 + rng_below(&stage.rng, 2 * stage.config.turns);
	life.corrupt_at = stage.config.corrupts && !read_only ? (life.turns + 1) / 2 : 0;
	life.wish = SIEGE_NOTHING;
	death_through(&stage, live, 50);
	if (stage.corrupt)
		rest_corrupt();
	if ((rng_one_in(&stage.rng, 2) && life.wish != SIEGE_CUT) || life.wish == SIEGE_REST)
		death_through(&stage, drain, 4);
	switch (life.wish == SIEGE_CUT	 ? 7 :
		life.wish == SIEGE_CLOSE ? 0 :
					   rng_below(&stage.rng, 8)) {
	case 0:
	case 1:
		close_cleanly();
		break;
	case 2:
		crash(false);
		break;
	default:
		crash(true);
		break;
	}
	life.tally->lives++;
}

void lives_init(const struct life_options *options)
{
	life.tally = options->tally;
	life.aims = options->aims;
	stage.qemu_check_every = options->qemu_check_every;
	stage_init(&stage);
}

void lives_run(uint64_t seed)
{
	stage.rng.state = seed * UINT64_C(0x9e3779b97f4a7c15);
	stage.config = config_draw(&stage.rng);
	if (seed % CORRUPT_ONE_IN == CORRUPT_ONE_IN - 1)
		config_corrupts(&stage.config);
	if (seed < SIEGE_SEEDS)
		space_draw(&stage.config, seed);
	stage.config.caches_change = stage.config.handover && seed % CACHES_CHANGE_ONE_IN == 6;
	siege_suit(&stage.config, seed);
	resizing_draw(&stage, seed);
	siege_draw(&stage.config, seed);
	life.closes_corrupt = seed / CORRUPT_ONE_IN % 8 == 4;
	if ((stage.config.aims & life.aims) != life.aims)
		return;
	stage_make(&stage);
	next_life(LOOK_DURABLE, "as made");
	for (unsigned i = 0; i < stage.config.lives; i++)
		one_life();
	life.tally->requests += stage.traffic.requests;
	life.tally->qemu_checks += stage.qemu_checks;
	life.tally->kills += stage.takeovers;
	stage.traffic.requests = stage.qemu_checks = stage.takeovers = 0;
}
