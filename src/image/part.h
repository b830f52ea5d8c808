/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Parts: how a request becomes machines, and machines a result. */
#ifndef PART_H
#define PART_H

#include "engine.h"

extern const struct machine read_machine;
extern const struct machine write_machine;
extern const struct machine zero_machine;
extern const struct machine flush_machine;

/* Every machine that serves parts starts in its first state. */
#define PART_FIRST_STATE 0

/*
 * Serve all of @req, which is inside (door.h), with its inline part, on @lane.  Returns after its first
 * step.  In statistics it stands for @weight requests, if it is a hit.
 */
void part_start(struct image *image, struct lane *lane, struct req *req, uint32_t weight);

/* For requests that the engine makes itself: the first step of @machine comes in a later turn. */
void part_queue(struct image *image, struct lane *lane, struct req *req,
		const struct machine *machine);

/* What its request is counted under, if nothing worse comes. */
static inline void part_met(struct part *part, enum cause cause)
{
	if (part->req->cause < cause)
		part->req->cause = (uint8_t)cause;
}

/* Be inside an epoch, or outside of all; see epoch.h.  Both may be called twice. */
void part_enter(struct part *part);
void part_leave(struct part *part);

/*
 * The decision in p->extent holds for its first extent.len bytes: give the rest to another part,
 * if there is one in the pool; if not, part_advance() comes back to it.
 */
void part_split(struct part *part);

/* The bytes of p->extent are done, and the epoch with them.  True when there are more to do. */
bool part_advance(struct part *part);

/* The end: part->task.err is its result.  May call req->done(); @part is gone. */
void part_end(struct part *part);

/* Serve what is left of the part with another machine: a new start. */
enum step part_become(struct part *part, const struct machine *machine);

/* Pools, per lane. */
int parts_open(struct image *image, unsigned reqs_per_lane);
void parts_free(struct image *image);

#endif
