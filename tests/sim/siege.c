/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What comes when a barrier is passed: a kill, a failure, a look at the disk, a power cut, or nothing more. */
#include "siege.h"

#include "flight.h"
#include "narrow.h"
#include "report.h"
#include "stage.h"

#define BELIEF "BELIEVE"
#define SYNC_TURNS 300u /* until another lane has begun a sync, if it does */
#define PASSES_MOST 1000000u /* of one barrier in one turn */
#define BREAK_TURNS 40u /* far more than it takes from the end of a sync to the latch */

enum weapon { WEAPON_KILL, WEAPON_BREAK, WEAPON_LOOK, WEAPON_CUT, WEAPON_REST, WEAPON_HEADER };

static struct {
	const char *kind, *where, *state; /* of the barrier; NULL: none */
	struct rng rng;
	bool on;
	bool narrow; /* its lives suit it */
	bool live; /* there may be new requests */
	unsigned closes; /* after a move, one in so many, a life ends cleanly; 0: none does */
	bool breaking;
	enum weapon weapon;
	unsigned passes; /* until it strikes */
	unsigned passed; /* in this turn */
	unsigned points; /* of a kill, until it comes; 0: never */
	unsigned moves; /* until what is wished for; 0: nothing is */
	unsigned looks; /* still to come */
	unsigned lag; /* turns that a flush on the service lane has to wait for its first one, at the end */
} siege;

void siege_lay(const char *kind, const char *where)
{
	const char *slash = where ? strrchr(where, '/') : NULL;

	siege.kind = kind;
	siege.where = where;
	siege.state = slash ? slash + 1 : where;
}

static bool is_kind(const char *kind)
{
	return strcmp(siege.kind, kind) == 0;
}

/* A state in which a sync is believed; before it there is one in which that was begun. */
static bool is_belief(void)
{
	return siege.state && strstr(siege.state, BELIEF);
}

static bool ends_with(const char *text)
{
	size_t len = strlen(siege.state), tail = strlen(text);

	return len >= tail && strcmp(siege.state + len - tail, text) == 0;
}

/* A barrier of the close, or of the flush that it may have to wait for. */
static bool is_about_the_end(void)
{
	return strncmp(siege.where, "close/", 6) == 0 ||
	       strncmp(siege.where, "writeback/U_", 12) == 0 ||
	       strcmp(siege.where, "CLOSE_EARLY") == 0;
}

static enum weapon draw_weapon(void)
{
	static const enum weapon wakes[] = { WEAPON_REST, WEAPON_REST, WEAPON_BREAK };
	static const enum weapon orders[] = { WEAPON_LOOK, WEAPON_CUT, WEAPON_BREAK, WEAPON_KILL };
	static const enum weapon syncs[] = { WEAPON_LOOK, WEAPON_CUT, WEAPON_BREAK };

	if (siege.narrow && is_kind("order") && ends_with("HEADER_SYNC"))
		return WEAPON_HEADER;
	if (siege.narrow && ends_with("S_GATE"))
		return WEAPON_BREAK;
	if (is_kind("hand-over"))
		return WEAPON_KILL;
	if (is_kind("law 7"))
		return WEAPON_BREAK;
	if (is_kind("sync"))
		return is_belief() ? WEAPON_BREAK : syncs[rng_below(&siege.rng, ARRAY_SIZE(syncs))];
	if (is_kind("wake") || is_kind("epoch"))
		return wakes[rng_below(&siege.rng, ARRAY_SIZE(wakes))];
	return orders[rng_below(&siege.rng, ARRAY_SIZE(orders))];
}

/* Often soon, at times later. */
static unsigned draw_number(void)
{
	static const unsigned most[] = { 1, 1, 1, 3, 12, 60 };

	return 1 + rng_below(&siege.rng, most[rng_below(&siege.rng, ARRAY_SIZE(most))]);
}

static void suit_kills(struct config *config)
{
	config->handover = true;
	if (config->kill_one_in)
		return;
	config->kill_one_in = 2000;
	config->kill_points = 5000;
}

