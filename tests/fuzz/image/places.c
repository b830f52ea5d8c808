/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A walk through an image of hostile bytes, apart from the engine's and the checker's. */
#include "places.h"

#include <stdlib.h>

#define ENTRIES_MOST 4096u /* of a table that are looked at */

static uint64_t word_at(const struct sparse *file, uint64_t off)
{
	struct be64 word;

	sparse_read(file, off, &word, sizeof(word));
	return be64_get(word);
}

/* Each cluster of the range. */
static void add(struct places *p, enum place kind, uint64_t off, uint64_t bytes)
{
	uint64_t cluster = round_down(off, p->geo.cluster_bytes);

	for (; cluster < off + bytes; cluster += p->geo.cluster_bytes) {
		if (p->count[kind] == PLACES_MOST)
			return;
		p->at[kind][p->count[kind]++] = cluster;
	}
}

static void find_data(struct places *p, const struct sparse *file, uint64_t table)
{
	uint64_t entries = min_u64(p->geo.cluster_bytes / p->geo.l2_entry_bytes, ENTRIES_MOST);

	for (uint64_t i = 0; i < entries && p->count[PLACE_DATA] < PLACES_MOST; i++) {
		uint64_t word = word_at(file, table + i * p->geo.l2_entry_bytes);

		if (word & ENTRY_HOST_MASK)
			add(p, PLACE_DATA, word & ENTRY_HOST_MASK, 1);
	}
}

static void find_tables(struct places *p, const struct sparse *file, uint64_t l1, uint64_t entries,
			bool snapshot)
{
	for (uint64_t i = 0; i < min_u64(entries, ENTRIES_MOST); i++) {
		struct l1_entry table = l1_decode(&p->geo, word_at(file, l1 + i * 8));
		enum place kind = snapshot     ? PLACE_SNAPSHOT_L2 :
				  table.copied ? PLACE_TABLE :
						 PLACE_SHARED_TABLE;

		if (table.kind != L1_TABLE)
			continue;
		add(p, kind, table.host.byte, 1);
		find_data(p, file, table.host.byte);
	}
}

static void find_refcounts(struct places *p, const struct sparse *file,
			   const struct qcow2_header *header)
{
	uint64_t bytes = (uint64_t)header->refcount_table_clusters << p->geo.cluster_bits;

	add(p, PLACE_REFCOUNT_TABLE, header->refcount_table.byte, bytes);
	for (uint64_t i = 0; i < min_u64(bytes / 8, ENTRIES_MOST); i++) {
		struct host host;

		if (!refcount_table_decode(&p->geo,
					   word_at(file, header->refcount_table.byte + i * 8),
					   &host) &&
		    host.byte)
			add(p, PLACE_REFCOUNT_BLOCK, host.byte, 1);
	}
}

static void find_snapshots(struct places *p, const struct sparse *file,
			   const struct qcow2_header *header)
{
	static uint8_t entry[SNAPSHOT_FIXED_BYTES + LIMIT_SNAPSHOT_EXTRA + 2 * 65536];
	uint64_t at = header->snapshot_table.byte;

	for (uint32_t i = 0; i < min_u64(header->snapshots, 16); i++) {
		struct snapshot s;
		uint64_t len;

		sparse_read(file, at, entry, SNAPSHOT_FIXED_BYTES);
		len = snapshot_entry_bytes(entry);
		if (len > sizeof(entry))
			return;
		sparse_read(file, at, entry, len);
		if (snapshot_decode(&p->geo, entry, len, &s))
			return;
		add(p, PLACE_SNAPSHOT_TABLE, at, len);
		at += round_up(len, 8);
		if (s.faults & (SNAPSHOT_L1_MISALIGNED | SNAPSHOT_L1_TOO_LARGE))
			continue;
		add(p, PLACE_SNAPSHOT_L1, s.l1.byte, (uint64_t)s.l1_entries * 8);
		find_tables(p, file, s.l1.byte, s.l1_entries, true);
	}
}

static void find_bitmaps(struct places *p, const struct sparse *file,
			 const struct qcow2_header *header, const uint8_t *bytes)
{
	struct bitmap_directory directory;
	uint64_t at = 0;

	if (!header->bitmaps.len || !(header->autoclear & QCOW2_BITMAPS))
		return;
	directory = bitmap_directory_decode(bytes + header->bitmaps.off);
	add(p, PLACE_BITMAP, directory.host.byte, min_u64(directory.bytes, 65536));
	for (uint32_t i = 0; i < min_u64(directory.bitmaps, 16); i++) {
		uint8_t entry[BITMAP_FIXED_BYTES + LIMIT_BITMAP_NAME];
		uint64_t len = min_u64(sizeof(entry), directory.bytes - at);
		struct bitmap b;

		sparse_read(file, directory.host.byte + at, entry, len);
		if (bitmap_decode(&p->geo, entry, len, &b) || b.entry_bytes > directory.bytes - at)
			return;
		at += b.entry_bytes;
		add(p, PLACE_BITMAP, b.table.byte, (uint64_t)b.table_entries * 8);
		for (uint64_t k = 0; k < min_u64(b.table_entries, ENTRIES_MOST); k++) {
			struct host host;

			if (!bitmap_table_decode(&p->geo, word_at(file, b.table.byte + k * 8),
						 &host) &&
			    host.byte)
				add(p, PLACE_BITMAP, host.byte, 1);
		}
	}
}

void places_find(struct places *p, const struct sparse *file)
{
	static uint8_t bytes[QCOW2_HEADER_READ];
	uint64_t len = min_u64(file->size, sizeof(bytes));
	struct qcow2_header header;
	struct why why;

	memset(p, 0, sizeof(*p));
	sparse_read(file, 0, bytes, min_u64(len, 65536));
	if (qcow2_header_decode(bytes, len, "fuzz", &header, &why))
		return;
	p->valid = true;
	p->geo = qcow2_geometry(&header);
	p->disk_bytes = header.size_bytes;
	add(p, PLACE_HEADER, 0, 1);
	add(p, PLACE_L1, header.l1.byte, (uint64_t)header.l1_entries * 8);
	find_refcounts(p, file, &header);
	find_tables(p, file, header.l1.byte, header.l1_entries, false);
	find_snapshots(p, file, &header);
	find_bitmaps(p, file, &header, bytes);
}

bool places_has(const struct places *p, enum place kind, uint64_t cluster)
{
	for (unsigned i = 0; i < p->count[kind]; i++)
		if (p->at[kind][i] >> p->geo.cluster_bits == cluster)
			return true;
	return false;
}
