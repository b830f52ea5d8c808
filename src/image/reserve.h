/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A lane's stock of host clusters (design: allocation is lane-local). */
#ifndef RESERVE_H
#define RESERVE_H

#include "engine.h"

int reserve_open(struct image *image, unsigned reqs_per_lane, uint64_t reserve_bytes);
void reserve_free(struct image *image);

/*
 * Take up to @want contiguous clusters; run->count says how many, 0 when the stock is empty.
 * Asks for a refill in time.  The lane's own thread; no lock needed, takes alloc->lock.
 */
struct run reserve_take(struct image *image, struct image_lane *lane, uint32_t want);

/* Put back clusters that were taken and never linked; they may have been written to. */
void reserve_put(struct image_lane *lane, uint64_t cluster, uint32_t count);

/*
 * Is there stock?  If not, a refill is asked for, and reserve->waiters is what to park on.
 * Under alloc->lock, the lane's own thread.
 */
bool reserve_ready(struct image *image, struct image_lane *lane);

#endif
