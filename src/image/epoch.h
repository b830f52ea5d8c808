/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Epochs: a host cluster whose mapping was dropped in epoch e may still be read or written by
 * parts that looked it up before; it is theirs until every part that entered in e or earlier
 * has left, which is so when the epoch has reached e + 2 (law 4).
 *
 * A part is inside from its look-up to the end of the I/O that follows from it.  It is outside
 * while it waits for anything else, since what it waits for may wait for the epoch; and it needs
 * no epoch for clusters that it has claimed, because nobody else can drop them.
 *
 * There is a second count of epochs, of requests as a whole: see door.h.
 */
#ifndef EPOCH_H
#define EPOCH_H

#include "engine.h"

#define EPOCH_OUTSIDE 255 /* no bucket */

/* Out of line part of epoch_leave(): tell the allocator. */
void epoch_ended(struct image *image);

/* Enter before a look-up; returns the bucket to leave.  The lane's own thread, without a lock. */
static inline uint8_t epoch_enter_of(struct image *image, const struct epoch *epoch,
				     struct epoch_lane *lane)
{
	for (;;) {
		uint64_t now = atomic_load_explicit(&epoch->now, memory_order_acquire);
		uint8_t bucket = (uint8_t)(now % EPOCH_BUCKETS);
		uint32_t live = atomic_load_explicit(&lane->live[bucket], memory_order_relaxed);

		if (live) {
			/* Somebody of this lane is inside already, so the epoch cannot run away. */
			atomic_store_explicit(&lane->live[bucket], live + 1, memory_order_relaxed);
			return bucket;
		}
		/* Be seen before looking; and be seen in the epoch that really is. */
		atomic_store(&lane->live[bucket], 1);
		if (atomic_load(&epoch->now) == now)
			return bucket;
		atomic_store(&lane->live[bucket], 0);
		/* Whoever saw us in there waits for us to leave. */
		if (atomic_load(&epoch->wanted))
			epoch_ended(image);
	}
}

static inline uint8_t epoch_enter(struct image *image, struct epoch_lane *lane)
{
	return epoch_enter_of(image, &image->epoch, lane);
}

/*
 * Somebody of the same lane goes on with what was looked up inside @bucket: stays in until it
 * leaves, too.  While who entered is still inside.
 */
static inline void epoch_share(struct epoch_lane *lane, uint8_t bucket)
{
	uint32_t live = atomic_load_explicit(&lane->live[bucket], memory_order_relaxed);

	must(live > 0);
	atomic_store_explicit(&lane->live[bucket], live + 1, memory_order_relaxed);
}

static inline void epoch_leave_of(struct image *image, const struct epoch *epoch,
				  struct epoch_lane *lane, uint8_t bucket)
{
	uint32_t live = atomic_load_explicit(&lane->live[bucket], memory_order_relaxed) - 1;

	if (live) {
		atomic_store_explicit(&lane->live[bucket], live, memory_order_release);
		return;
	}
	atomic_store(&lane->live[bucket], 0);
	if (atomic_load(&epoch->wanted))
		epoch_ended(image);
}

static inline void epoch_leave(struct image *image, struct epoch_lane *lane, uint8_t bucket)
{
	epoch_leave_of(image, &image->epoch, lane, bucket);
}

/* The epoch in which something is dropped, or closed; after that is visible. */
uint64_t epoch_now(const struct epoch *epoch);

/*
 * Has @epoch ended for everybody?  Tries to move on; when not, whoever leaves last will wake the
 * allocator.  The allocator only, under alloc->lock.  @of is one of the image's.
 */
bool epoch_passed(struct image *image, struct epoch *of, uint64_t epoch);

#endif
