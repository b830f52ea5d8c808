/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A lane's stock of host clusters: from where does a write take clusters without waiting?
 *
 * Each lane owns runs whose refcounts are 1 on disk (law 1), so linking a cluster needs no
 * refcount update.  The allocator puts the next runs into a mailbox while the present ones are
 * being used up; refills grow while they are wanted, and their size bounds what a crash leaks.
 *
 * Each run stands in a word of the arena until all of it is linked, and so does each piece of a run
 * that a part has taken; when a run is split or moves, it stands in two words for a moment.  So a kill
 * leaks nothing: what stands in a word and is linked nowhere is stock.
 */
#include "reserve.h"

#include "arena.h"
#include "probe.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

/* Space of the host that nobody uses yet: the more lanes, the less for each. */
#define RESERVE_BYTES_DEFAULT (128 * MIB)
#define RESERVE_BYTES_LEAST (16 * MIB)
#define RESERVE_CLUSTERS_MAX 4096u

/* Of pieces, each twice as large as the one before. */
#define SIZES 8u

static uint32_t stock(const struct reserve *reserve)
{
	uint32_t clusters = 0;

	for (uint32_t i = 0; i < reserve->runs; i++)
		clusters += reserve->run[i].count;
	return clusters;
}

/* --- words of the arena: the lane's own, but for the last ones, which are the mailbox's ------------ */

static unsigned lane_id(const struct image_lane *lane)
{
	return lane->lane->id;
}

static uint32_t word_take(struct reserve *reserve)
{
	if (reserve->free_words)
		return reserve->free_word[--reserve->free_words];
	must(reserve->words_used < reserve->runs_max);
	return reserve->words_used++;
}

static void set_run(struct image *image, const struct image_lane *lane, const struct run *run)
{
	arena_set_stock(arena_stock(&image->arena, lane_id(lane), run->word), run->cluster,
			run->count);
}

static void word_put(struct image *image, struct image_lane *lane, uint32_t word)
{
	struct reserve *reserve = &lane->reserve;

	arena_set_stock(arena_stock(&image->arena, lane_id(lane), word), 0, 0);
	reserve->free_word[reserve->free_words++] = word;
}

/* --- the stock -------------------------------------------------------------------------------------- */

