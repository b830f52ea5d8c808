/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Refcounts in blocks, from 1 to 64 bits wide, and entries of the table that finds the blocks. */
#include "format.h"

#include <errno.h>

/* Where a refcount narrower than a byte lies in its byte: the lower index in the lower bits. */
static unsigned shift_in_byte(unsigned order, uint32_t index)
{
	unsigned per_byte = 8u >> order;

	return (index % per_byte) << order;
}

uint64_t refcount_get(const void *block, unsigned order, uint32_t index)
{
	const uint8_t *bytes = block;

	switch (order) {
	case 4:
		return be16_get(((const struct be16 *)block)[index]);
	case 5:
		return be32_get(((const struct be32 *)block)[index]);
	case 6:
		return be64_get(((const struct be64 *)block)[index]);
	default:
		return (uint8_t)(bytes[index >> (3 - order)] >> shift_in_byte(order, index)) &
		       ((1u << (1u << order)) - 1);
	}
}

static void set_in_byte(uint8_t *byte, unsigned order, uint32_t index, uint64_t value)
{
	unsigned shift = shift_in_byte(order, index);
	unsigned mask = ((1u << (1u << order)) - 1) << shift;

	*byte = (uint8_t)((*byte & ~mask) | (unsigned)value << shift);
}

void refcount_set(void *block, unsigned order, uint32_t index, uint64_t value)
{
	must(value <= UINT64_MAX >> (64 - (1u << order)));
	switch (order) {
	case 4:
		((struct be16 *)block)[index] = be16_make((uint16_t)value);
		break;
	case 5:
		((struct be32 *)block)[index] = be32_make((uint32_t)value);
		break;
	case 6:
		((struct be64 *)block)[index] = be64_make(value);
		break;
	default:
		set_in_byte((uint8_t *)block + (index >> (3 - order)), order, index, value);
	}
}

int refcount_table_decode(const struct geometry *g, uint64_t entry, struct host *host)
{
	uint64_t off = entry & REFCOUNT_TABLE_HOST_MASK;

	if (!is_aligned(off, g->cluster_bytes) || off >= LIMIT_HOST_OFFSET)
		return -EINVAL;
	host->byte = off;
	return 0;
}
