/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A barrier is besieged: whenever the engine comes by, what could show its loss comes soon.  All of that
 * may come at any time anyway; for a barrier that few lives pass, luck takes too long.
 */
#ifndef SIEGE_H
#define SIEGE_H

#include "config.h"

struct stage;

/* Seeds from here on besiege the barrier at hand, if there is one. */
#define SIEGE_SEEDS UINT64_C(1000000000000)

/* Seeds from here on do so with lives that suit it; no others do. */
#define NARROW_SEEDS UINT64_C(2000000000000)

/* From now on it is this one: its kind, and where it is, as plant.py says; NULL: none. */
void siege_lay(const char *kind, const char *where);

/* First of all, a life that suits it, for some seeds. */
void siege_suit(struct config *config, uint64_t seed);

/* What this seed does about it: with chance of its own, and a configuration that suits. */
void siege_draw(struct config *config, uint64_t seed);

/* The engine passes the barrier, whether it is there or not. */
void siege_passed(void);

/* May the engine die at this kill point, or between these two moves? */
bool siege_kills(void);
bool siege_kills_here(void);

/* Does the image close while it is still being resized? */
bool siege_closes_early(void);

/* After each move: what is to come now? */
enum siege_wish { SIEGE_NOTHING, SIEGE_LOOK, SIEGE_CUT, SIEGE_REST, SIEGE_CLOSE };
enum siege_wish siege_wish(void);

/* Before a turn of a lane: elsewhere a sync may fail at this very moment. */
void siege_before(struct stage *stage, unsigned lane);

/* While the life comes to its end: is this lane's next turn somewhat later? */
bool siege_lags(const struct stage *stage, unsigned lane);

#endif
