/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Common moves. */
#include "stage.h"

#include "cipher.h"
#include "make.h"
#include "memory.h"
#include "report.h"
#include "siege.h"

#include <inttypes.h>

/* Steps and completions that a drained engine may still need: far more than any has needed. */
#define DRAIN_LIMIT 3000000u
#define DRAIN_TIMERS 100u
#define REST_TIMERS 8u /* far more than it takes to give back what was dropped */

static struct stage *on_stage;
void (*stage_report)(void);
void (*stage_between)(struct stage *stage);

static void report(void)
{
	if (stage_report)
		stage_report();
	config_print(&on_stage->config);
	if (!on_stage->image)
		return;
	traffic_dump(&on_stage->traffic);
	for (unsigned i = 0; i < on_stage->config.lanes; i++)
		lane_dump(&on_stage->host.ring[i].lane);
}

static bool cipher_fails(void)
{
	struct sim_host *host = &on_stage->host;

	if (!host->faults.cipher || rng_below(host->rng, 1000) >= host->faults.cipher)
		return false;
	host->mishap = true;
	return true;
}

/*
 * A lane is in the middle of a look at a mapping, without a lock: what other threads may do in the
 * meantime.
 */
static void interrupt(void)
{
	struct stage *stage = on_stage;
	struct lane *lane = this_lane;

	if (stage->interrupted || locks_held ||
	    !rng_percent(&stage->rng, stage->config.torn_percent))
		return;
	stage->interrupted = true;
	trace("    lane %u is interrupted", lane->id);
	for (unsigned turns = rng_below(&stage->rng, 300); turns; turns--) {
		unsigned other = rng_below(&stage->rng, stage->config.lanes);

		if (other != lane->id && !stage_turn(stage, other))
			host_complete_other(&stage->host, lane->id);
	}
	trace("    lane %u goes on", lane->id);
	stage->interrupted = false;
	this_lane = lane;
	engine_running = true;
}

void stage_init(struct stage *stage)
{
	sim_cipher_fails = cipher_fails;
	stage->host.rng = &stage->rng;
	disk_init(&stage->host.disk);
	disk_init(&stage->host.data);
	below_init(&stage->host.below);
	model_init(&stage->model);
	estate_init(&stage->estate);
	traffic_init(&stage->traffic, &stage->host, &stage->model, &stage->rng);
	on_stage = stage;
	image_peek_seam = interrupt;
	report_hook = report;
	must_fail_hook = report;
}

void stage_make(struct stage *stage)
{
	struct sim_host *host = &stage->host;

	stage->image = NULL;
	stage->crashed = false;
	estate_forget(&stage->estate);
	host->faults = stage->config.faults;
	host->early_percent = stage->config.early_percent;
	host->held = stage->config.held;
	host->align = stage->config.align;
	host->page_cache = stage->config.page_cache;
	host->no_dsync = stage->config.no_dsync;
	host->device = stage->config.shape.device;
	host->file_index = (uint16_t)rng_below(&stage->rng, 8);
	host->now = 0;
	host->data_apart = stage->config.shape.data_apart;
	disk_reset(&host->disk);
	disk_reset(&host->data);
	aside_forget(&host->aside);
	make_image(&stage->config.shape, &host->disk, &host->data, &host->below, &stage->model,
		   &stage->rng);
	if (sim_trace)
		config_print(&stage->config);
}

static void check_info(struct stage *stage)
{
	struct image_info info = image_info(stage->image);
	const struct shape *shape = &stage->config.shape;

	resizing_found(stage, info.size_bytes, true);
	if (info.version != shape->version || info.cluster_bytes != 1u << shape->cluster_bits ||
	    info.read_only != stage->read_only || info.layers != 1 + shape->layers ||
	    info.encrypted != shape_has_keys(shape))
		sim_fail("image_info() says something else");
}