/* Many syncs at a time; of some the host knows that they have failed long before the engine does. */
static void suit_breaks(struct config *config)
{
	config->lanes = rng_range(&siege.rng, 2, MAX_LANES);
	config->depth = rng_range(&siege.rng, 4, 16);
	config->fua_percent = rng_one_in(&siege.rng, 2) ? 30 : 0;
	config->held |= 1u << IO_SYNC;
	config->reserve_bytes = UINT64_C(1) << config->shape.cluster_bits;
	config->early_percent = rng_one_in(&siege.rng, 2) ? 100 : 0;
	config->faults.sync = rng_one_in(&siege.rng, 2) ? rng_range(&siege.rng, 5, 100) : 0;
	config->faults.error = rng_one_in(&siege.rng, 2) ? config->faults.error : 0;
	if (config->slow_lane >= config->lanes)
		config->slow_lane = MAX_LANES;
	config->op_weight[TRAFFIC_FLUSH] += 15;
	config->op_weight[TRAFFIC_WRITE] += 15;
}

/* Little room, and what only shows when something fails, or is looked at half-way. */
static void suit_others(struct config *config)
{
	if (rng_one_in(&siege.rng, 2))
		config->l2_cache_bytes = SECTOR_SIZE;
	if (rng_one_in(&siege.rng, 2) && siege.weapon != WEAPON_CUT)
		config->faults.error = rng_range(&siege.rng, 5, 60);
	if (rng_one_in(&siege.rng, 2))
		config->torn_percent = 60;
	if (rng_one_in(&siege.rng, 3))
		config->fua_percent = 60;
	if (rng_one_in(&siege.rng, 3))
		config->op_weight[TRAFFIC_DISCARD] += 30;
	if (rng_one_in(&siege.rng, 3) && !config->shape.encrypted) {
		config->shape.packed_percent = 100;
		config->op_weight[TRAFFIC_READ] += 60;
		config->depth = 16;
		shape_limit(&config->shape);
	}
}

void siege_suit(struct config *config, uint64_t seed)
{
	siege.narrow = siege.kind && seed >= NARROW_SEEDS && !config->corrupts &&
		       narrow_draw(config, siege.kind, siege.where, seed);
}

void siege_draw(struct config *config, uint64_t seed)
{
	siege.on = siege.kind && seed >= SIEGE_SEEDS && !config->corrupts;
	siege.points = siege.moves = siege.looks = 0;
	siege.breaking = false;
	siege.closes = siege.lag = 0;
	if (!siege.on)
		return;
	siege.rng.state = seed * UINT64_C(0xa0761d6478bd642f);
	siege.weapon = draw_weapon();
	siege.passes = draw_number();
	siege.closes = siege.narrow && (ends_with("resize_end") || is_about_the_end()) ? 40 : 0;
	if (siege.narrow) {
		/* Such a life may be all that it takes. */
		if (siege.weapon == WEAPON_REST || ends_with("P_EVICT") ||
		    rng_one_in(&siege.rng, 4))
			siege.passes = UINT32_MAX;
		return;
	}
	if (siege.weapon == WEAPON_KILL)
		suit_kills(config);
	if (siege.weapon == WEAPON_BREAK)
		suit_breaks(config);
	if (siege.weapon != WEAPON_KILL && rng_one_in(&siege.rng, 2))
		suit_others(config);
}

void siege_passed(void)
{
	if (++siege.passed > PASSES_MOST)
		sim_fail("a step does not end");
	if (!siege.on || --siege.passes > 0)
		return;
	siege.passes = draw_number();
	if (siege.weapon == WEAPON_KILL && rng_one_in(&siege.rng, 2))
		siege.points = draw_number();
	else
		siege.moves = draw_number();
	siege.looks = siege.weapon == WEAPON_LOOK || siege.weapon == WEAPON_BREAK ? 60 : 0;
}

bool siege_closes_early(void)
{
	siege.live = false;
	siege.lag = siege.on && siege.narrow && is_about_the_end() ? rng_below(&siege.rng, 100) : 0;
	return siege.on && rng_one_in(&siege.rng, 2);
}

