/* SPDX-License-Identifier: GPL-2.0-or-later */
/* COPIED flags: one walk over the active tables, to count wrong ones or to put them right. */
#include "copied.h"
#include "mapping.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

/* How the walk finds out whether a cluster's refcount is 1, and what it does about a wrong flag. */
struct copied_walk {
	struct check *check;
	bool fix;
};

/* @fixed: by the refcounts as they are once they are repaired. */
static bool is_single(const struct copied_walk *walk, struct host host, bool is_table, bool fixed)
{
	struct check *check = walk->check;
	uint64_t cluster = host_cluster(&check->g, host);

	/* In an external data file there are no refcounts, and every cluster is single. */
	if (!is_table && has_data_file(check))
		return true;
	if (fixed)
		return refs_count(&check->refs, cluster) == 1;
	return refs_stored_one(&check->refs, cluster);
}

/* True when the word was wrong; it is right then.  Unless the table is its @own, a repair leaves it wrong. */
static bool put_right(const struct copied_walk *walk, struct host host, bool is_table, bool own,
		      uint64_t *entry)
{
	bool single = is_single(walk, host, is_table, walk->fix);
	bool copied = *entry & ENTRY_COPIED;

	if (!walk->fix && !own && is_single(walk, host, is_table, true) != copied)
		walk->check->result->lasting++;
	if (single == copied)
		return false;
	if (!walk->fix)
		found_corruption(walk->check, 1, "ERROR entry %#" PRIx64 ": COPIED is %s", *entry,
				 single ? "missing" : "set, but the refcount is not 1");
	*entry ^= ENTRY_COPIED;
	return true;
}

static int note_fixed(const struct copied_walk *walk, uint64_t fixed, const char *table,
		      uint64_t off)
{
	found(walk->check, &walk->check->result->corruptions_fixed, fixed,
	      "Repaired %" PRIu64 " COPIED flags in the %s table at %#" PRIx64, fixed, table, off);
	return 0;
}

/* --- L2 ------------------------------------------------------------------------------------------ */

static int walk_l2(const struct copied_walk *walk, struct l2_table *table)
{
	struct check *check = walk->check;
	struct l2_view view;
	bool own = l2_table_is_own(check, table);
	uint64_t wrong = 0;
	int err = l2_view_read(check, table, &view);

	for (uint32_t i = 0; !err && i < view.entries; i++) {
		struct l2_word word = l2_view_get(check, &view, i);
		struct entry entry = entry_judge(&check->g, has_data_file(check), word);

		if (entry.kind != ENTRY_CLUSTER)
			continue;
		if (!put_right(walk, entry.host, false, own, &word.entry))
			continue;
		l2_view_set(check, &view, i, word);
		wrong++;
	}
	if (err || !walk->fix || !wrong || !own)
		return err;
	err = access_write(check->file, table->host.byte, view.bytes, check->g.cluster_bytes,
			   check->why);
	return err ? err : note_fixed(walk, wrong, "L2", table->host.byte);
}

static int walk_all_l2(const struct copied_walk *walk)
{
	struct l2_tables *tables = &walk->check->tables;
	int err = 0;

	for (uint32_t i = 0; i < tables->tables && !err; i++) {
		progress(walk->check, (uint64_t)tables->tables + i);
		if (tables->table[i].active && tables->table[i].host.byte)
			err = walk_l2(walk, &tables->table[i]);
	}
	return err;
}

/* --- L1 ------------------------------------------------------------------------------------------ */

static int walk_l1_part(const struct copied_walk *walk, bool own, uint64_t off, size_t len)
{
	struct check *check = walk->check;
	struct be64 *word = (struct be64 *)check->buffer;
	uint64_t wrong = 0;
	size_t present;
	int err = access_read(check->file, off, check->buffer, len, &present, check->why);

	if (!err && all_zero(check->buffer, present))
		return 0;
	for (size_t i = 0; !err && i < div_round_up(present, 8); i++) {
		uint64_t entry = be64_get(word[i]);
		struct host l2 = { entry & ENTRY_HOST_MASK };

		if (l2.byte && put_right(walk, l2, true, own, &entry)) {
			word[i] = be64_make(entry);
			wrong++;
		}
	}
	if (err || !walk->fix || !wrong)
		return err;
	err = access_write(check->file, off, check->buffer, len, check->why);
	return err ? err : note_fixed(walk, wrong, "L1", off);
}

static int walk_l1(const struct copied_walk *walk)
{
	const struct qcow2_header *header = &walk->check->header;
	uint64_t bytes = (uint64_t)header->l1_entries * 8;
	bool own = table_is_own(walk->check, header->l1.byte, bytes);
	int err = 0;

	if (walk->fix && !own)
		return 0;
	for (uint64_t off = 0; !err && off < bytes; off += ACCESS_PIECE)
		err = walk_l1_part(walk, own, header->l1.byte + off,
				   min_u64(bytes - off, ACCESS_PIECE));
	return err;
}

int copied_check(struct check *check)
{
	struct copied_walk walk = { .check = check };
	uint64_t before = check->result->corruptions;
	int err = walk_l1(&walk);

	if (!err)
		err = walk_all_l2(&walk);
	check->wrong_flags = check->result->corruptions - before;
	return err;
}

int copied_fix(struct check *check)
{
	struct copied_walk walk = { .check = check, .fix = true };
	int err = walk_l1(&walk);

	if (!err)
		err = walk_all_l2(&walk);
	return err ? err : access_sync(check->file, check->why);
}
