/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The engine, its host and its guest, put together; and the moves that everybody makes with them. */
#ifndef STAGE_H
#define STAGE_H

#include "config.h"
#include "estate.h"
#include "image.h"
#include "judge.h"
#include "model.h"
#include "resizing.h"
#include "ring.h"
#include "traffic.h"
#include "waits.h"

struct stage {
	struct rng rng;
	struct config config;
	struct sim_host host;
	struct model model;
	struct traffic traffic;
	struct image *image; /* NULL between lives */
	struct estate estate; /* what it hands over, in this life and from life to life */
	struct resizing resizing;
	bool interrupted; /* a lane has not ended its look at a mapping */
	struct image_stats spent; /* by those that were killed in this life */
	uint64_t takeovers; /* ever */
	struct waits waits;
	bool crashed; /* ever; there may be bytes of which the mapping knows nothing */
	bool read_only;
	bool corrupt; /* the engine has been told so, in this life */
	bool closed;
	int close_err;
	unsigned qemu_check_every; /* ask qemu-img about every so many images; 0: never */
	uint64_t judged; /* images, ever */
	uint64_t qemu_checks;
};

/* Called between two moves while the stage makes them by itself; may be NULL. */
extern void (*stage_between)(struct stage *stage);

/* Called before the rest of a report; may be NULL. */
extern void (*stage_report)(void);

/* Once per process; failures are reported with what is on this stage. */
void stage_init(struct stage *stage);

/* The image of stage->config, anew. */
void stage_make(struct stage *stage);

void stage_open(struct stage *stage, bool read_only);

/* Whatever the engine was about to do, it will not do it. */
void stage_free(struct stage *stage);

/* The process dies: what flies has happened or not. */
void stage_kill(struct stage *stage);

/* Another one opens the image after a kill; stage_try() may be refused. */
void stage_go_on(struct stage *stage);
int stage_try(struct stage *stage, struct why *why);

/* The engine's counters since this life began, through all kills. */
struct image_stats stage_stats(const struct stage *stage);

/* One turn of a lane's loop, as its thread would take it; false when the lane sleeps. */
bool stage_turn(struct stage *stage, unsigned lane);

/* Nothing new is asked; what was asked must end. */
void stage_drain(struct stage *stage);

/* The same, but a resize may go on. */
void stage_drain_requests(struct stage *stage);

/* Nothing is asked and time passes: what was dropped is given back. */
void stage_rest(struct stage *stage);

/* Close the image, on some lane; stage->close_err says how that went. */
void stage_close(struct stage *stage);
/* The same in two: what the lanes have to do for it may be played by the caller in between. */
void stage_close_begin(struct stage *stage);
void stage_close_end(struct stage *stage);

/* One request alone, to its end: its result. */
int stage_ask(struct stage *stage, enum req_op op, unsigned flags, uint64_t guest, uint64_t len);

/* Through the engine: every sector of the hot regions. */
void stage_read_back(struct stage *stage);

/* Open the image that is there after a crash, use it a little, and close it. */
void stage_use(struct stage *stage);

/* What is left of the file, when it is looked at. */
enum look {
	LOOK_ONLY,
	LOOK_KILLED, /* the next life begins with it, after END_KILLED */
	LOOK_DURABLE, /* ... after END_DURABLE */
};

/* Which bytes of the image and its data file. */
enum bytes { BYTES_VISIBLE, BYTES_DURABLE };

/* Show the image to the judges.  Does not return when they object; @when is for their words. */
struct verdict stage_look(struct stage *stage, enum bytes bytes, enum look look, const char *when);

/* What if the power failed now? */
struct verdict stage_peek(struct stage *stage);

#endif
