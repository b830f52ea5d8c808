/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * All metadata of an image, from what its header and tables say.
 *
 * Reads every L1 table once, the snapshots' included, and the tables of bitmaps; no L2 table.  What
 * a hostile image could make us read is bounded; beyond the bounds there is no protection, as
 * QEMU by default has none for the L2 tables of snapshots.
 */
#include "metadata.h"

#include "alloc.h"
#include "overlap.h"
#include "snapshot.h"

#include <errno.h>
#include <stdlib.h>

#define CHUNK_BYTES (64 * KIB)

/* Refcount tables that may follow one another: each is half as large again as the one before. */
#define TABLES_MOST 64u

struct finder {
	struct image *image;
	struct why *why;
	uint8_t *chunk; /* CHUNK_BYTES */
	uint64_t snapshot_bytes; /* of snapshots' L1 tables that may still be read */
	uint64_t bitmap_bytes; /* the same for bitmaps' tables */
};

static int corrupt(const struct finder *f, const char *what, struct host host, const char *how)
{
	return why_set(f->why, -EINVAL,
		       "%s: is corrupt: %s at %#llx %s; repair it with qcow2-ublkd check --repair "
		       "all, or use --read-only",
		       f->image->top.file->name, what, (unsigned long long)host.byte, how);
}

static int put(struct finder *f, const char *what, struct host host, uint64_t bytes,
	       enum overlap_kind kind)
{
	const struct geometry *geo = &f->image->top.geo;
	uint64_t first = host_cluster(geo, host);
	uint64_t end = host_cluster(geo, (struct host){ host.byte + bytes - 1 }) + 1;
	int err = bytes ? overlap_find(&f->image->overlap, first, end - first, kind) : 0;

	if (err == -EEXIST)
		return corrupt(f, what, host, "lies in other metadata");
	if (err)
		return why_set(f->why, err, "%s: not enough memory", f->image->top.file->name);
	return 0;
}

/* The same for what is written to: it has to begin in the file, which may end within it. */
static int put_in_file(struct finder *f, const char *what, struct host host, uint64_t bytes,
		       enum overlap_kind kind)
{
	const struct geometry *geo = &f->image->top.geo;
	uint64_t clusters = div_round_up(f->image->top.file->size, geo->cluster_bytes);
	int err;

	if (bytes && host_cluster(geo, host) >= clusters)
		return corrupt(f, what, host, "lies behind the end of the file");
	err = put(f, what, host, bytes, kind);
	if (!err && bytes)
		alloc_reaches(f->image, div_round_up(host.byte + bytes, geo->cluster_bytes));
	return err;
}

/* Up to a chunk of a table; zeros where the file ends. */
static int read_chunk(struct finder *f, const char *what, uint64_t off, uint64_t bytes)
{
	struct host_file *file = f->image->top.file;
	uint64_t want = round_up(bytes, SECTOR_SIZE);
	int64_t got = file->read(file, f->chunk, want, off);

	if (got < 0)
		return why_set(f->why, (int)got, "%s: cannot read %s: %s", file->name, what,
			       strerror((int)-got));
	memset(f->chunk + got, 0, want - (uint64_t)got);
	return 0;
}

/* May a table of @bytes bytes still be read?  When one is too much, so are all behind it. */
static bool take_budget(const struct finder *f, uint64_t *left, uint64_t bytes, const char *what)
{
	if (bytes > *left) {
		if (*left)
			log_info("%s: has so many or so large %s that not all of their tables are "
				 "protected",
				 f->image->top.file->name, what);
		*left = 0;
		return false;
	}
	*left -= bytes;
	return true;
}

static uint64_t chunk_word(const struct finder *f, uint64_t nth)
{
	struct be64 word;

	memcpy(&word, f->chunk + nth * sizeof(word), sizeof(word));
	return be64_get(word);
}

/* --- the active disk ----------------------------------------------------------------------------- */

/* Only tables with, or without, COPIED: those without may be shared by what is found meanwhile. */
static int find_tables(struct finder *f, bool copied)
{
	const struct node *node = &f->image->top;
	enum overlap_kind kind = copied ? OVERLAP_ALONE : OVERLAP_TABLE;
	int err = 0;

	for (uint32_t i = 0; i < node->l1_entries && !err; i++) {
		struct l1_entry table = l1_decode(&node->geo, be64_load(&node->l1[i]));

		if (table.kind == L1_TABLE && table.copied == copied)
			err = put_in_file(f, "an L2 table", table.host, node->geo.cluster_bytes,
					  kind);
	}
	return err;
}

