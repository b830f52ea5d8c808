/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hostile headers, table entries and refcounts: whatever the bytes, what is decoded from them can
 * be used without another check.
 *
 * The input is the file's start, with magic and version put right so that the interesting code is
 * reached; its last words serve as table entries as well.
 */
#include "format.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_range(struct header_range range, size_t len)
{
	must(range.off <= len && range.len <= len - range.off);
}

static void check_table(struct host table, uint64_t bytes, const struct geometry *g)
{
	must(is_aligned(table.byte, g->cluster_bytes));
	must(table.byte <= (uint64_t)INT64_MAX && bytes <= (uint64_t)INT64_MAX - table.byte);
}

static void check_header(const struct qcow2_header *h, const struct geometry *g, size_t len)
{
	uint64_t table_bytes = (uint64_t)h->refcount_table_clusters << h->cluster_bits;

	check_range(h->backing_name, len);
	check_range(h->backing_format, len);
	check_range(h->data_file_name, len);
	check_range(h->bitmaps, len);
	check_range(h->crypto, len);
	must(h->backing_name.len <= LIMIT_BACKING_NAME);
	must(h->backing_format.len <= LIMIT_BACKING_FORMAT);
	must(h->bitmaps.len == 0 || h->bitmaps.len == 24);
	must(h->crypto.len == 0 || h->crypto.len == 16);

	must(is_aligned(h->size_bytes, SECTOR_SIZE));
	must(h->size_bytes == 0 ||
	     guest_l1_index(g, (struct guest){ h->size_bytes - 1 }) < h->l1_entries);
	must(h->l1_entries <= LIMIT_L1_BYTES / 8);
	check_table(h->l1, (uint64_t)h->l1_entries * 8, g);
	must(table_bytes > 0 && table_bytes <= LIMIT_REFCOUNT_TABLE_BYTES);
	check_table(h->refcount_table, table_bytes, g);
	must(h->refcount_table.byte != 0);
	must(h->snapshots <= LIMIT_SNAPSHOTS);
	must(!(h->incompatible & ~(uint64_t)QCOW2_INCOMPATIBLE_KNOWN));
	must(h->version == 3 || !(h->incompatible | h->compatible | h->autoclear));
}

static void check_place(struct host host, const struct geometry *g)
{
	must(is_aligned(host.byte, g->cluster_bytes));
	must(host.byte < LIMIT_HOST_OFFSET);
}

/* The header is where there are tables, and not in an external data file. */
static void check_table_place(struct host host, const struct geometry *g)
{
	check_place(host, g);
	must(host.byte >= g->cluster_bytes);
}

static void check_entry(const struct geometry *g, uint64_t entry)
{
	struct l1_entry l1 = l1_decode(g, entry);
	struct l2_entry l2 = l2_decode(g, entry);
	struct host block = { 0 };

	if (l1.kind == L1_TABLE)
		check_table_place(l1.host, g);
	if (l2.kind == L2_DATA || l2.kind == L2_ZERO_ALLOCATED) {
		check_place(l2.host, g);
		must(l2.host.byte >= g->cluster_bytes || g->data_apart);
	} else {
		must(!l2.copied);
	}
	if (l2.kind == L2_COMPRESSED) {
		struct compressed_range range = l2_compressed_range(g, entry);

		must(range.off.byte >= g->cluster_bytes);
		must(range.off.byte + range.len <= LIMIT_HOST_OFFSET);
		must(range.len > 0 && range.len <= 2 * g->cluster_bytes);
	}
	if (refcount_table_decode(g, entry, &block) == 0 && block.byte)
		check_table_place(block, g);
}

/* Any bytes are refcounts. */
static void check_refcounts(const struct geometry *g, uint8_t *bytes, size_t len)
{
	uint64_t count = (uint64_t)len * 8 >> g->refcount_order;

	for (uint32_t i = 0; i < count; i += 1 + (uint32_t)count / 64) {
		uint64_t value = refcount_get(bytes, g->refcount_order, i);

		must(value <= g->refcount_max);
		refcount_set(bytes, g->refcount_order, i, g->refcount_max - value);
		must(refcount_get(bytes, g->refcount_order, i) == g->refcount_max - value);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct be32 magic = be32_make(QCOW2_MAGIC);
	struct qcow2_header header;
	struct geometry g;
	struct why why;
	uint8_t *bytes;

	if (size < 8 || size > QCOW2_HEADER_READ)
		return 0;
	bytes = malloc(size);
	memcpy(bytes, data, size);
	memcpy(bytes, &magic, sizeof(magic));
	memset(bytes + 4, 0, 3);
	if (qcow2_header_decode(bytes, size, "fuzz", &header, &why)) {
		must(strlen(why.text) > strlen("fuzz: ") && !strchr(why.text, '\n'));
	} else {
		g = qcow2_geometry(&header);
		check_header(&header, &g, size);
		for (size_t at = size % 8; at + 8 <= size && at < 4096; at += 8) {
			struct be64 entry;

			memcpy(&entry, bytes + at, sizeof(entry));
			check_entry(&g, be64_get(entry));
		}
		check_refcounts(&g, bytes, size);
	}
	free(bytes);
	return 0;
}
