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
	uint64_t room;
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

/* What is no fault of an entry stays: in version 2 it may have less extra data. */
static void append(struct new_table *table, const struct snapshot_reader *reader)
{
	const struct snapshot *snapshot = &reader->snapshot;
	uint64_t kept = min_u64(snapshot->extra_bytes, LIMIT_SNAPSHOT_EXTRA);
	bool complete_it = snapshot->faults & SNAPSHOT_INCOMPLETE;
	uint64_t extra = complete_it ? SNAPSHOT_EXTRA_NEEDED : kept;
	uint64_t strings = snapshot->entry_bytes - SNAPSHOT_FIXED_BYTES - snapshot->extra_bytes;
	struct be32 raw = be32_make((uint32_t)extra);
	uint64_t off = round_up(table->len, 8);
	uint8_t *at = table->bytes + off;

	must(off + SNAPSHOT_FIXED_BYTES + extra + strings <= table->room);
	memcpy(at, reader->bytes, SNAPSHOT_FIXED_BYTES);
	memcpy(at + EXTRA_BYTES_AT, &raw, sizeof(raw));
	at += SNAPSHOT_FIXED_BYTES;
	memcpy(at, reader->bytes + SNAPSHOT_FIXED_BYTES, kept);
	if (complete_it)
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
	/* Nobody would read it, neither we nor QEMU. */
	if (!err && table->len > LIMIT_SNAPSHOT_TABLE_BYTES)
		err = why_set(check->why, -EFBIG,
			      "%s: cannot be repaired: its snapshot table would be larger than "
			      "%" PRIu64 " MiB",
			      check->file->name, (uint64_t)(LIMIT_SNAPSHOT_TABLE_BYTES / MIB));
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
	uint64_t longer = (uint64_t)check->bad_snapshots * SNAPSHOT_EXTRA_NEEDED;
	struct new_table table = { .room = check->snapshot_table_bytes + longer + 8 };
	int err;

	table.bytes = calloc(1, table.room);
	if (!table.bytes)
		return why_set(check->why, -ENOMEM, "%s: out of memory", check->file->name);
	err = build(check, &table);
	if (!err)
		err = place(check, &table);
	free(table.bytes);
	return err;
}