static int open_image(struct stage *stage, struct why *why)
{
	struct lane *lane[MAX_LANES];
	struct image_options options = {
		.read_only = stage->read_only,
		.l2_cache_bytes = stage->config.l2_cache_bytes,
		.reqs_per_lane = stage->config.depth,
		.lanes = stage->config.lanes,
		.lane = lane,
		.reserve_bytes = stage->config.reserve_bytes,
		.size_most = stage->resizing.possible ? stage->resizing.most : 0,
		.buffers = stage->config.buffers,
		.workers = stage->config.workers,
		.unpack_here_bytes = stage->config.unpack_here_bytes,
		.key = SIM_KEY,
		.key_bytes = strlen(SIM_KEY),
		.files = { .open_below = host_open_below,
			   .open_data = host_open_data,
			   .arg = &stage->host },
		.handover = stage->config.handover ? &stage->estate.handover : NULL,
	};
	int err;

	stage->waits = (struct waits){ 0 };
	stage->host.workers = stage->config.workers;
	host_start(&stage->host, stage->config.lanes);
	for (unsigned i = 0; i < stage->config.lanes; i++)
		lane[i] = &stage->host.ring[i].lane;
	this_lane = NULL;
	err = image_open(&stage->image, host_file(&stage->host), &options, why);
	estate_drop_made(&stage->estate);
	return err;
}

void stage_open(struct stage *stage, bool read_only)
{
	struct why why = { "" };
	int err;

	stage->read_only = stage->host.read_only = read_only;
	stage->host.mishap = stage->host.sync_failed = false;
	stage->spent = (struct image_stats){ 0 };
	err = open_image(stage, &why);
	if (err)
		sim_fail("image_open: %d: %s", err, why.text);
	check_info(stage);
	traffic_start(&stage->traffic, &stage->config, stage->image, read_only);
}

int stage_try(struct stage *stage, struct why *why)
{
	uint32_t ops = stage->host.disk.ops + stage->host.data.ops;
	int err = open_image(stage, why);

	if (stage->host.disk.ops + stage->host.data.ops > ops)
		sim_fail("who takes over has written to the file");
	if (err) {
		stage->image = NULL;
		host_stop(&stage->host);
	}
	return err;
}

void stage_go_on(struct stage *stage)
{
	struct why why = { "" };
	int err = stage_try(stage, &why);

	if (err)
		sim_fail("image_open after a kill: %d: %s", err, why.text);
	check_info(stage);
}

struct image_stats stage_stats(const struct stage *stage)
{
	struct image_stats stats = image_stats(stage->image);

	stats.clusters_allocated += stage->spent.clusters_allocated;
	stats.clusters_released += stage->spent.clusters_released;
	return stats;
}

void stage_kill(struct stage *stage)
{
	/* Who takes over does not know what had become free, and was about to be punched. */
	if (waits_is_dropping(stage->image))
		aside_forget(&stage->host.aside);
	stage->spent = stage_stats(stage);
	host_kill(&stage->host);
	stage_free(stage);
}

void stage_free(struct stage *stage)
{
	image_free(stage->image);
	stage->image = NULL;
	host_stop(&stage->host);
	stage->interrupted = false;
	this_lane = NULL;
}

/* --- moves --------------------------------------------------------------------------------------- */

static bool is_seen(const struct live_list *look, const struct io *io)
{
	for (unsigned i = 0; i < look->count; i++)
		if (look->live[i].io && look->live[i].io_off.byte == io->off.byte &&
		    look->live[i].io_len == io->len)
			return true;
	return false;
}

/* Who looks at what is under way, because something hangs, sees the loads that others wait for. */
static void check_look(struct stage *stage, struct lane *lane)
{
	static struct live live[1024];
	struct live_list look = { .live = live, .room = ARRAY_SIZE(live) };
	const struct sim_host *host = &stage->host;

	for (unsigned i = 0; i < host->flights; i++) {
		const struct flight *flight = &host->flight[i];

		if (flight->lane != lane->id || flight->ghost ||
		    strcmp(flight->io->task->machine->name, "load") != 0)
			continue;
		if (!look.count)
			image_look(stage->image, lane, &look);
		if (!look.missed && !is_seen(&look, flight->io))
			sim_fail("a slice is being loaded, and who looks does not see it");
	}
}

bool stage_turn(struct stage *stage, unsigned lane)
{
	struct sim_ring *ring = &stage->host.ring[lane];
	uint64_t punches;
	bool corrupt;

	if (ring->blocked)
		return false;
	siege_before(stage, lane);
	corrupt = image_health(stage->image) == IMAGE_CORRUPT;
	punches = stage->host.queued[IO_PUNCH];
	this_lane = &ring->lane;
	engine_running = true;
	if (!lane_run(&ring->lane, 1))
		ring->blocked = lane_doze(&ring->lane);
	engine_running = false;
	/* In a data file, what the guest discards has its own place. */
	if (corrupt && !stage->host.data_apart && stage->host.queued[IO_PUNCH] > punches)
		sim_fail("a hole is punched in an image that is known to be corrupt");
	check_look(stage, &ring->lane);
	waits_check(stage->image, &stage->waits);
	waits_check_space(stage->image, &stage->waits, stage->host.mishap);
	return true;
}

