/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The set of clusters with metadata, against a plain array; and threads that add to it at once. */
#include "overlap.h"

#include "check.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#define FAR (UINT64_C(1) << 46)
#define CLUSTERS 4096u
#define THREADS 4u

static struct image *image;

static void set_new(void)
{
	image = aligned_alloc(CACHE_LINE, round_up(sizeof(*image), CACHE_LINE));
	memset(image, 0, sizeof(*image));
	CHECK(overlap_open(&image->overlap) == 0);
}

static void set_free(void)
{
	overlap_free(&image->overlap);
	free(image);
}

static bool any(const bool *in, uint64_t first, uint64_t clusters)
{
	for (uint64_t i = first; i < first + clusters; i++)
		if (in[i])
			return true;
	return false;
}

/* Ranges by lot, near to each other and far away, so that there are many words and growth. */
static void compare_with_array(void)
{
	static bool in[CLUSTERS + 256];

	check_case("ranges are added, found and removed");
	set_new();
	CHECK(overlap_reserve(&image->overlap, 4 * CLUSTERS / 64 + 8) == 0);
	srand(1);
	for (unsigned i = 0; i < 20000; i++) {
		uint64_t first = (unsigned)rand() % CLUSTERS, n = 1 + (unsigned)rand() % 200;
		uint64_t far = i % 2 ? FAR : 0;

		if (i % 3 == 0 && far == 0) {
			overlap_add(image, first, 1);
			in[first] = true;
		} else if (i % 7 == 0 && far == 0) {
			overlap_remove(image, first, n);
			memset(in + first, 0, n);
		}
		CHECK_EQ(overlap_hit(image, first, n), any(in, first, n));
		CHECK(!overlap_hit(image, far + CLUSTERS + 300 + first, n));
	}
	set_free();
}

static void check_kinds(void)
{
	check_case("what may lie in one cluster");
	set_new();
	CHECK_EQ(overlap_find(&image->overlap, 60, 10, OVERLAP_ALONE), 0);
	CHECK_EQ(overlap_find(&image->overlap, 69, 1, OVERLAP_ALONE), -EEXIST);
	CHECK_EQ(overlap_find(&image->overlap, 69, 1, OVERLAP_TABLE), -EEXIST);
	CHECK_EQ(overlap_find(&image->overlap, 69, 1, OVERLAP_SNAPSHOT), -EEXIST);
	CHECK_EQ(overlap_find(&image->overlap, 70, 1, OVERLAP_SNAPSHOT), 0);
	CHECK_EQ(overlap_find(&image->overlap, 70, 1, OVERLAP_SNAPSHOT), 0);
	CHECK_EQ(overlap_find(&image->overlap, 70, 1, OVERLAP_TABLE), 0);
	CHECK_EQ(overlap_find(&image->overlap, 71, 1, OVERLAP_TABLE), 0);
	CHECK_EQ(overlap_find(&image->overlap, 71, 1, OVERLAP_TABLE), 0);
	CHECK_EQ(overlap_find(&image->overlap, 70, 1, OVERLAP_ALONE), -EEXIST);
	CHECK_EQ(overlap_find(&image->overlap, 71, 1, OVERLAP_ALONE), -EEXIST);
	CHECK(overlap_is_snapshot(image, 70));
	CHECK(overlap_is_snapshot(image, 71)); /* two entries have it */
	CHECK(!overlap_is_snapshot(image, 60));
	overlap_remove(image, 71, 1);
	CHECK(!overlap_hit(image, 71, 100) && overlap_hit(image, 70, 2));
	set_free();
}

static void check_growth(void)
{
	check_case("as many as there are");
	set_new();
	for (uint64_t i = 0; i < 100000; i++)
		CHECK_EQ(overlap_find(&image->overlap, i << 13, 1, OVERLAP_ALONE), 0);
	for (uint64_t i = 0; i < 100000; i++)
		CHECK(overlap_hit(image, i << 13, 1) && !overlap_hit(image, (i << 13) + 1, 8191));
	CHECK(image->overlap.mask + 1 <= 4 * 100000);
	set_free();
}

/* Neighbours are in the same word, so threads meet at each of them. */
static void *add_some(void *arg)
{
	uint64_t mine = (uint64_t)(uintptr_t)arg;

	for (uint64_t i = mine; i < CLUSTERS; i += THREADS)
		overlap_add(image, i * 16, 1);
	return NULL;
}

static void check_threads(void)
{
	pthread_t thread[THREADS];

	check_case("threads add at the same time");
	set_new();
	CHECK_EQ(overlap_reserve(&image->overlap, CLUSTERS / 4), 0);
	for (uintptr_t i = 0; i < THREADS; i++)
		CHECK_EQ(pthread_create(&thread[i], NULL, add_some, (void *)i), 0);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	for (uint64_t i = 0; i < CLUSTERS; i++)
		CHECK(overlap_hit(image, i * 16, 1) && !overlap_hit(image, i * 16 + 1, 15));
	CHECK_EQ(image->overlap.used, CLUSTERS / 4);
	set_free();
}

static void check_end_of_file(void)
{
	check_case("behind the end of the file");
	set_new();
	overlap_reach(&image->overlap, 100);
	CHECK(!overlap_behind(image, 99, 1) && overlap_behind(image, 99, 2));
	CHECK(overlap_behind(image, FAR, 1));
	set_free();
}

int main(void)
{
	compare_with_array();
	check_kinds();
	check_growth();
	check_threads();
	check_end_of_file();
	return check_end();
}
