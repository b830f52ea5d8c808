/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Entries of L1 and L2 tables: from words to meanings. */
#include "format.h"

/*
 * Reserved bits are masked, not judged: writers have left them set, and what the rest of the
 * word says is unaffected.
 */

struct l1_entry l1_decode(const struct geometry *g, uint64_t entry)
{
	struct l1_entry out = {
		.kind = L1_TABLE,
		.copied = entry & ENTRY_COPIED,
		.host = { entry & ENTRY_HOST_MASK },
	};

	if (out.host.byte == 0)
		return (struct l1_entry){ .kind = L1_ABSENT };
	/* An aligned offset other than 0 is not in cluster 0. */
	if (!is_aligned(out.host.byte, g->cluster_bytes))
		out.kind = L1_INVALID;
	return out;
}

static struct l2_entry compressed_decode(const struct geometry *g, uint64_t entry)
{
	struct compressed_range range = l2_compressed_range(g, entry);

	if ((entry & ENTRY_COPIED) || g->data_apart || range.off.byte < g->cluster_bytes ||
	    range.off.byte + range.len > LIMIT_HOST_OFFSET)
		return (struct l2_entry){ .kind = L2_INVALID };
	return (struct l2_entry){ .kind = L2_COMPRESSED };
}

struct l2_entry l2_decode(const struct geometry *g, uint64_t entry)
{
	bool zero = entry & ENTRY_ZERO;
	struct l2_entry out = {
		.kind = zero ? L2_ZERO_ALLOCATED : L2_DATA,
		.copied = entry & ENTRY_COPIED,
		.host = { entry & ENTRY_HOST_MASK },
	};

	/* First of all: in a compressed cluster's descriptor every other bit means something else. */
	if (entry & ENTRY_COMPRESSED)
		return compressed_decode(g, entry);
	if ((zero && g->version == 2) || !is_aligned(out.host.byte, g->cluster_bytes))
		return (struct l2_entry){ .kind = L2_INVALID };
	if (out.host.byte == 0 && !(g->data_apart && out.copied))
		return (struct l2_entry){ .kind = zero ? L2_ZERO : L2_ABSENT };
	/* Clusters of the data file have no refcounts: nothing else can refer to them. */
	out.copied |= g->data_apart;
	return out;
}

struct l2_entry l2_decode_extended(const struct geometry *g, struct l2_word word,
				   unsigned subcluster)
{
	bool compressed = word.entry & ENTRY_COMPRESSED;
	struct l2_entry out = l2_decode(g, compressed ? word.entry : word.entry & ~ENTRY_ZERO);
	bool zero = word.bitmap >> (SUBCLUSTERS + subcluster) & 1;
	bool data = word.bitmap >> subcluster & 1;

	switch (out.kind) {
	case L2_DATA:
		if (word.bitmap >> SUBCLUSTERS & word.bitmap)
			return (struct l2_entry){ .kind = L2_INVALID };
		out.kind = zero ? L2_ZERO_ALLOCATED : data ? L2_DATA : L2_ABSENT_ALLOCATED;
		return out;
	case L2_ABSENT:
		if (word.bitmap & BITMAP_ALL_DATA)
			return (struct l2_entry){ .kind = L2_INVALID };
		out.kind = zero ? L2_ZERO : L2_ABSENT;
		return out;
	default:
		return out;
	}
}

unsigned l2_subclusters_alike(struct l2_word word, unsigned subcluster)
{
	uint32_t data = (uint32_t)word.bitmap, zero = (uint32_t)(word.bitmap >> SUBCLUSTERS);
	/* Bit by bit, who is not like the one asked for; all ones where there is no other. */
	uint32_t other = (data >> subcluster & 1 ? ~data : data) |
			 (zero >> subcluster & 1 ? ~zero : zero);

	other >>= subcluster;
	if (word.entry & ENTRY_COMPRESSED || !other)
		return SUBCLUSTERS - subcluster;
	return (unsigned)__builtin_ctz(other);
}

struct compressed_range l2_compressed_range(const struct geometry *g, uint64_t entry)
{
	unsigned offset_bits = 70 - g->cluster_bits;
	uint64_t off = entry & ((UINT64_C(1) << offset_bits) - 1);
	uint64_t more_sectors = (entry & (ENTRY_COMPRESSED - 1)) >> offset_bits;

	return (struct compressed_range){
		.off = { off },
		.len = (uint32_t)((more_sectors + 1) * SECTOR_SIZE - off % SECTOR_SIZE),
	};
}
