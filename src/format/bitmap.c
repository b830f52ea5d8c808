/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Entries of the bitmap directory and of the tables that find the clusters of a bitmap. */
#include "format.h"

#include <errno.h>

#define TYPE_DIRTY_TRACKING 1u
#define FLAGS_KNOWN (BITMAP_IN_USE | BITMAP_AUTO)
#define GRANULARITY_BITS_MIN 9u
#define GRANULARITY_BITS_MAX 31u

#define TABLE_RESERVED UINT64_C(0xff000000000001fe)
#define TABLE_ALL_ONES UINT64_C(1)

struct bitmap_raw {
	struct be64 table_offset;
	struct be32 table_entries;
	struct be32 flags;
	uint8_t type;
	uint8_t granularity_bits;
	struct be16 name_len;
	struct be32 extra_bytes;
};

_Static_assert(sizeof(struct bitmap_raw) == BITMAP_FIXED_BYTES, "layout");

uint64_t bitmap_entry_bytes(const void *fixed)
{
	struct bitmap_raw raw;

	memcpy(&raw, fixed, sizeof(raw));
	return round_up(sizeof(raw) + (uint64_t)be32_get(raw.extra_bytes) + be16_get(raw.name_len),
			8);
}

/* A bitmap in use may be of another size than the disk: it will be thrown away. */
static bool size_fits(const struct geometry *g, const struct bitmap *b)
{
	uint64_t bits = div_round_up(g->size_bytes, UINT64_C(1) << b->granularity_bits);

	if (b->table_entries == 0 ||
	    (uint64_t)b->table_entries << g->cluster_bits > LIMIT_BITMAP_BYTES)
		return false;
	return (b->flags & BITMAP_IN_USE) ||
	       b->table_entries == div_round_up(bits, (uint64_t)g->cluster_bytes * 8);
}

int bitmap_decode(const struct geometry *g, const void *entry, size_t len, struct bitmap *b)
{
	struct bitmap_raw raw;
	uint32_t name_len;

	if (len < sizeof(raw))
		return -EINVAL;
	memcpy(&raw, entry, sizeof(raw));
	name_len = be16_get(raw.name_len);
	*b = (struct bitmap){
		.table = { be64_get(raw.table_offset) },
		.table_entries = be32_get(raw.table_entries),
		.flags = be32_get(raw.flags),
		.granularity_bits = raw.granularity_bits,
		.name = { sizeof(raw), name_len },
		.entry_bytes = bitmap_entry_bytes(entry),
	};
	if (raw.type != TYPE_DIRTY_TRACKING || (b->flags & ~(uint32_t)FLAGS_KNOWN) ||
	    be32_get(raw.extra_bytes) != 0)
		return -EINVAL;
	if (b->granularity_bits < GRANULARITY_BITS_MIN ||
	    b->granularity_bits > GRANULARITY_BITS_MAX)
		return -EINVAL;
	if (name_len == 0 || name_len > LIMIT_BITMAP_NAME || len < sizeof(raw) + name_len)
		return -EINVAL;
	if (!is_aligned(b->table.byte, g->cluster_bytes) || b->table.byte > (uint64_t)INT64_MAX)
		return -EINVAL;
	return size_fits(g, b) ? 0 : -EINVAL;
}

int bitmap_table_decode(const struct geometry *g, uint64_t entry, struct host *host)
{
	uint64_t off = entry & ENTRY_HOST_MASK;

	if ((entry & TABLE_RESERVED) || !is_aligned(off, g->cluster_bytes) ||
	    (off != 0 && (entry & TABLE_ALL_ONES)))
		return -EINVAL;
	host->byte = off;
	return 0;
}
