/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The snapshot table, entry by entry (specification: "Snapshots"). */
#include "snapshot.h"

#include <errno.h>
#include <stdlib.h>

/* The longest entry with extra data of a length that is taken: id and name have 16-bit lengths. */
#define ENTRY_MOST (SNAPSHOT_FIXED_BYTES + LIMIT_SNAPSHOT_EXTRA + 2 * (64 * KIB))

/* What is in memory of the table, in whole sectors. */
#define WINDOW_BYTES round_up(ENTRY_MOST + SECTOR_SIZE, SECTOR_SIZE)

static int damaged(const struct snapshots *snapshots, struct why *why)
{
	return why_set(why, -EINVAL,
		       "%s: entry %u of its snapshot table is damaged; see qcow2-ublkd check",
		       snapshots->node->file->name, snapshots->number);
}

/*
 * At least @len bytes of the entry into memory; zeros where the file ends.  Entries are short, so what
 * is read at a time has many of them.
 */
static int read_bytes(struct snapshots *snapshots, uint64_t len, struct why *why)
{
	struct host_file *file = snapshots->node->file;
	uint64_t at = snapshots->at.byte;
	int64_t got;

	if (at < snapshots->start || at + len > snapshots->start + snapshots->there) {
		snapshots->start = round_down(at, SECTOR_SIZE);
		snapshots->there = WINDOW_BYTES;
		got = file->read(file, snapshots->window, WINDOW_BYTES, snapshots->start);
		if (got < 0)
			return why_set(why, (int)got, "%s: cannot read the snapshot table: %s",
				       file->name, strerror((int)-got));
		memset(snapshots->window + got, 0, WINDOW_BYTES - (uint64_t)got);
	}
	snapshots->bytes = snapshots->window + (at - snapshots->start);
	return 0;
}

int snapshots_begin(struct snapshots *snapshots, const struct node *node, struct why *why)
{
	*snapshots = (struct snapshots){ .node = node, .at = node->header.snapshot_table };
	snapshots->window = malloc(WINDOW_BYTES);
	if (!snapshots->window)
		return why_set(why, -ENOMEM, "%s: not enough memory", node->file->name);
	return 0;
}

int snapshots_next(struct snapshots *snapshots, struct why *why)
{
	uint64_t len, before = snapshots->at.byte - snapshots->node->header.snapshot_table.byte;
	int err;

	if (before > LIMIT_SNAPSHOT_TABLE_BYTES)
		return damaged(snapshots, why);
	err = read_bytes(snapshots, SNAPSHOT_FIXED_BYTES, why);
	if (err)
		return err;
	len = snapshot_entry_bytes(snapshots->bytes);
	if (len > ENTRY_MOST)
		return damaged(snapshots, why);
	err = read_bytes(snapshots, len, why);
	if (err)
		return err;
	if (snapshot_decode(&snapshots->node->geo, snapshots->bytes, len, &snapshots->entry))
		return damaged(snapshots, why);
	snapshots->at.byte += round_up(snapshots->entry.entry_bytes, 8);
	snapshots->number++;
	return 0;
}

void snapshots_end(struct snapshots *snapshots)
{
	free(snapshots->window);
}

static bool range_is(const struct snapshots *table, const struct header_range *range,
		     const char *text)
{
	return range->len == strlen(text) &&
	       memcmp(table->bytes + range->off, text, range->len) == 0;
}

/* An id is as good as a name, and comes first. */
static int find(struct snapshots *table, const char *wanted, struct snapshot *found,
		struct why *why)
{
	bool by_name = false;

	while (table->number < table->node->header.snapshots) {
		int err = snapshots_next(table, why);

		if (err)
			return err;
		if (range_is(table, &table->entry.id, wanted)) {
			*found = table->entry;
			return 0;
		}
		if (!by_name && range_is(table, &table->entry.name, wanted)) {
			*found = table->entry;
			by_name = true;
		}
	}
	if (by_name)
		return 0;
	return why_set(why, -ENOENT,
		       "%s: has no snapshot with the id or name %s; qcow2-ublkd info lists them",
		       table->node->file->name, wanted);
}

static int show(struct node *node, const struct snapshot *snapshot, const char *name,
		struct why *why)
{
	unsigned covered_bits = node->geo.cluster_bits + node->geo.l2_bits;
	uint64_t size = round_down(snapshot->disk_bytes, SECTOR_SIZE);
	uint64_t needed =
		(size >> covered_bits) + ((size & ((UINT64_C(1) << covered_bits) - 1)) ? 1 : 0);

	if (snapshot->faults & (SNAPSHOT_L1_MISALIGNED | SNAPSHOT_L1_TOO_LARGE) ||
	    needed > snapshot->l1_entries)
		return why_set(why, -EINVAL,
			       "%s: the L1 table of snapshot %s is damaged; see qcow2-ublkd check",
			       node->file->name, name);
	node->header.l1 = snapshot->l1;
	node->header.l1_entries = snapshot->l1_entries;
	node->header.size_bytes = size;
	node->geo = qcow2_geometry(&node->header);
	return 0;
}

int snapshot_choose(struct node *node, const char *wanted, struct why *why)
{
	struct snapshots table;
	struct snapshot found = { 0 };
	int err = snapshots_begin(&table, node, why);

	if (err)
		return err;
	err = find(&table, wanted, &found, why);
	snapshots_end(&table);
	return err ? err : show(node, &found, wanted, why);
}
