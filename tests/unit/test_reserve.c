/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A lane's stock under writes of changing sizes, of which some fail and put back what they took: however it
 * falls into pieces, there is a word of the arena for each.
 */
#include "reserve.h"

#include "arena.h"

#include "check.h"

#include <stdlib.h>

#define REQS 128u
#define PIECES (2 * REQS + TABLE_JOBS) /* that can be taken at a time */
#define BATCH 4096u

static struct image *image;
static struct image_lane *lane;
static uint64_t next_cluster = 1;

/* In the order in which they were taken. */
static struct run piece[PIECES];
static unsigned pieces;

static struct reserve *stock(void)
{
	return &lane->reserve;
}

/* As after a refill: a run of its own. */
static void refill(uint32_t count)
{
	struct reserve *reserve = stock();
	uint32_t word = reserve->free_words ? reserve->free_word[--reserve->free_words] :
					      reserve->words_used++;

	reserve->run[reserve->runs++] = (struct run){
		.cluster = next_cluster,
		.count = count,
		.word = word,
		.zero = true,
	};
	arena_set_stock(arena_stock(&image->arena, 0, word), next_cluster, count);
	next_cluster += count + 1;
}

static bool take(uint32_t want)
{
	if (pieces == PIECES)
		return false;
	if (!stock()->runs)
		refill(BATCH);
	stock()->asked = true; /* nobody refills but we */
	piece[pieces++] = reserve_take(image, lane, want);
	return true;
}

static void end(unsigned nth, bool fails)
{
	struct run run = piece[nth];

	memmove(piece + nth, piece + nth + 1, (--pieces - nth) * sizeof(run));
	if (fails)
		reserve_put(image, lane, run.cluster, run.count, run.word);
	else
		reserve_linked(image, lane, run.word);
}

/* Every second piece of fresh stock is linked, and what was put back before fails again. */
static void fall_into_pieces(uint32_t want)
{
	static bool old[PIECES];
	bool linked = false;

	while (pieces < 2 * REQS) {
		old[pieces] = stock()->runs > RESERVE_RUNS;
		if (!take(want))
			break;
	}
	for (unsigned i = 0; pieces; i++) {
		bool fails = old[i] || (linked = !linked);

		end(0, fails);
	}
}

static void use_up(void)
{
	while (pieces)
		end(0, false);
	while (stock()->runs) {
		take(BATCH);
		end(0, false);
	}
}

/* One size after the other, the largest first; then the smallest, which divide them all. */
static void test_sizes(void)
{
	check_case("pieces of ever smaller sizes");
	for (uint32_t largest = 32; largest >= 2; largest /= 2) {
		for (uint32_t want = largest; want; want /= 2)
			for (unsigned round = 0; round < 12; round++)
				fall_into_pieces(want);
		while (take(1))
			;
		use_up();
		CHECK_EQ(stock()->free_words, stock()->words_used);
	}
}

static void test_any(unsigned seed)
{
	unsigned failing = 50, want = 4, most = PIECES;

	srandom(seed);
	for (unsigned i = 0; i < 400000; i++) {
		if (random() % 400 == 0) {
			failing = (unsigned)(random() % 11) * 10;
			want = 1u << random() % 6;
			most = 1 + (unsigned)random() % PIECES;
		}
		if (pieces < most && random() % 2)
			take(random() % 2 ? want : 1 + (unsigned)random() % want);
		else if (pieces)
			end(random() % 2 ? 0 : (unsigned)random() % pieces,
			    (unsigned)random() % 100 < failing);
	}
	use_up();
	CHECK_EQ(stock()->free_words, stock()->words_used);
}

int main(void)
{
	static struct lane thread;
	uint32_t words = reserve_words(REQS);

	image = calloc(1, sizeof(*image));
	lane = aligned_alloc(CACHE_LINE, sizeof(*lane));
	must(image && lane);
	memset(lane, 0, sizeof(*lane));
	lane->lane = &thread;
	image->lane = lane;
	image->lanes = 1;
	image->top.geo.cluster_bits = 16;
	image->arena.lane_words = words;
	image->arena.stock = calloc(words, sizeof(*image->arena.stock));
	must(image->arena.stock);
	CHECK_EQ(reserve_open(image, REQS, 0), 0);

	test_sizes();
	check_case("pieces of any size, in any order");
	for (unsigned seed = 1; seed <= 10; seed++)
		test_any(seed);

	reserve_free(image);
	free((void *)image->arena.stock);
	free(lane);
	free(image);
	return check_end();
}
