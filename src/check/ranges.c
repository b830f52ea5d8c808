/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The starts and the ends, sorted: between two of them the number of ranges is the same. */
#include "ranges.h"

#include <errno.h>
#include <stdlib.h>

#define ROOM_LEAST 64u

void ranges_free(struct ranges *ranges)
{
	free(ranges->range);
	*ranges = (struct ranges){ 0 };
}

int ranges_add(struct ranges *ranges, uint64_t off, uint64_t len)
{
	if (len == 0)
		return 0;
	if (ranges->ranges == ranges->room) {
		size_t room = max_u64(2 * ranges->room, ROOM_LEAST);
		struct range *range = realloc(ranges->range, room * sizeof(*range));

		if (!range)
			return -ENOMEM;
		ranges->range = range;
		ranges->room = room;
	}
	ranges->range[ranges->ranges++] = (struct range){ off, off + len };
	return 0;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static int walk(const uint64_t *start, const uint64_t *end, size_t ranges,
		int (*visit)(void *arg, uint64_t off, uint64_t len, uint32_t times), void *arg)
{
	size_t begun = 0, over = 0;
	uint64_t at = 0;

	while (over < ranges) {
		uint64_t next = end[over];
		int err = 0;

		if (begun < ranges)
			next = min_u64(next, start[begun]);
		if (begun > over && next > at)
			err = visit(arg, at, next - at,
				    (uint32_t)min_u64(begun - over, UINT32_MAX));
		if (err)
			return err;
		at = next;
		while (begun < ranges && start[begun] == at)
			begun++;
		while (over < ranges && end[over] == at)
			over++;
	}
	return 0;
}

int ranges_walk(const struct ranges *ranges, uint64_t align,
		int (*visit)(void *arg, uint64_t off, uint64_t len, uint32_t times), void *arg)
{
	size_t n = ranges->ranges;
	uint64_t *start = calloc(2 * n + 1, sizeof(*start)), *end;
	int err;

	if (!start)
		return -ENOMEM;
	end = start + n;
	for (size_t i = 0; i < n; i++) {
		start[i] = round_down(ranges->range[i].off, align);
		end[i] = round_up(ranges->range[i].end, align);
	}
	qsort(start, n, sizeof(*start), by_value);
	qsort(end, n, sizeof(*end), by_value);
	err = walk(start, end, n, visit, arg);
	free(start);
	return err;
}
