/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Counters of what happens on one lane, and histograms of how long it takes.  Only the lane's own
 * thread writes them, without atomic additions; any thread may read them.
 */
#ifndef STATS_H
#define STATS_H

#include "base.h"

/* Bucket b has what took less than 1024 << b nanoseconds and fits no lower one; the last all else. */
#define STATS_BUCKETS 26u

struct live_histogram {
	_Atomic uint64_t count[STATS_BUCKETS];
	_Atomic uint64_t ns; /* the sum of all */
};

struct histogram {
	uint64_t count[STATS_BUCKETS];
	uint64_t ns;
};

static inline void stats_add(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

static inline uint64_t stats_get(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

static inline unsigned stats_bucket(uint64_t ns)
{
	unsigned bucket = ns < 1024 ? 0 : 54 - (unsigned)__builtin_clzll(ns);

	return bucket < STATS_BUCKETS ? bucket : STATS_BUCKETS - 1;
}

/* Count one that took @ns, and stands for @weight of its like. */
static inline void histogram_count(struct live_histogram *histogram, uint64_t ns, uint64_t weight)
{
	stats_add(&histogram->count[stats_bucket(ns)], weight);
	stats_add(&histogram->ns, ns * weight);
}

/* Add what is counted by now to @sum; each counter is exact, all together are no moment. */
static inline void histogram_sum(struct histogram *sum, const struct live_histogram *histogram)
{
	for (unsigned i = 0; i < STATS_BUCKETS; i++)
		sum->count[i] += stats_get(&histogram->count[i]);
	sum->ns += stats_get(&histogram->ns);
}

#endif