/* Under alloc->lock. */
static void collect(struct image *image, struct image_lane *lane)
{
	struct reserve *reserve = &lane->reserve;

	for (uint32_t i = 0; i < reserve->next_runs; i++) {
		struct run run = reserve->next[i];

		must(reserve->runs < reserve->runs_max);
		run.word = word_take(reserve);
		set_run(image, lane, &run);
		arena_set_stock(arena_stock(&image->arena, lane_id(lane), reserve->next[i].word), 0,
				0);
		reserve->run[reserve->runs++] = run;
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
		collect(image, lane);
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

/*
 * Writes that fail put back what they took, in pieces, with what others have linked between them.  The
 * smallest are used up before there can be many: what is left when a run is split goes next, and whole.
 */
static struct run *take_from(struct reserve *reserve)
{
	struct run *run = reserve->run;

	if (reserve->runs <= RESERVE_RUNS || mutant(FRAGMENTS_STAY))
		return run;
	for (uint32_t i = 1; i < reserve->runs; i++)
		if (reserve->run[i].count < run->count)
			run = &reserve->run[i];
	return run;
}

static void remove_run(struct reserve *reserve, struct run *run)
{
	struct run *end = reserve->run + reserve->runs--;

	memmove(run, run + 1, (size_t)(end - run - 1) * sizeof(*run));
}

struct run reserve_take(struct image *image, struct image_lane *lane, uint32_t want)
{
	struct reserve *reserve = &lane->reserve;
	struct run taken = { 0 };

	if (!reserve->runs)
		return taken;

	struct run *from = take_from(reserve);

	taken = *from;
	if (taken.count > want) {
		taken.count = want;
		taken.word = word_take(reserve);
		set_run(image, lane, &taken);
		from->cluster += want;
		from->count -= want;
		set_run(image, lane, from);
	} else {
		remove_run(reserve, from);
	}
	probe2(allocate, taken.cluster, taken.count);
	count(&image->counters.clusters_taken, taken.count);
	refill_in_time(image, reserve);
	return taken;
}

void reserve_linked(struct image *image, struct image_lane *lane, uint32_t word)
{
	if (!mutant(STOCK_STAYS))
		word_put(image, lane, word);
	else
		lane->reserve.free_word[lane->reserve.free_words++] = word;
}

/* Can the clusters be added at one of its ends? */
static bool extend(struct run *run, uint64_t cluster, uint32_t count)
{
	if (run->zero || run->count > WORD_COUNT_MAX - count)
		return false;
	if (run->cluster + run->count != cluster && cluster + count != run->cluster)
		return false;
	run->cluster = min_u64(run->cluster, cluster);
	run->count += count;
	run->space = false;
	return true;
}

/* It has grown: another one may begin where it ends now, or end where it begins. */
static void join_next(struct image *image, struct image_lane *lane, struct run *run)
{
	struct reserve *reserve = &lane->reserve;

	for (struct run *other = reserve->run; other < reserve->run + reserve->runs; other++) {
		if (other == run || other->zero || !extend(run, other->cluster, other->count))
			continue;
		set_run(image, lane, run);
		word_put(image, lane, other->word);
		remove_run(reserve, other);
		return;
	}
}

void reserve_put(struct image *image, struct image_lane *lane, uint64_t cluster, uint32_t clusters,
		 uint32_t word)
{
	struct reserve *reserve = &lane->reserve;

	count(&image->counters.clusters_taken, -(uint64_t)clusters);
	for (uint32_t i = 0; i < reserve->runs; i++) {
		if (!extend(&reserve->run[i], cluster, clusters))
			continue;
		set_run(image, lane, &reserve->run[i]);
		word_put(image, lane, word);
		join_next(image, lane, &reserve->run[i]);
		return;
	}
	must(reserve->runs < reserve->runs_max);
	reserve->run[reserve->runs++] =
		(struct run){ .cluster = cluster, .count = clusters, .word = word };
}

bool reserve_inherit(struct image *image, struct image_lane *lane, uint64_t cluster,
		     uint32_t clusters)
{
	struct reserve *reserve = &lane->reserve;
	struct run run = { .cluster = cluster, .count = clusters };

	if (reserve->runs == RESERVE_RUNS)
		return false;
	run.word = word_take(reserve);
	/* It may have been written to, by writes that were never linked. */
	run.zero = mutant(STOCK_IS_ZERO);
	set_run(image, lane, &run);
	reserve->run[reserve->runs++] = run;
	count(&image->counters.clusters_reserved, clusters);
	return true;
}

uint32_t reserve_runs_max(unsigned reqs_per_lane)
{
	/*
	 * Each part may hold a piece of a run, a collection adds some, and so does an inheritance.  Where what is
	 * put back has neighbours that were linked, pieces of one size become runs, half as many as there are
	 * parts, until smaller ones are made of them.
	 */
	return SIZES * (2 * reqs_per_lane + TABLE_JOBS) + 3 * RESERVE_RUNS;
}

uint32_t reserve_words(unsigned reqs_per_lane)
{
	return reserve_runs_max(reqs_per_lane) + RESERVE_RUNS;
}

static size_t run_bytes(const struct reserve *reserve)
{
	return reserve->runs_max * sizeof(*reserve->run);
}

static size_t word_bytes(const struct reserve *reserve)
{
	return reserve->runs_max * sizeof(*reserve->free_word);
}

/* Few are ever needed. The mailbox has the last words for ever. */
static int make_runs(struct reserve *reserve)
{
	reserve->run = sparse_map(run_bytes(reserve));
	reserve->free_word = sparse_map(word_bytes(reserve));
	if (!reserve->run || !reserve->free_word)
		return -ENOMEM;
	for (uint32_t i = 0; i < RESERVE_RUNS; i++)
		reserve->next[i].word = reserve->runs_max + i;
	return 0;
}

int reserve_open(struct image *image, unsigned reqs_per_lane, uint64_t reserve_bytes)
{
	uint64_t shared = max_u64(RESERVE_BYTES_DEFAULT / image->lanes, RESERVE_BYTES_LEAST);
	uint64_t bytes = reserve_bytes ? reserve_bytes : shared;
	uint64_t most =
		min_u64(max_u64(bytes >> image->top.geo.cluster_bits, 1), RESERVE_CLUSTERS_MAX);

	for (unsigned i = 0; i < image->lanes; i++) {
		struct reserve *reserve = &image->lane[i].reserve;

		reserve->runs_max = reserve_runs_max(reqs_per_lane);
		if (make_runs(reserve))
			return -ENOMEM;
		reserve->batch_max = (uint32_t)most;
		waitq_init(&reserve->waiters);
	}
	return 0;
}

void reserve_free(struct image *image)
{
	for (unsigned i = 0; i < image->lanes; i++) {
		struct reserve *reserve = &image->lane[i].reserve;

		if (reserve->run)
			munmap(reserve->run, run_bytes(reserve));
		if (reserve->free_word)
			munmap(reserve->free_word, word_bytes(reserve));
	}
}