static int find_refcounts(struct finder *f)
{
	const struct geometry *geo = &f->image->top.geo;
	const struct alloc *alloc = &f->image->alloc;
	int err = put_in_file(f, "the refcount table", alloc->table_host,
			      (uint64_t)alloc->table_clusters << geo->cluster_bits, OVERLAP_ALONE);

	for (uint64_t i = 0; i < alloc->table_entries && !err; i++) {
		struct host block;

		if (!refcount_table_decode(geo, be64_get(alloc->table[i]), &block) && block.byte)
			err = put_in_file(f, "a refcount block", block, geo->cluster_bytes,
					  OVERLAP_ALONE);
	}
	return err;
}

/* --- snapshots ----------------------------------------------------------------------------------- */

/* What the L1 table of a snapshot refers to. */
static int find_snapshot_tables(struct finder *f, const struct snapshot *snapshot, uint64_t bytes)
{
	const struct geometry *geo = &f->image->top.geo;
	int err = 0;

	for (uint64_t at = 0; at < bytes && !err; at += CHUNK_BYTES) {
		uint64_t len = min_u64(bytes - at, CHUNK_BYTES);

		err = read_chunk(f, "the L1 table of a snapshot", snapshot->l1.byte + at, len);
		for (uint64_t i = 0; i < len / sizeof(struct be64) && !err; i++) {
			struct l1_entry table = l1_decode(geo, chunk_word(f, i));

			if (table.kind == L1_TABLE)
				err = put(f, "an L2 table of a snapshot", table.host,
					  geo->cluster_bytes, OVERLAP_SNAPSHOT);
		}
	}
	return err;
}

static int find_snapshot(struct finder *f, const struct snapshot *snapshot)
{
	uint64_t bytes = (uint64_t)snapshot->l1_entries * sizeof(struct be64);
	int err;

	if (snapshot->faults & SNAPSHOT_INCOMPLETE)
		f->image->snapshots_incomplete = true;
	/* Nothing can be made of it, and nothing protected. */
	if (snapshot->faults & (SNAPSHOT_L1_MISALIGNED | SNAPSHOT_L1_TOO_LARGE))
		return 0;
	if (!take_budget(f, &f->snapshot_bytes, bytes, "snapshots"))
		return 0;
	err = put(f, "the L1 table of a snapshot", snapshot->l1, bytes, OVERLAP_ALONE);
	return err ? err : find_snapshot_tables(f, snapshot, bytes);
}

static int find_snapshots(struct finder *f)
{
	const struct node *node = &f->image->top;
	struct snapshots table;
	int err;

	if (!node->header.snapshots)
		return 0;
	err = snapshots_begin(&table, node, f->why);
	while (!err && table.number < node->header.snapshots) {
		err = snapshots_next(&table, f->why);
		if (!err)
			err = find_snapshot(f, &table.entry);
	}
	if (!err)
		err = put(f, "the snapshot table", node->header.snapshot_table,
			  table.at.byte - node->header.snapshot_table.byte, OVERLAP_ALONE);
	snapshots_end(&table);
	return err;
}

/* --- bitmaps ------------------------------------------------------------------------------------- */

static int find_bitmap(struct finder *f, const struct bitmap *bitmap)
{
	const struct geometry *geo = &f->image->top.geo;
	uint64_t bytes = (uint64_t)bitmap->table_entries * sizeof(struct be64);
	int err;

	if (!take_budget(f, &f->bitmap_bytes, bytes, "bitmaps"))
		return 0;
	err = put(f, "the table of a bitmap", bitmap->table, bytes, OVERLAP_ALONE);
	for (uint64_t at = 0; at < bytes && !err; at += CHUNK_BYTES) {
		uint64_t len = min_u64(bytes - at, CHUNK_BYTES);

		err = read_chunk(f, "the table of a bitmap", bitmap->table.byte + at, len);
		for (uint64_t i = 0; i < len / sizeof(struct be64) && !err; i++) {
			struct host host;

			if (!bitmap_table_decode(geo, chunk_word(f, i), &host) && host.byte)
				err = put(f, "a cluster of a bitmap", host, geo->cluster_bytes,
					  OVERLAP_ALONE);
		}
	}
	return err;
}

