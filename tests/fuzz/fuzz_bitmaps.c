/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hostile bitmap directories and tables: whatever is accepted can be used.  The first byte chooses
 * the cluster size, the rest is a directory, and its words are entries of a table as well.
 */
#include "format.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_entry(const struct geometry *g, const struct bitmap *b, size_t len)
{
	must(is_aligned(b->table.byte, g->cluster_bytes) && b->table.byte <= (uint64_t)INT64_MAX);
	must(b->table_entries > 0);
	must((uint64_t)b->table_entries << g->cluster_bits <= LIMIT_BITMAP_BYTES);
	must(!(b->flags & ~(uint32_t)(BITMAP_IN_USE | BITMAP_AUTO)));
	must(b->granularity_bits >= 9 && b->granularity_bits <= 31);
	must(b->name.len >= 1 && b->name.len <= LIMIT_BITMAP_NAME);
	must(b->name.off + b->name.len <= len);
	must(b->entry_bytes >= b->name.off + b->name.len && is_aligned(b->entry_bytes, 8));
}

static void check_words(const struct geometry *g, const uint8_t *data, size_t size)
{
	for (size_t at = 0; at + 8 <= size; at += 8) {
		struct host host;
		struct be64 word;

		memcpy(&word, data + at, sizeof(word));
		if (bitmap_table_decode(g, be64_get(word), &host) == 0)
			must(is_aligned(host.byte, g->cluster_bytes) &&
			     host.byte < LIMIT_HOST_OFFSET);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct geometry g = { .version = 3, .size_bytes = MIB };
	uint64_t off = 1;

	if (size < 1)
		return 0;
	g.cluster_bits = LIMIT_CLUSTER_BITS_MIN + data[0] % 13;
	g.cluster_bytes = 1u << g.cluster_bits;
	check_words(&g, data + 1, size - 1);
	while (off < size) {
		/* A copy, so that reads beyond its end are seen. */
		size_t len = size - off;
		uint8_t *entry = malloc(len);
		struct bitmap b;
		int err;

		memcpy(entry, data + off, len);
		err = bitmap_decode(&g, entry, len, &b);
		free(entry);
		if (err)
			break;
		check_entry(&g, &b, len);
		off += b.entry_bytes;
	}
	return 0;
}