bool siege_kills(void)
{
	return siege.points && --siege.points == 0;
}

bool siege_kills_here(void)
{
	return siege.weapon == WEAPON_KILL && siege.moves && --siege.moves == 0;
}

enum siege_wish siege_wish(void)
{
	siege.breaking = false; /* it may have been killed meanwhile */
	siege.live = true;
	if (siege.on && siege.closes && rng_one_in(&siege.rng, siege.closes))
		return SIEGE_CLOSE;
	if (!siege.on || siege.weapon == WEAPON_KILL)
		return SIEGE_NOTHING;
	if (siege.looks) {
		siege.looks--;
		return rng_one_in(&siege.rng, 2) ? SIEGE_LOOK : SIEGE_NOTHING;
	}
	if (!siege.moves || --siege.moves)
		return SIEGE_NOTHING;
	return siege.weapon == WEAPON_CUT  ? SIEGE_CUT :
	       siege.weapon == WEAPON_REST ? SIEGE_REST :
					     SIEGE_NOTHING;
}

/* --- failures ------------------------------------------------------------------------------------ */

static bool is_at(const struct task *task)
{
	const char *state = task_state(task);
	size_t prefix = strlen(siege.state) - strlen(BELIEF);

	if (!is_belief())
		return strcmp(state, siege.state) == 0;
	return strncmp(state, siege.state, prefix) == 0 && strcmp(state + prefix, "SYNC") == 0;
}

/* Who has its turn next. */
static const struct task *next_task(const struct lane *lane)
{
	const struct list *ready = list_empty(&lane->ready) ? &lane->inbox : &lane->ready;

	return list_empty(ready) ? NULL : container_of(ready->next, const struct task, link);
}

/* Is its next step where the barrier is, or where the sync is begun that is believed there? */
static bool is_near(const struct lane *lane)
{
	const struct task *task = next_task(lane);

	return task && siege.state && is_at(task);
}

bool siege_lags(const struct stage *stage, unsigned lane)
{
	const struct task *task;

	if (!siege.lag || lane != stage->config.lanes - 1)
		return false;
	task = next_task(&stage->host.ring[lane].lane);
	if (!task || strcmp(task_state(task), "F_JOIN") != 0)
		return false;
	siege.lag--;
	return true;
}

/* The first sync in flight that is not of @lane, from a random flight on. */
static bool find_sync(const struct sim_host *host, unsigned lane, unsigned *choice)
{
	unsigned from = host->flights ? rng_below(&siege.rng, host->flights) : 0;

	for (unsigned i = 0; i < host->flights; i++) {
		const struct flight *flight = &host->flight[ *choice = (from + i) % host->flights];

		if (flight->io->op == IO_SYNC && flight->lane != lane && !flight->ghost)
			return true;
	}
	return false;
}

static void fail_sync(struct stage *stage, unsigned choice)
{
	struct sim_host *host = &stage->host;
	unsigned lane = host->flight[choice].lane;
	struct faults faults = host->faults;

	host->faults.sync = host->faults.error = 1000;
	host_complete(host, choice);
	host->faults = faults;
	for (unsigned i = 0; i < BREAK_TURNS && image_health(stage->image) == IMAGE_SOUND; i++)
		if (!stage_turn(stage, lane))
			return;
}

/* The engine is to hear of it later: what is synced next goes well, and has lost what this one covers. */
static void fail_unheard(struct sim_host *host, unsigned choice)
{
	uint32_t chance = host->faults.sync;

	host->faults.sync = 1000;
	if (!host->flight[choice].synced)
		flight_sync(host, &host->flight[choice]);
	host->faults.sync = chance;
}

/* What has been written is there, and then another lane begins a sync. */
static bool others_sync(struct stage *stage, unsigned lane, unsigned *choice)
{
	for (unsigned turns = 0; turns < SYNC_TURNS; turns++) {
		unsigned other = rng_below(&siege.rng, stage->config.lanes);

		if (find_sync(&stage->host, lane, choice))
			return true;
		if (other != lane && !stage_turn(stage, other))
			host_complete_other(&stage->host, lane);
	}
	return false;
}

