/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tables of one kind, which in a damaged image may lie in each other.  However many of them there are,
 * what they share is read once: the work grows with the file, and not with tables times their length.
 */
#ifndef CHECK_RANGES_H
#define CHECK_RANGES_H

#include "base.h"

struct range {
	uint64_t off;
	uint64_t end;
};

/* All zeros is an empty collection. */
struct ranges {
	struct range *range;
	size_t ranges;
	size_t room;
};

/* Add @len bytes at @off, whose sum does not wrap; 0 bytes are nothing.  0, or -ENOMEM. */
int ranges_add(struct ranges *ranges, uint64_t off, uint64_t len);

/*
 * Visit the stretches between the ends of ranges, from the first on, each with the number of ranges
 * that it is in; what is in none is left out.  Ranges are taken to begin and end at multiples of
 * @align, a power of two.  0, -ENOMEM, or the first result of @visit that is not 0.
 */
int ranges_walk(const struct ranges *ranges, uint64_t align,
		int (*visit)(void *arg, uint64_t off, uint64_t len, uint32_t times), void *arg);

void ranges_free(struct ranges *ranges);

#endif
