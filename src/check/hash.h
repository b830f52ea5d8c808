/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hash tables of numbers that an image may have chosen so that they collide: by a multiplier that it
 * cannot know, and the upper bits of the product, which depend on all of the number.
 */
#ifndef CHECK_HASH_H
#define CHECK_HASH_H

#include <stdint.h>
#include <sys/random.h>

/* For a table that begins.  Without random numbers it is a usual one: only speed depends on it. */
static inline uint64_t hash_multiplier(void)
{
	uint64_t random;

	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != sizeof(random))
		random = UINT64_C(0x9e3779b97f4a7c15);
	return random | 1;
}

/* The slot of @number in a table of @mask + 1 slots, a power of two from 2 to 2^32. */
static inline uint32_t hash_slot(uint64_t multiplier, uint64_t number, uint32_t mask)
{
	return (uint32_t)(number * multiplier >> __builtin_clzll(mask));
}

#endif
