/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Differences of counters and histograms. */
#include "rates.h"

#include <stdlib.h>

#define BUCKETS 64u
#define FIRST_BUCKET_NS 1024.0

/* What there is more of; a counter never falls, but it may be read out of step with others. */
static double more(const struct report *before, const struct report *after, const char *key)
{
	uint64_t was = report_get(before, key), is = report_get(after, key);

	return is > was ? (double)(is - was) : 0;
}

/* Adds @sign times a list of counts to @sum. */
static void add_list(const char *list, double sign, double sum[BUCKETS])
{
	char *end;

	if (!list || *list != '[')
		return;
	list++;
	for (unsigned i = 0; i < BUCKETS; i++, list = end + 1) {
		sum[i] += sign * (double)strtoull(list, &end, 10);
		if (end == list || *end != ',')
			return;
	}
}

/* The requests of one operation, whatever they met. */
static void add_operation(const struct report *report, const char *operation, double sign,
			  double sum[BUCKETS])
{
	size_t len = strlen(operation);

	for (size_t i = 0; i < report->lines; i++) {
		const char *key = report->line[i].key, *ending = strrchr(key, '.');

		if (strncmp(key, operation, len) == 0 && ending && strcmp(ending, ".buckets") == 0)
			add_list(report->line[i].value, sign, sum);
	}
}

/* The upper limit of the bucket in which that share of all is complete. */
static double quantile(const double bucket[BUCKETS], double share)
{
	double all = 0, sum = 0, limit = FIRST_BUCKET_NS;

	for (unsigned i = 0; i < BUCKETS; i++)
		all += bucket[i] > 0 ? bucket[i] : 0;
	if (all <= 0)
		return 0;
	for (unsigned i = 0; i < BUCKETS; i++, limit *= 2) {
		sum += bucket[i] > 0 ? bucket[i] : 0;
		if (sum >= all * share)
			break;
	}
	return limit;
}

static void quantiles(const struct report *before, const struct report *after,
		      const char *operation, double ns[2])
{
	double bucket[BUCKETS] = { 0 };

	add_operation(after, operation, 1, bucket);
	add_operation(before, operation, -1, bucket);
	ns[0] = quantile(bucket, 0.5);
	ns[1] = quantile(bucket, 0.99);
}

struct rates rates_between(const struct report *before, const struct report *after, double seconds)
{
	double reads = more(before, after, "requests.read");
	double writes = more(before, after, "requests.write");
	double loads = more(before, after, "cache.slices-loaded");
	struct rates rates = {
		.reads = reads / seconds,
		.writes = writes / seconds,
		.flushes = more(before, after, "requests.flush") / seconds,
		.discards = (more(before, after, "requests.discard") +
			     more(before, after, "requests.write-zeroes")) /
			    seconds,
		.read_bytes = more(before, after, "bytes.read") / seconds,
		.write_bytes = more(before, after, "bytes.write") / seconds,
		.failed = more(before, after, "failed") / seconds,
		.syncs = more(before, after, "flush.syncs") / seconds,
		.hit_share = loads < reads + writes ? 1 - loads / (reads + writes) : 0,
		.slices_dirty = report_get(after, "cache.slices-dirty"),
	};

	if (reads + writes <= 0)
		rates.hit_share = 1;
	quantiles(before, after, "latency.read.", rates.read_ns);
	quantiles(before, after, "latency.write.", rates.write_ns);
	return rates;
}
