/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Compressed clusters of a made image: streams side by side, at any byte, across clusters. */
#include "builder.h"
#include "memory.h"
#include "pack.h"

#include <stdlib.h>

static uint64_t max_refcount(const struct builder *b)
{
	return UINT64_MAX >> (64 - (1u << b->shape->refcount_order));
}

/* Sectors behind the one that the stream begins in. */
static uint64_t more_sectors(uint64_t off, uint64_t len)
{
	return (off + len - 1) / SECTOR_SIZE - off / SECTOR_SIZE;
}

static uint64_t most_sectors(const struct builder *b)
{
	return (UINT64_C(1) << (b->shape->cluster_bits - 8)) - 1;
}

/* May all clusters of [off, end) that are there get @refcount references more? */
static bool has_references(const struct builder *b, uint64_t off, uint64_t end, uint64_t refcount)
{
	end = min_u64(end, b->packed_end);
	for (uint64_t at = round_down(off, b->cluster_bytes); at < end; at += b->cluster_bytes)
		if (b->refcount[at >> b->shape->cluster_bits] > max_refcount(b) - refcount)
			return false;
	return true;
}

/* Clusters up to @end, if they are free; they follow those that are there. */
static bool extend(struct builder *b, uint64_t end)
{
	while (b->packed_end < end) {
		struct shape dense = *b->shape;
		const struct shape *shape = b->shape;

		if (b->packed_end != build_host_byte(b, b->next))
			return false;
		dense.gap_percent = 0;
		b->shape = &dense;
		build_take(b, 1, 0);
		b->shape = shape;
		b->packed_end += b->cluster_bytes;
	}
	return true;
}

/* A place for @len bytes: the host byte, and how many sectors the entry shall name. */
static uint64_t place(struct builder *b, uint64_t len, uint64_t refcount, uint64_t *sectors)
{
	for (;;) {
		uint64_t off = b->packed_at + rng_below(b->rng, 9);
		uint64_t end;

		if (more_sectors(off, len) > most_sectors(b))
			off = round_up(off, SECTOR_SIZE);
		*sectors = more_sectors(off, len);
		if (*sectors < most_sectors(b) && rng_one_in(b->rng, 8))
			++*sectors; /* too many: no harm */
		end = (off / SECTOR_SIZE + *sectors + 1) * SECTOR_SIZE;
		if (b->packed_end && has_references(b, off, end, refcount) && extend(b, end))
			return off;
		/* Somewhere else, with a cluster of its own. */
		b->packed_at = build_host_byte(b, build_take(b, 1, 0));
		b->packed_end = b->packed_at + b->cluster_bytes;
	}
}

uint64_t build_take_packed(struct builder *b, const uint8_t *bytes, uint64_t refcount)
{
	unsigned offset_bits = 70 - b->shape->cluster_bits;
	uint8_t *stream = xmalloc(pack_bound(b->cluster_bytes));
	unsigned level = rng_one_in(b->rng, 2) ? 1 : rng_range(b->rng, 1, 9);
	uint64_t len = pack(b->shape->zstd, level, bytes, b->cluster_bytes, stream);
	uint64_t entry = 0, off, sectors, end;

	if (more_sectors(0, len) <= most_sectors(b) && refcount <= max_refcount(b)) {
		off = place(b, len, refcount, &sectors);
		end = (off / SECTOR_SIZE + sectors + 1) * SECTOR_SIZE;
		sparse_write(b->file, off, stream, len);
		for (uint64_t i = off >> b->shape->cluster_bits;
		     i <= (end - 1) >> b->shape->cluster_bits; i++)
			b->refcount[i] += refcount;
		b->packed_at = off + len;
		entry = ENTRY_COMPRESSED | sectors << offset_bits | off;
	}
	free(stream);
	return entry;
}
