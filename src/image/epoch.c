/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Epochs: when may a dropped cluster be used again?
 *
 * The epoch moves on only while nobody is in any bucket but the present one's.  So when it has
 * moved twice since a drop, everybody who was inside at the drop has left.
 */
#include "epoch.h"

uint64_t epoch_now(const struct epoch *epoch)
{
	atomic_thread_fence(memory_order_seq_cst);
	return atomic_load(&epoch->now);
}

void epoch_ended(struct image *image)
{
	CRITICAL(&image->alloc.lock);
	if (!mutant(NO_EPOCH_WAKE))
		waitq_wake(&image->alloc.idle);
}

static const struct epoch_lane *lane_of(const struct image *image, const struct epoch *epoch,
					unsigned lane)
{
	return epoch == &image->epoch ? &image->lane[lane].epoch : &image->lane[lane].inside;
}

static bool only_in(struct image *image, const struct epoch *epoch, uint64_t now)
{
	atomic_thread_fence(memory_order_seq_cst);
	for (unsigned i = 0; i < image->lanes; i++)
		for (unsigned bucket = 0; bucket < EPOCH_BUCKETS; bucket++)
			if (bucket != now % EPOCH_BUCKETS &&
			    atomic_load(&lane_of(image, epoch, i)->live[bucket]))
				return false;
	return true;
}

bool epoch_passed(struct image *image, struct epoch *of, uint64_t epoch)
{
	if (mutant(NO_EPOCH) && of == &image->epoch)
		return true;

	if (!atomic_load_explicit(&of->wanted, memory_order_relaxed))
		atomic_store_explicit(&of->wanted_at, lane_now(service_lane(image)),
				      memory_order_relaxed);
	/* Announce the wish before looking, so that who leaves after the look sees it. */
	atomic_store(&of->wanted, true);
	while (atomic_load(&of->now) < epoch + 2) {
		uint64_t now = atomic_load(&of->now);

		if (!only_in(image, of, now))
			return false;
		atomic_store(&of->now, now + 1);
	}
	atomic_store(&of->wanted, false);
	return true;
}