/* What can move, moves; ios complete now and then, and when nothing else does.  True when something did. */
static bool settle_once(struct stage *stage)
{
	bool moved = false;

	if (stage_between)
		stage_between(stage);
	for (unsigned i = 0; i < stage->config.lanes; i++)
		moved |= siege_lags(stage, i) || stage_turn(stage, i);
	if (moved && rng_one_in(&stage->rng, 2))
		return true;
	return host_complete_one(&stage->host, true) || moved;
}

/* Until @done says so; false when nothing moves any more before. */
static bool settle(struct stage *stage, bool (*done)(const struct stage *stage))
{
	unsigned timers = 0;

	for (unsigned i = 0; i < DRAIN_LIMIT; i++) {
		bool moved = settle_once(stage);

		if (done(stage))
			return true;
		/* What only a timer would set right has been forgotten, or nearly so. */
		if (!moved && (++timers > DRAIN_TIMERS || !host_complete_timer(&stage->host)))
			return false;
	}
	sim_fail("the engine does not come to rest");
}

static bool all_is_back(const struct stage *stage)
{
	return stage->traffic.busy == 0 && !stage->resizing.busy;
}

static bool requests_are_back(const struct stage *stage)
{
	return stage->traffic.busy == 0;
}

static void drain(struct stage *stage, bool (*done)(const struct stage *stage))
{
	while (traffic_ask_again(&stage->traffic))
		;
	if (!settle(stage, done))
		sim_fail("nothing flies, nothing is ready, %u requests%s wait: a lost wake-up",
			 stage->traffic.busy, stage->resizing.busy ? " and a resize" : "");
}

void stage_drain(struct stage *stage)
{
	drain(stage, all_is_back);
}

void stage_drain_requests(struct stage *stage)
{
	drain(stage, requests_are_back);
}

void stage_rest(struct stage *stage)
{
	unsigned timers = 0;
	struct image_stats stats;

	while (timers < REST_TIMERS) {
		if (settle_once(stage))
			continue;
		if (!host_complete_timer(&stage->host))
			break;
		timers++;
	}
	if (stage->host.flights == stage->host.timers)
		waits_check_rest(stage->image);
	stats = image_stats(stage->image);
	if (!stage->host.mishap && stats.clusters_dropped != stats.clusters_released)
		sim_fail("%" PRIu64 " references were dropped, %" PRIu64
			 " released, and the engine rests: a lost wake-up",
			 stats.clusters_dropped, stats.clusters_released);
}

static void on_closed(void *arg, int err)
{
	struct stage *stage = arg;

	trace("closed: %d", err);
	stage->closed = true;
	stage->close_err = err;
}

static bool is_closed(const struct stage *stage)
{
	return stage->closed;
}

void stage_close_begin(struct stage *stage)
{
	unsigned id = rng_below(&stage->rng, stage->config.lanes);
	struct sim_ring *ring = &stage->host.ring[id];

	trace("close on lane %u", id);
	stage->closed = false;
	this_lane = &ring->lane;
	ring->blocked = false;
	engine_running = true;
	image_close_start(stage->image, &ring->lane, on_closed, stage);
	engine_running = false;
}

void stage_close(struct stage *stage)
{
	stage_close_begin(stage);
	stage_close_end(stage);
}

void stage_close_end(struct stage *stage)
{
	if (!settle(stage, is_closed))
		sim_fail("nothing flies, nothing is ready, the close does not end");
	if (stage->host.flights > stage->host.timers)
		sim_fail("the image is closed and %u ios are still in flight",
			 stage->host.flights - stage->host.timers);
	if (stage->resizing.busy)
		sim_fail("the image is closed and a resize is under way");
	waits_check_closed(stage->image, stage->close_err);
	if (stage->close_err && !stage->host.mishap)
		sim_fail("the close has failed: %d", stage->close_err);
	if (stage->host.sync_failed && !stage->close_err && !stage->read_only)
		sim_fail("a sync has failed and the close says that all is well");
	if (stage->host.sync_failed && !stage->read_only &&
	    (image_health(stage->image) == IMAGE_SOUND || !image_info(stage->image).broken))
		sim_fail("a sync has failed and the image says that it is sound");
	stage->host.flights = stage->host.timers = 0;
}