/* All bitmaps of the directory, which is in memory; a damaged entry is for bitmaps_mark() to judge. */
static int find_all_bitmaps(struct finder *f, const uint8_t *bytes)
{
	const struct bitmap_directory *directory = &f->image->top.bitmaps;
	uint64_t at = 0;
	int err = 0;

	for (uint32_t i = 0; i < directory->bitmaps && !err; i++) {
		struct bitmap bitmap;

		if (bitmap_decode(&f->image->top.geo, bytes + at, directory->bytes - at, &bitmap) ||
		    bitmap.entry_bytes > directory->bytes - at)
			return 0;
		err = find_bitmap(f, &bitmap);
		at += bitmap.entry_bytes;
	}
	return err;
}

/* Without the feature's bit, whatever the header says of bitmaps is not to be believed. */
static int find_bitmaps(struct finder *f)
{
	const struct node *node = &f->image->top;
	const struct bitmap_directory *directory = &node->bitmaps;
	struct host_file *file = node->file;
	uint64_t len = round_up(directory->bytes, SECTOR_SIZE);
	uint8_t *bytes;
	int64_t got;
	int err;

	if (!directory->bitmaps || !(node->header.autoclear & QCOW2_BITMAPS) ||
	    directory->bytes > LIMIT_BITMAP_DIRECTORY_BYTES)
		return 0;
	err = put(f, "the bitmap directory", directory->host, directory->bytes, OVERLAP_ALONE);
	if (err)
		return err;
	bytes = calloc(1, len);
	if (!bytes)
		return why_set(f->why, -ENOMEM, "%s: not enough memory", file->name);
	got = file->read(file, bytes, len, directory->host.byte);
	if (got < 0)
		err = why_set(f->why, (int)got, "%s: cannot read the bitmap directory: %s",
			      file->name, strerror((int)-got));
	else
		err = find_all_bitmaps(f, bytes);
	free(bytes);
	return err;
}

/* --- all ----------------------------------------------------------------------------------------- */

/* Room for all tables and refcount blocks that may be made while the image is open. */
static int reserve_room(const struct finder *f)
{
	const struct geometry *geo = &f->image->top.geo;
	uint64_t blocks = (f->image->alloc.limit >> geo->refcount_block_bits) + 1;
	uint64_t table_words = (LIMIT_REFCOUNT_TABLE_BYTES >> geo->cluster_bits) / 64 + 3;
	uint64_t l1_words = f->image->arena.l1_room / geo->cluster_bytes / 64 + 3;
	uint64_t words = f->image->arena.l1_room / sizeof(struct be64) +
			 min_u64(blocks, LIMIT_REFCOUNT_TABLE_BYTES / sizeof(struct be64)) +
			 TABLES_MOST * table_words + RESIZE_MOVES_MOST * l1_words;

	if (overlap_reserve(&f->image->overlap, words))
		return why_set(f->why, -ENOMEM, "%s: not enough memory", f->image->top.file->name);
	return 0;
}

static int find_all(struct finder *f)
{
	const struct node *node = &f->image->top;
	uint64_t l1_bytes = (uint64_t)node->l1_entries * sizeof(*node->l1);
	int err = put(f, "the header", (struct host){ 0 }, node->geo.cluster_bytes, OVERLAP_ALONE);

	if (!err)
		err = put(f, "the encryption header", node->crypto.host, node->crypto.bytes,
			  OVERLAP_ALONE);
	if (!err)
		err = find_refcounts(f);
	if (!err)
		err = put_in_file(f, "the L1 table", node->header.l1, l1_bytes, OVERLAP_ALONE);
	if (!err)
		err = find_tables(f, true);
	if (!err)
		err = find_bitmaps(f);
	if (!err)
		err = find_snapshots(f);
	if (!err)
		err = find_tables(f, false);
	return err ? err : reserve_room(f);
}

int metadata_find(struct image *image, struct why *why)
{
	struct finder finder = {
		.image = image,
		.why = why,
		.chunk = malloc(CHUNK_BYTES),
		.snapshot_bytes = LIMIT_SNAPSHOT_L1_READ,
		.bitmap_bytes = LIMIT_BITMAP_TABLES_READ,
	};
	int err;

	if (!finder.chunk || overlap_open(&image->overlap)) {
		free(finder.chunk);
		return why_set(why, -ENOMEM, "%s: not enough memory", image->top.file->name);
	}
	err = find_all(&finder);
	free(finder.chunk);
	return err;
}