/* --- failures where nothing else can be about to fail ------------------------------------------ */

/* A sync in flight that began at @since or later, and is not @task's. */
static bool find_later_sync(const struct sim_host *host, const struct task *task, uint64_t since,
			    unsigned *choice)
{
	for (*choice = 0; *choice < host->flights; (*choice)++) {
		const struct flight *flight = &host->flight[*choice];

		if (flight->io->op == IO_SYNC && !flight->ghost && flight->io->task != task &&
		    !flight->synced && flight->begun >= since)
			return true;
	}
	return false;
}

static bool find_write(const struct sim_host *host, bool header, unsigned *choice)
{
	for (*choice = 0; *choice < host->flights; (*choice)++) {
		const struct flight *flight = &host->flight[*choice];

		if (flight->io->op != IO_WRITE || flight->ghost)
			continue;
		if (header ? flight->io->off.byte == 0 && flight->io->file == host->file_index :
			     (flight->io->flags & IO_DSYNC) != 0)
			return true;
	}
	return false;
}

/* The others go on until one of them begins a sync. */
static bool wait_for_sync(struct stage *stage, unsigned lane, const struct task *task,
			  uint64_t since, unsigned *choice)
{
	for (unsigned turns = 0; turns < SYNC_TURNS; turns++) {
		unsigned other = rng_below(&siege.rng, stage->config.lanes);

		if (find_later_sync(&stage->host, task, since, choice))
			return true;
		if (other != lane && !stage_turn(stage, other))
			host_complete_other(&stage->host, lane);
		if (siege.live && rng_one_in(&siege.rng, 4))
			traffic_submit(&stage->traffic);
	}
	return false;
}

static void fail_header(struct sim_host *host, unsigned choice)
{
	uint32_t chance = host->faults.error;

	host->faults.error = 1000;
	host_complete(host, choice);
	host->faults.error = chance;
	siege.closes = 1;
}

static void strike_belief(struct stage *stage, unsigned lane, const struct task *task)
{
	struct sim_host *host = &stage->host;
	uint64_t since = host->disk.clock;
	unsigned choice;

	if (wait_for_sync(stage, lane, task, since, &choice))
		fail_unheard(host, choice);
}

static void strike(struct stage *stage, unsigned lane)
{
	struct sim_host *host = &stage->host;
	const struct task *task = next_task(&host->ring[lane].lane);
	bool write = strcmp(siege.state, "W_BELIEVE") == 0;
	unsigned choice;

	if (siege.weapon == WEAPON_HEADER && find_write(host, true, &choice))
		fail_header(host, choice);
	if (siege.weapon != WEAPON_BREAK)
		return;
	if (write ? !find_write(host, false, &choice) : !is_near(&host->ring[lane].lane))
		return;
	if (write && !find_later_sync(host, NULL, 0, &choice))
		return;
	if (--siege.passes > 0)
		return;
	siege.passes = draw_number();
	siege.breaking = true;
	if (write)
		fail_unheard(host, choice);
	else if (is_belief())
		strike_belief(stage, lane, task);
	else if (find_sync(host, lane, &choice) ||
		 (find_write(host, false, &choice) && host->flight[choice].lane != lane))
		fail_sync(stage, choice);
	siege.breaking = false;
	siege.looks = 60;
}

void siege_before(struct stage *stage, unsigned lane)
{
	unsigned choice;

	siege.passed = 0;
	if (siege.on && siege.narrow) {
		if (!siege.breaking && !stage->interrupted)
			strike(stage, lane);
		return;
	}
	if (!siege.on || siege.breaking || stage->interrupted || siege.weapon != WEAPON_BREAK ||
	    !is_near(&stage->host.ring[lane].lane) || --siege.passes > 0)
		return;
	siege.passes = draw_number();
	siege.breaking = true;
	if (is_belief() && others_sync(stage, lane, &choice))
		fail_unheard(&stage->host, choice);
	else if (!is_belief() && find_sync(&stage->host, lane, &choice))
		fail_sync(stage, choice);
	siege.breaking = false;
	siege.looks = 60;
}
