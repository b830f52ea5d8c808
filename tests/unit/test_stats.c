/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Histograms: which bucket, how many, and how long all together. */
#include "stats.h"

#include "check.h"

static void test_buckets(void)
{
	uint64_t limit = 1024;

	check_case("each time falls into one bucket");
	CHECK_EQ(stats_bucket(0), 0);
	for (unsigned b = 0; b + 1 < STATS_BUCKETS; b++, limit *= 2) {
		CHECK_EQ(stats_bucket(limit - 1), b);
		CHECK_EQ(stats_bucket(limit), b + 1);
	}
	CHECK_EQ(stats_bucket(UINT64_MAX), STATS_BUCKETS - 1);
}

static void test_weights(void)
{
	static struct live_histogram live;
	struct histogram sum = { 0 };

	check_case("one stands for its like");
	histogram_count(&live, 100, 1);
	histogram_count(&live, 1500, 8);
	histogram_sum(&sum, &live);
	histogram_sum(&sum, &live);
	CHECK_EQ(sum.count[0], 2);
	CHECK_EQ(sum.count[1], 16);
	CHECK_EQ(sum.count[2], 0);
	CHECK_EQ(sum.ns, 2 * (100 + 8 * 1500));
}

int main(void)
{
	test_buckets();
	test_weights();
	return check_end();
}
