/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A lane's stock of host clusters: from where does a write take clusters without waiting?
 *
 * Each lane owns runs whose refcounts are 1 on disk (law 1), so linking a cluster needs no
 * refcount update.  The allocator puts the next runs into a mailbox while the present ones are
 * being used up; refills grow while they are wanted, and their size bounds what a crash leaks.
 */
#include "reserve.h"

#include <errno.h>
#include <stdlib.h>

#define RESERVE_BYTES_DEFAULT (64 * MIB)
#define RESERVE_CLUSTERS_MAX 4096u

static uint32_t stock(const struct reserve *reserve)
{
	uint32_t clusters = 0;

	for (uint32_t i = 0; i < reserve->runs; i++)
		clusters += reserve->run[i].count;
	return clusters;
}

/* Under alloc->lock. */
static void collect(struct reserve *reserve)
{
	for (uint32_t i = 0; i < reserve->next_runs; i++) {
		must(reserve->runs < reserve->runs_max);
		reserve->run[reserve->runs++] = reserve->next[i];
	}
	if (reserve->next_runs)
		reserve->asked = false;
	reserve->next_runs = 0;
}

/* Under alloc->lock. */
static void ask(struct image *image, struct reserve *reserve)
{
	if (reserve->wanted || reserve->next_runs)
		return;
	reserve->wanted = true;
	reserve->asked = true;
	waitq_wake(&image->alloc.idle);
}

bool reserve_ready(struct image *image, struct image_lane *lane)
{
	struct reserve *reserve = &lane->reserve;

	if (!reserve->runs)
		collect(reserve);
	if (!reserve->runs)
		ask(image, reserve);
	return reserve->runs > 0;
}

static void refill_in_time(struct image *image, struct reserve *reserve)
{
	/* reserve->batch is the allocator's while a refill is asked for, ours otherwise. */
	if (reserve->asked || stock(reserve) > reserve->batch / 2)
		return;
	CRITICAL(&image->alloc.lock);
	ask(image, reserve);
}

struct run reserve_take(struct image *image, struct image_lane *lane, uint32_t want)
{
	struct reserve *reserve = &lane->reserve;
	struct run taken = { 0 };

	if (!reserve->runs)
		return taken;

	struct run *first = &reserve->run[0];

	taken = *first;
	if (taken.count > want) {
		taken.count = want;
		first->cluster += want;
		first->count -= want;
	} else {
		reserve->runs--;
		memmove(first, first + 1, reserve->runs * sizeof(*first));
	}
	refill_in_time(image, reserve);
	return taken;
}

void reserve_put(struct image_lane *lane, uint64_t cluster, uint32_t count)
{
	struct reserve *reserve = &lane->reserve;

	for (uint32_t i = 0; i < reserve->runs; i++) {
		struct run *run = &reserve->run[i];

		if (run->zero)
			continue;
		if (run->cluster + run->count == cluster) {
			run->count += count;
			return;
		}
		if (cluster + count == run->cluster) {
			run->cluster = cluster;
			run->count += count;
			return;
		}
	}
	must(reserve->runs < reserve->runs_max);
	reserve->run[reserve->runs++] = (struct run){ .cluster = cluster, .count = count };
}

int reserve_open(struct image *image, unsigned reqs_per_lane, uint64_t reserve_bytes)
{
	uint64_t bytes = reserve_bytes ? reserve_bytes : RESERVE_BYTES_DEFAULT;
	uint64_t most =
		min_u64(max_u64(bytes >> image->top.geo.cluster_bits, 1), RESERVE_CLUSTERS_MAX);

	for (unsigned i = 0; i < image->lanes; i++) {
		struct reserve *reserve = &image->lane[i].reserve;

		/* Each part may hold a piece of a run, and a collection adds RESERVE_RUNS. */
		reserve->runs_max = 2 * reqs_per_lane + TABLE_JOBS + 2 * RESERVE_RUNS;
		reserve->run = calloc(reserve->runs_max, sizeof(*reserve->run));
		if (!reserve->run)
			return -ENOMEM;
		reserve->batch_max = (uint32_t)most;
		waitq_init(&reserve->waiters);
	}
	return 0;
}

void reserve_free(struct image *image)
{
	for (unsigned i = 0; i < image->lanes; i++)
		free(image->lane[i].reserve.run);
}
