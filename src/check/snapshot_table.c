/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rewriting the snapshot table: entries change their length, so it is a new one. */
#include "snapshot_table.h"
#include "refcounts.h"
#include "snapshots.h"
#include "space.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#define EXTRA_BYTES_AT 36u /* in the entry: be32 */

struct new_table {
	uint8_t *bytes;
	uint64_t len; /* without padding */
};

/* The extra data that every entry of version 3 has. */
static void complete(uint8_t *extra, const struct snapshot *snapshot)
{
	struct be64 raw[2] = {
		be64_make(snapshot->vm_state_bytes),
		be64_make(snapshot->disk_bytes),
	};

	memcpy(extra, raw, sizeof(raw));
}

/* At most SNAPSHOT_ENTRY_MOST bytes, and room for them is there. */
static void append(struct new_table *table, const struct snapshot_reader *reader)
{
	const struct snapshot *snapshot = &reader->snapshot;
	uint64_t kept = min_u64(snapshot->extra_bytes, LIMIT_SNAPSHOT_EXTRA);
	uint64_t extra = max_u64(kept, SNAPSHOT_EXTRA_NEEDED);
	uint64_t strings = snapshot->entry_bytes - SNAPSHOT_FIXED_BYTES - snapshot->extra_bytes;
	struct be32 raw = be32_make((uint32_t)extra);
	uint8_t *entry = table->bytes + round_up(table->len, 8), *at = entry;

	memcpy(at, reader->bytes, SNAPSHOT_FIXED_BYTES);
	memcpy(at + EXTRA_BYTES_AT, &raw, sizeof(raw));
	at += SNAPSHOT_FIXED_BYTES;
	memcpy(at, reader->bytes + SNAPSHOT_FIXED_BYTES, kept);
	if (kept < SNAPSHOT_EXTRA_NEEDED)
		complete(at, snapshot);
	at += extra;
	memcpy(at, reader->bytes + SNAPSHOT_FIXED_BYTES + kept, strings);
	table->len = (uint64_t)(at + strings - table->bytes);
}

static int build(struct check *check, struct new_table *table)
{
	struct snapshot_reader reader;
	int err = snapshot_reader_init(&reader, check->file, &check->g,
				       check->header.snapshot_table, check->why);

	for (unsigned i = 0; i < check->header.snapshots && !err; i++) {
		err = snapshot_reader_next(&reader, check->why);
		if (!err)
			append(table, &reader);
	}
	snapshot_reader_release(&reader);
	return err;
}

static int write_table(struct check *check, const struct new_table *table, uint64_t host)
{
	int err = access_write(check->file, host, table->bytes, table->len, check->why);

	return err ? err : access_sync(check->file, check->why);
}

static int switch_header(struct check *check, uint64_t host)
{
	struct be64 raw = be64_make(host);
	int err = access_write(check->file, QCOW2_AT_SNAPSHOTS + 4, &raw, sizeof(raw), check->why);

	return err ? err : access_sync(check->file, check->why);
}

static int place(struct check *check, const struct new_table *table)
{
	uint64_t clusters = div_round_up(table->len, check->g.cluster_bytes), first;
	int err = space_take(check, clusters, &first);
	bool covered = true;

	for (uint64_t i = 0; !err && i < clusters; i++)
		covered &= refcounts_cover(check, first + i);
	if (!err)
		err = write_table(check, table, first << check->g.cluster_bits);
	if (!err)
		err = check->rebuild || check->rebuild_all || !covered ? refcounts_rebuild(check) :
									 refcounts_fix(check, true);
	if (!err)
		err = switch_header(check, first << check->g.cluster_bits);
	if (!err)
		found(check, &check->result->corruptions_fixed, check->bad_snapshots,
		      "Repaired %u entries of the snapshot table", check->bad_snapshots);
	return err;
}

int snapshot_table_rewrite(struct check *check)
{
	uint64_t most = check->snapshot_table_bytes +
			(uint64_t)check->bad_snapshots * (SNAPSHOT_EXTRA_NEEDED + 8) + 8;
	struct new_table table = { .bytes = calloc(1, most) };
	int err;

	if (!table.bytes)
		return why_set(check->why, -ENOMEM, "%s: out of memory", check->file->name);
	err = build(check, &table);
	if (!err)
		err = place(check, &table);
	free(table.bytes);
	return err;
}
