/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Epochs: when may a dropped cluster be used again?
 *
 * The epoch moves on only while nobody is in any bucket but the present one's.  So when it has
 * moved twice since a drop, everybody who was inside at the drop has left.
 */
#include "epoch.h"

uint64_t epoch_now(struct image *image)
{
	atomic_thread_fence(memory_order_seq_cst);
	return atomic_load(&image->epoch.now);
}

void epoch_ended(struct image *image)
{
	CRITICAL(&image->alloc.lock);
	if (!mutant(NO_EPOCH_WAKE))
		waitq_wake(&image->alloc.idle);
}

static bool only_in(struct image *image, uint64_t now)
{
	atomic_thread_fence(memory_order_seq_cst);
	for (unsigned i = 0; i < image->lanes; i++)
		for (unsigned bucket = 0; bucket < EPOCH_BUCKETS; bucket++)
			if (bucket != now % EPOCH_BUCKETS &&
			    atomic_load(&image->lane[i].epoch.live[bucket]))
				return false;
	return true;
}

bool epoch_passed(struct image *image, uint64_t epoch)
{
	if (mutant(NO_EPOCH))
		return true;

	if (!atomic_load_explicit(&image->epoch.wanted, memory_order_relaxed))
		atomic_store_explicit(&image->epoch.wanted_at, lane_now(service_lane(image)),
				      memory_order_relaxed);
	/* Announce the wish before looking, so that who leaves after the look sees it. */
	atomic_store(&image->epoch.wanted, true);
	while (atomic_load(&image->epoch.now) < epoch + 2) {
		uint64_t now = atomic_load(&image->epoch.now);

		if (!only_in(image, now))
			return false;
		atomic_store(&image->epoch.now, now + 1);
	}
	atomic_store(&image->epoch.wanted, false);
	return true;
}
