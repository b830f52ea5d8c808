/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hostile entries of a snapshot table: whatever is decoded without a fault can be used.  The first
 * byte chooses version and cluster size, the rest is a table.
 */
#include "format.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_entry(const struct geometry *g, const struct snapshot *s, size_t len)
{
	must(s->entry_bytes >= SNAPSHOT_FIXED_BYTES);
	must(s->id.off + (uint64_t)s->id.len <= len);
	must(s->name.off + (uint64_t)s->name.len <= len);
	must(!(s->faults & SNAPSHOT_EXTRA_TOO_LARGE) || s->id.len + s->name.len == 0);
	must(s->faults & SNAPSHOT_EXTRA_TOO_LARGE || s->entry_bytes <= len);
	if (!(s->faults & SNAPSHOT_L1_MISALIGNED))
		must(is_aligned(s->l1.byte, g->cluster_bytes));
	if (!(s->faults & SNAPSHOT_L1_TOO_LARGE)) {
		must(s->l1_entries <= LIMIT_L1_BYTES / 8);
		must(s->l1.byte + (uint64_t)s->l1_entries * 8 <= (uint64_t)INT64_MAX);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct geometry g = { .size_bytes = MIB };
	uint64_t off = 1;

	if (size < 1)
		return 0;
	g.version = data[0] & 1 ? 3 : 2;
	g.cluster_bits = LIMIT_CLUSTER_BITS_MIN + (data[0] >> 1) % 13;
	g.cluster_bytes = 1u << g.cluster_bits;
	while (off < size) {
		/* A copy, so that reads beyond its end are seen. */
		size_t len = size - off;
		uint8_t *entry = malloc(len);
		struct snapshot s;
		int err;

		memcpy(entry, data + off, len);
		err = snapshot_decode(&g, entry, len, &s);
		free(entry);
		if (err)
			break;
		check_entry(&g, &s, len);
		off += round_up(s.entry_bytes, 8);
	}
	return 0;
}
