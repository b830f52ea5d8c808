/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One round of the check.  Everything that may refer to a host cluster is visited here, in the
 * order of the specification's "Host cluster management"; only then are refcounts looked at.
 */
#include "survey.h"
#include "bitmaps.h"
#include "copied.h"
#include "mapping.h"
#include "refcounts.h"
#include "snapshots.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

void survey_release(struct check *check)
{
	refs_free(&check->refs);
	mapping_free(&check->tables);
	free(check->block);
	free(check->buffer);
	check->block = NULL;
	check->buffer = NULL;
}

/* --- the header ---------------------------------------------------------------------------------- */

static void decode_extensions(struct check *check, const uint8_t *bytes)
{
	const struct qcow2_header *header = &check->header;

	if (header->bitmaps.len && header->autoclear & QCOW2_BITMAPS)
		check->bitmaps = bitmap_directory_decode(bytes + header->bitmaps.off);
	if (header->crypto.len)
		check->crypto = crypto_area_decode(bytes + header->crypto.off);
}

static int read_header(struct check *check)
{
	uint8_t start[QCOW2_HEADER_START], *bytes;
	size_t len;
	int err = access_read(check->file, 0, start, sizeof(start), &len, check->why);

	if (err)
		return err;
	/* So that a damaged size of clusters is complained of, and not a file that is too short. */
	len = min_u64(check->file_bytes, max_u64(qcow2_header_most(start), ACCESS_PIECE));
	bytes = malloc(len + 1);
	if (!bytes)
		return why_set(check->why, -ENOMEM, "%s: out of memory", check->file->name);
	err = access_read(check->file, 0, bytes, len, &len, check->why);
	if (!err)
		err = qcow2_header_decode_damaged(bytes, len, check->file->name, &check->header,
						  check->why);
	if (!err)
		decode_extensions(check, bytes);
	free(bytes);
	return err;
}

static int begin(struct check *check)
{
	int err = access_measure(check->file, &check->file_bytes, check->why);

	if (!err)
		err = read_header(check);
	if (err)
		return err;
	check->g = qcow2_geometry(&check->header);
	check->uncounted_byte = LIMIT_HOST_OFFSET;
	check->buffer = malloc(max_u64(check->g.cluster_bytes, BUFFER_LEAST));
	if (!check->buffer)
		return why_set(check->why, -ENOMEM, "%s: out of memory", check->file->name);
	check->result->total_clusters =
		div_round_up(check->header.size_bytes, check->g.cluster_bytes);
	if (check->crypto.bytes > LIMIT_CRYPTO_BYTES)
		return why_set(check->why, -EINVAL,
			       "%s: the LUKS header is larger than %" PRIu64 " MiB",
			       check->file->name, (uint64_t)(LIMIT_CRYPTO_BYTES / MIB));
	err = count_table(check, 0, check->g.cluster_bytes, 1);
	if (!err)
		err = count_table(check, check->crypto.host.byte, check->crypto.bytes, 1);
	return err;
}

/* --- snapshots ----------------------------------------------------------------------------------- */

static int check_snapshot_place(struct check *check)
{
	const struct qcow2_header *header = &check->header;

	if (header->snapshots > LIMIT_SNAPSHOTS)
		return why_set(check->why, -EFBIG, "%s: %u snapshots are more than %u",
			       check->file->name, header->snapshots, LIMIT_SNAPSHOTS);
	if (!is_aligned(header->snapshot_table.byte, check->g.cluster_bytes) ||
	    header->snapshot_table.byte > (uint64_t)INT64_MAX - LIMIT_SNAPSHOT_TABLE_BYTES)
		return why_set(check->why, -EINVAL,
			       "%s: the snapshot table at %#" PRIx64 " is out of place",
			       check->file->name, header->snapshot_table.byte);
	return 0;
}

static int count_snapshot(struct check *check, const struct snapshot *snapshot, unsigned index,
			  struct ranges *l1)
{
	if (snapshot->faults & SNAPSHOT_EXTRA_TOO_LARGE &&
	    check->options->repair != CHECK_REPAIR_ALL)
		return why_set(check->why, -EINVAL,
			       "%s: snapshot %u has too much extra data; repair with --repair all",
			       check->file->name, index);
	if (snapshot->faults & (SNAPSHOT_INCOMPLETE | SNAPSHOT_EXTRA_TOO_LARGE)) {
		check->bad_snapshots++;
		found_corruption(check, 1, "ERROR snapshot %u: its entry is %s", index,
				 snapshot->faults & SNAPSHOT_INCOMPLETE ? "incomplete" :
									  "too long");
	}
	if (snapshot->faults & (SNAPSHOT_L1_MISALIGNED | SNAPSHOT_L1_TOO_LARGE)) {
		found_lasting(check, 1, "ERROR snapshot %u: its L1 table is %s", index,
			      snapshot->faults & SNAPSHOT_L1_MISALIGNED ?
				      "not aligned to a cluster" :
				      "too large");
		check->out_of_reach = true;
		return 0;
	}
	return collect_table(check, l1, snapshot->l1.byte, (uint64_t)snapshot->l1_entries * 8);
}

