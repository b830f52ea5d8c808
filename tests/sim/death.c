/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Kills, and who comes after. */
#include "death.h"

#include "format.h"
#include "memory.h"
#include "report.h"
#include "siege.h"

#include <setjmp.h>

static struct {
	struct stage *stage;
	jmp_buf way_out;
	bool armed; /* the engine may die */
	uint32_t fuse; /* kill points until it does */
	struct estate_memory
		then; /* it has died within an open: what was handed over at that moment */
	bool opening;
	bool died;
} death;

static void light_fuse(void)
{
	const struct config *config = &death.stage->config;

	death.fuse = UINT32_MAX;
	if (config->kill_points)
		death.fuse = rng_below(&death.stage->rng, config->kill_points);
}

static void end(void)
{
	death.armed = false;
	engine_running = false;
	locks_held = 0; /* they are gone with their image */
	longjmp(death.way_out, 1);
}

/* Who comes after would believe bytes that the host has lost: the dead one had not said so yet. */
static bool nobody_could_tell(const struct stage *stage, bool within_step)
{
	if (!stage->host.sync_failed)
		return false;
	if (!stage->image || !image_info(stage->image).broken)
		return true;
	return within_step && !waits_break_is_known(stage->image);
}

#ifdef MUTANTS
/* Before a store that matters.  An open goes on: it does nothing that anybody could see, but keep(). */
static void on_kill_point(void)
{
	bool now;

	if (!death.armed || death.died)
		return;
	now = death.fuse-- == 0;
	if ((!siege_kills() && !now) || nobody_could_tell(death.stage, true))
		return;
	trace("    killed between two stores");
	if (!death.opening)
		end();
	death.then = estate_copy(&death.stage->estate);
	death.died = true;
}

static void set_hook(void)
{
	kill_hook = on_kill_point;
}
#else
static void set_hook(void)
{
}
#endif

static void open_once(struct stage *stage)
{
	death.opening = true;
	death.died = false;
	stage_go_on(stage);
	death.opening = false;
}

/* The open of the one that comes after may be cut short as well. */
static void open_next(struct stage *stage)
{
	light_fuse();
	death.armed = rng_one_in(&stage->rng, 4);
	for (open_once(stage); death.died; open_once(stage)) {
		trace("killed while it takes over");
		stage_free(stage);
		estate_put(&stage->estate, death.then);
		death.armed = false;
	}
	death.armed = false;
}

/* A memory that was damaged is refused, or does no harm before there are requests. */
static void try_damaged(struct stage *stage)
{
	struct estate_memory sound = estate_copy(&stage->estate);
	struct why why = { "" };

	trace("with damaged memory");
	estate_damage(stage->estate.kept, &stage->rng);
	if (stage_try(stage, &why) == 0)
		stage_free(stage);
	else if (!why.text[0])
		sim_fail("damaged memory was refused without a word");
	estate_put(&stage->estate, sound);
}

/* From one slice to some shards full. */
static void change_cache(struct stage *stage)
{
	uint64_t slice =
		min_u64(UINT64_C(1) << stage->config.shape.cluster_bits, LIMIT_SLICE_BYTES);

	stage->config.l2_cache_bytes = slice * rng_range(&stage->rng, 1, 40);
	trace("with an L2 cache of %llu bytes", (unsigned long long)stage->config.l2_cache_bytes);
}

void death_take_over(struct stage *stage)
{
	death.stage = stage;
	trace("killed, and taken over");
	stage_kill(stage);
	if (rng_one_in(&stage->rng, 3) && !stage->corrupt)
		stage_look(stage, BYTES_VISIBLE, LOOK_ONLY, "after a kill");
	if (stage->config.caches_change && rng_one_in(&stage->rng, 4))
		change_cache(stage);
	if (rng_one_in(&stage->rng, 8))
		try_damaged(stage);
	open_next(stage);
	traffic_go_on(&stage->traffic, stage->image);
	while (rng_one_in(&stage->rng, 2) && traffic_ask_again(&stage->traffic))
		;
	stage->takeovers++;
}

void death_may_come(struct stage *stage)
{
	uint32_t one_in = stage->config.kill_one_in;

	if (!death.armed)
		return;
	if ((rng_one_in(&stage->rng, one_in) || resizing_is_worth_a_kill(stage) ||
	     siege_kills_here()) &&
	    !nobody_could_tell(stage, false))
		end();
}

/* True when @act has come to its end, false when the engine has died. */
static bool survive(void (*act)(void))
{
	if (setjmp(death.way_out))
		return false;
	act();
	death.armed = false;
	return true;
}

void death_through(struct stage *stage, void (*act)(void), unsigned kills)
{
	death.stage = stage;
	set_hook();
	stage_between = death_may_come;
	for (;; kills--) {
		light_fuse();
		death.armed = stage->config.kill_one_in && !stage->read_only && kills > 0;
		if (survive(act))
			return;
		death_take_over(stage);
	}
}
