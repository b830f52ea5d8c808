/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A lane's stock of host clusters (design: allocation is lane-local). */
#ifndef RESERVE_H
#define RESERVE_H

#include "engine.h"

/* Runs that a lane may have, and words in the arena, when each part may hold a piece of one. */
uint32_t reserve_runs_max(unsigned reqs_per_lane);
uint32_t reserve_words(unsigned reqs_per_lane);

int reserve_open(struct image *image, unsigned reqs_per_lane, uint64_t reserve_bytes);
void reserve_free(struct image *image);

/*
 * Take up to @want contiguous clusters; run->count says how many, 0 when the stock is empty.
 * Asks for a refill in time.  The lane's own thread; no lock needed, takes alloc->lock.
 */
struct run reserve_take(struct image *image, struct image_lane *lane, uint32_t want);

/* What was taken is linked: it is no stock any more.  Under the lock of what it is linked to. */
void reserve_linked(struct image *image, struct image_lane *lane, uint32_t word);

/* Put back clusters that were taken and never linked; they may have been written to. */
void reserve_put(struct image *image, struct image_lane *lane, uint64_t cluster, uint32_t clusters,
		 uint32_t word);

/* Stock that a dead process has left; false: the lane has enough.  Before lanes run. */
bool reserve_inherit(struct image *image, struct image_lane *lane, uint64_t cluster,
		     uint32_t clusters);

/*
 * Is there stock?  If not, a refill is asked for, and reserve->waiters is what to park on.
 * Under alloc->lock, the lane's own thread.
 */
bool reserve_ready(struct image *image, struct image_lane *lane);

#endif