static int count_snapshots(struct check *check)
{
	const struct qcow2_header *header = &check->header;
	struct snapshot_reader reader;
	struct ranges l1 = { 0 };
	int err = check_snapshot_place(check);

	if (!err)
		err = snapshot_reader_init(&reader, check->file, &check->g, header->snapshot_table,
					   check->why);
	if (err)
		return err;
	if (header->snapshots && has_data_file(check))
		found_lasting(check, 1, "ERROR %u snapshots, but an external data file",
			      header->snapshots);
	for (unsigned i = 0; i < header->snapshots && !err; i++) {
		err = snapshot_reader_next(&reader, check->why);
		if (!err)
			err = count_snapshot(check, &reader.snapshot, i, &l1);
	}
	check->snapshot_table_bytes = reader.end;
	snapshot_reader_release(&reader);
	if (!err)
		err = mapping_add_snapshots(check, &l1);
	ranges_free(&l1);
	return err ? err : count_movable_table(check, header->snapshot_table.byte, reader.end);
}

/* --- bitmaps ------------------------------------------------------------------------------------- */

static int count_bitmap_cluster(struct check *check, uint64_t entry, uint32_t times)
{
	struct host host;

	if (bitmap_table_decode(&check->g, entry, &host))
		return why_set(check->why, -EINVAL,
			       "%s: entry %#" PRIx64 " of the table of a bitmap is damaged",
			       check->file->name, entry);
	return host.byte ? count_table(check, host.byte, check->g.cluster_bytes, times) : 0;
}

/* Entries of the table of a bitmap, or of several that lie in each other. */
static int count_bitmap_entries(void *arg, uint64_t host, uint64_t bytes, uint32_t times)
{
	struct check *check = arg;
	int err = 0;

	for (uint64_t off = 0; !err; off += ACCESS_PIECE) {
		size_t present;

		err = go_on(check);
		off = access_next_piece(check->file, host, off, bytes);
		if (err || off == bytes)
			break;
		err = access_read(check->file, host + off, check->buffer,
				  min_u64(bytes - off, ACCESS_PIECE), &present, check->why);
		if (!err && all_zero(check->buffer, present))
			continue;
		for (size_t at = 0; !err && at < present; at += 8)
			err = count_bitmap_cluster(check,
						   be64_get(*(struct be64 *)(check->buffer + at)),
						   times);
	}
	return err;
}

static int count_bitmaps(struct check *check)
{
	struct bitmap_reader reader = {
		.file = check->file,
		.g = &check->g,
		.directory = check->bitmaps,
	};
	struct ranges tables = { 0 };
	int more, err;

	if (check->bitmaps.bitmaps == 0)
		return 0;
	err = count_table(check, check->bitmaps.host.byte, check->bitmaps.bytes, 1);
	while (!err && (more = bitmap_reader_next(&reader, check->why)) != 0)
		err = more < 0 ? more :
				 collect_table(check, &tables, reader.bitmap.table.byte,
					       (uint64_t)reader.bitmap.table_entries * 8);
	if (!err)
		err = count_collected(check, &tables);
	if (!err)
		err = ranges_walk(&tables, sizeof(struct be64), count_bitmap_entries, check);
	ranges_free(&tables);
	return err == -ENOMEM ? count_no_memory(check) : err;
}

/* --- all ----------------------------------------------------------------------------------------- */

int survey(struct check *check)
{
	static int (*const step[])(struct check * check) = {
		begin,	       mapping_add_active, count_snapshots,   mapping_count,
		count_bitmaps, refcounts_read,	   refcounts_compare, copied_check,
	};
	struct check fresh = {
		.file = check->file,
		.options = check->options,
		.result = check->result,
		.why = check->why,
	};
	int err = 0;

	survey_release(check);
	*check = fresh;
	check->refs.most_bytes = check_memory(check);
	for (size_t i = 0; i < ARRAY_SIZE(step) && !err; i++)
		err = step[i](check);
	return err;
}
