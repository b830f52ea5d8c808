/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The snapshot table, entry by entry (specification: "Snapshots"). */
#include "snapshot.h"

#include <errno.h>
#include <stdlib.h>

/* The longest entry with extra data of a length that is taken: id and name have 16-bit lengths. */
#define ENTRY_MOST (SNAPSHOT_FIXED_BYTES + LIMIT_SNAPSHOT_EXTRA + 2 * (64 * KIB))

struct table {
	const struct node *node;
	struct host at; /* of the next entry */
	uint8_t *bytes; /* of the entry, ENTRY_MOST */
	struct snapshot entry;
};

static int damaged(const struct table *table, unsigned number, struct why *why)
{
	return why_set(why, -EINVAL,
		       "%s: entry %u of its snapshot table is damaged; see qcow2-ublkd check",
		       table->node->file->name, number);
}

/* Zeros where the file ends. */
static int read_bytes(const struct table *table, uint64_t len, struct why *why)
{
	struct host_file *file = table->node->file;
	int64_t got = file->read(file, table->bytes, len, table->at.byte);

	if (got < 0)
		return why_set(why, (int)got, "%s: cannot read the snapshot table: %s", file->name,
			       strerror((int)-got));
	memset(table->bytes + got, 0, len - (uint64_t)got);
	return 0;
}

static int read_entry(struct table *table, unsigned number, struct why *why)
{
	uint64_t len;
	int err = read_bytes(table, SNAPSHOT_FIXED_BYTES, why);

	if (err)
		return err;
	len = snapshot_entry_bytes(table->bytes);
	if (len > ENTRY_MOST)
		return damaged(table, number, why);
	err = read_bytes(table, len, why);
	if (err)
		return err;
	if (snapshot_decode(&table->node->geo, table->bytes, len, &table->entry))
		return damaged(table, number, why);
	table->at.byte += round_up(table->entry.entry_bytes, 8);
	return 0;
}

static bool range_is(const struct table *table, const struct header_range *range, const char *text)
{
	return range->len == strlen(text) &&
	       memcmp(table->bytes + range->off, text, range->len) == 0;
}

/* An id is as good as a name, and comes first. */
static int find(struct table *table, const char *wanted, struct snapshot *found, struct why *why)
{
	const struct qcow2_header *header = &table->node->header;
	bool by_name = false;

	for (unsigned i = 0; i < header->snapshots; i++) {
		int err = read_entry(table, i, why);

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
	struct table table = { .node = node, .at = node->header.snapshot_table };
	struct snapshot found;
	int err;

	table.bytes = malloc(ENTRY_MOST);
	if (!table.bytes)
		return why_set(why, -ENOMEM, "%s: not enough memory", node->file->name);
	err = find(&table, wanted, &found, why);
	free(table.bytes);
	return err ? err : show(node, &found, wanted, why);
}
