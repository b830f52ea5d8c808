/* SPDX-License-Identifier: GPL-2.0-or-later */
/* EXTEND_TIMEOUT_USEC of sd_notify(3). */
#include "extension.h"
#include "notify.h"

#include <stdio.h>

#define LOOK_MS 10000

/* From the last progress on: also a single sync may take long. */
#define EXTENSION_S 300

/* Of no meaning but that it grows. */
static uint64_t sum_done(const struct image *image, unsigned lanes)
{
	struct image_traffic traffic = { 0 };
	uint64_t sum = 0;

	for (unsigned lane = 0; lane < lanes; lane++)
		image_traffic(image, lane, &traffic);
	for (unsigned op = 0; op < IO_HOST_OPS; op++) {
		sum += traffic.host_bytes[op];
		for (unsigned i = 0; i < STATS_BUCKETS; i++)
			sum += traffic.host[op].count[i];
	}
	return sum;
}

bool extension_is_due(struct extension *extension, uint64_t done, int64_t now_ms)
{
	bool first = !extension->due_ms, more = done != extension->done;

	if (now_ms < extension->due_ms)
		return false;
	extension->due_ms = now_ms + LOOK_MS;
	extension->done = done;
	return first || more;
}

void extension_turn(struct extension *extension, const struct image *image, unsigned lanes)
{
	int64_t now_ms = monotonic_ms();
	char state[64];

	/* To look costs more than to see that it is not time. */
	if (now_ms < extension->due_ms ||
	    !extension_is_due(extension, sum_done(image, lanes), now_ms))
		return;
	snprintf(state, sizeof(state), "EXTEND_TIMEOUT_USEC=%llu", EXTENSION_S * 1000000ull);
	notify(state);
}

void extension_watch(const struct extension *extension, int *timeout_ms)
{
	timeout_lower(timeout_ms, extension->due_ms - monotonic_ms());
}
