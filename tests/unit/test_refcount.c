/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Refcounts of all widths, against blocks that qemu-img wrote and against arithmetic on bits. */
#include "format.h"

#include "check.h"

#include <stdlib.h>

#define BLOCK_BYTES 512

/* Heads of blocks in whose image clusters 0 to 5 are in use. */
static const struct {
	uint8_t head[64];
	unsigned bytes;
} six_used[] = {
	[0] = { { 0x3f }, 1 },
	[1] = { { 0x55, 0x05 }, 2 },
	[2] = { { 0x11, 0x11, 0x11 }, 3 },
	[3] = { { 1, 1, 1, 1, 1, 1 }, 6 },
	[4] = { { 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1 }, 12 },
	[5] = { { 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1 }, 24 },
	[6] = { { [7] = 1, [15] = 1, [23] = 1, [31] = 1, [39] = 1, [47] = 1 }, 48 },
};

static void test_vectors(unsigned order)
{
	uint8_t block[BLOCK_BYTES] = { 0 };

	check_case("as qemu-img writes it, %u bits", 1u << order);
	for (uint32_t i = 0; i < 6; i++)
		refcount_set(block, order, i, 1);
	CHECK(memcmp(block, six_used[order].head, sizeof(six_used[order].head)) == 0);
	for (uint32_t i = 0; i < 8; i++)
		CHECK_EQ(refcount_get(six_used[order].head, order, i), i < 6);
}

/*
 * The specification in another way: bit k of refcount i.  From a byte upwards a refcount is
 * big-endian; below, it fills its byte from the low bits.
 */
static bool bit_of(const uint8_t *block, unsigned order, uint32_t i, unsigned k)
{
	unsigned width = 1u << order;

	if (width < 8) {
		uint32_t bit = i * width + k;

		return block[bit / 8] >> bit % 8 & 1;
	}
	return block[i * (width / 8) + (width / 8 - 1 - k / 8)] >> k % 8 & 1;
}

static uint64_t get_by_bits(const uint8_t *block, unsigned order, uint32_t i)
{
	uint64_t value = 0;

	for (unsigned k = 0; k < 1u << order; k++)
		value |= (uint64_t)bit_of(block, order, i, k) << k;
	return value;
}

static uint64_t noise(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void test_get(unsigned order)
{
	uint64_t seed = 88172645463325252;
	uint8_t block[BLOCK_BYTES];

	check_case("get agrees with the bits, %u bits", 1u << order);
	for (size_t i = 0; i < sizeof(block); i++)
		block[i] = (uint8_t)noise(&seed);
	for (uint32_t i = 0; i < BLOCK_BYTES * 8u >> order; i++)
		CHECK_EQ(refcount_get(block, order, i), get_by_bits(block, order, i));
}

/* Each store changes its own refcount and no other byte of a block between two fences. */
static void test_set(unsigned order)
{
	uint32_t count = BLOCK_BYTES * 8u >> order;
	uint64_t max = UINT64_MAX >> (64 - (1u << order));
	uint64_t *model = calloc(count, sizeof(*model));
	uint8_t room[BLOCK_BYTES + 16];
	uint8_t *block = room + 8;
	uint64_t seed = 362436069;

	check_case("set stores one refcount and no more, %u bits", 1u << order);
	memset(room, 0, sizeof(room));
	memset(room, 0xa5, 8);
	memset(block + BLOCK_BYTES, 0xa5, 8);
	for (unsigned round = 0; round < 20000; round++) {
		uint32_t i = (uint32_t)(noise(&seed) % count);

		model[i] = round % 5 == 0 ? max : noise(&seed) & max;
		refcount_set(block, order, i, model[i]);
		CHECK_EQ(get_by_bits(block, order, i), model[i]);
	}
	for (uint32_t i = 0; i < count; i++)
		CHECK_EQ(refcount_get(block, order, i), model[i]);
	for (unsigned i = 0; i < 8; i++) {
		CHECK_EQ(room[i], 0xa5);
		CHECK_EQ(block[BLOCK_BYTES + i], 0xa5);
	}
	free(model);
}

int main(void)
{
	for (unsigned order = 0; order <= 6; order++) {
		test_vectors(order);
		test_get(order);
		test_set(order);
	}
	return check_end();
}
