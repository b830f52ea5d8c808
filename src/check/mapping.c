/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The mapping tables.  An L2 table that many snapshots share is read once: first all L1 tables are
 * read, and paths to each L2 table counted; then every L2 table counts for all of its paths.
 */
#include "mapping.h"
#include "hash.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#define INDEX_LEAST 1024u

/* --- the collection of L2 tables ----------------------------------------------------------------- */

void mapping_free(struct l2_tables *tables)
{
	free(tables->table);
	free(tables->index);
	*tables = (struct l2_tables){ 0 };
}

static uint32_t *find_slot(const struct l2_tables *tables, struct host host)
{
	uint32_t slot =
		hash_slot(tables->multiplier, host.byte >> SECTOR_SHIFT, tables->index_mask);

	while (tables->index[slot] && tables->table[tables->index[slot] - 1].host.byte != host.byte)
		slot = (slot + 1) & tables->index_mask;
	return &tables->index[slot];
}

struct l2_table *mapping_find(struct check *check, struct host host)
{
	const struct l2_tables *tables = &check->tables;
	uint32_t *slot = tables->index ? find_slot(tables, host) : NULL;

	return slot && *slot ? &tables->table[*slot - 1] : NULL;
}

/* Room for twice as many, with an index that is at most half full. */
static int grow(struct l2_tables *tables, uint64_t most_bytes)
{
	uint32_t room = tables->room ? 2 * tables->room : INDEX_LEAST;
	struct l2_table *table = NULL;
	uint32_t *index;

	if (room * sizeof(*table) > most_bytes)
		return -ENOMEM;
	index = calloc(2 * (size_t)room, sizeof(*index));
	if (index)
		table = realloc(tables->table, room * sizeof(*table));
	if (!table) {
		free(index);
		return -ENOMEM;
	}
	if (!tables->index)
		tables->multiplier = hash_multiplier();
	free(tables->index);
	tables->table = table;
	tables->room = room;
	tables->index = index;
	tables->index_mask = 2 * room - 1;
	for (uint32_t i = 0; i < tables->tables; i++)
		*find_slot(tables, table[i].host) = i + 1;
	return 0;
}

static int add_table(struct check *check, struct host host, uint32_t paths, bool active)
{
	struct l2_tables *tables = &check->tables;
	struct l2_table *table = mapping_find(check, host);

	if (!table) {
		if (tables->tables == tables->room && grow(tables, check_memory(check) / 4))
			return count_no_memory(check);
		table = &tables->table[tables->tables++];
		*table = (struct l2_table){ .host = host };
		*find_slot(tables, host) = tables->tables;
	}
	table->paths = (uint32_t)min_u64((uint64_t)table->paths + paths, REF_COUNT_MOST);
	table->active |= active;
	return 0;
}

/* --- L1 ------------------------------------------------------------------------------------------ */

static int add_l1_entry(struct check *check, uint64_t entry, uint32_t paths, bool active)
{
	struct host l2 = { entry & ENTRY_HOST_MASK };

	if (entry & L1_RESERVED)
		found_lasting(check, paths, "ERROR L1 entry %#" PRIx64 ": reserved bits are set",
			      entry);
	if (!is_aligned(l2.byte, check->g.cluster_bytes))
		found_lasting(check, paths,
			      "ERROR L1 entry %#" PRIx64 ": the L2 table is not aligned to a "
			      "cluster",
			      entry);
	return add_table(check, l2, paths, active);
}

/* Entries of an L1 table, or of several that lie in each other. */
static int add_l1_entries(struct check *check, uint64_t host, uint64_t bytes, uint32_t paths,
			  bool active)
{
	int err = 0;

	/* Behind the end of the file all entries are 0. */
	bytes = min_u64(bytes, check->file_bytes - min_u64(check->file_bytes, host));
	/* What is missing of an entry that the end cuts through is 0 as well. */
	bytes = round_up(bytes, sizeof(struct be64));
	for (uint64_t off = 0; !err; off += ACCESS_PIECE) {
		size_t present;

		err = go_on(check);
		/* The active one is small, and file systems have been wrong about fresh holes. */
		off = active ? min_u64(off, bytes) :
			       access_next_piece(check->file, host, off, bytes);
		if (err || off == bytes)
			break;
		err = access_read(check->file, host + off, check->buffer,
				  min_u64(bytes - off, ACCESS_PIECE), &present, check->why);
		if (!err && all_zero(check->buffer, present))
			present = 0;
		for (size_t at = 0; !err && at < present; at += 8) {
			uint64_t entry = be64_get(*(struct be64 *)(check->buffer + at));

			if (entry)
				err = add_l1_entry(check, entry, paths, active);
		}
	}
	return err;
}

int mapping_add_active(struct check *check)
{
	struct host l1 = check->header.l1;
	uint64_t bytes = (uint64_t)check->header.l1_entries * 8;
	int err = count_table(check, l1.byte, bytes, 1);

	note_reach(check, l1.byte, bytes);
	return err ? err : add_l1_entries(check, l1.byte, bytes, 1, true);
}

static int add_stretch(void *arg, uint64_t off, uint64_t len, uint32_t times)
{
	return add_l1_entries(arg, off, len, times, false);
}

int mapping_add_snapshots(struct check *check, const struct ranges *l1)
{
	int err = count_collected(check, l1);

	if (!err)
		err = ranges_walk(l1, sizeof(struct be64), add_stretch, check);
	return err == -ENOMEM ? count_no_memory(check) : err;
}

/* --- L2 ------------------------------------------------------------------------------------------ */

int l2_view_read(struct check *check, struct l2_table *table, struct l2_view *view)
{
	size_t present = 0;
	int err = go_on(check);

	/* A table behind the end has no entries, and must not cost anything: there can be millions. */
	if (!err && table->host.byte < check->file_bytes)
		err = access_read(check->file, table->host.byte, check->buffer,
				  check->g.cluster_bytes, &present, check->why);
	if (!err && all_zero(check->buffer, present))
		present = 0;
	*view = (struct l2_view){
		.table = table,
		.bytes = check->buffer,
		.entries = (uint32_t)div_round_up(present, check->g.l2_entry_bytes),
	};
	return err;
}

struct l2_word l2_view_get(const struct check *check, const struct l2_view *view, uint32_t index)
{
	const struct be64 *word =
		(const struct be64 *)(view->bytes + (size_t)index * check->g.l2_entry_bytes);

	return (struct l2_word){
		.entry = be64_get(word[0]),
		.bitmap = check->g.extended ? be64_get(word[1]) : 0,
	};
}

void l2_view_set(const struct check *check, struct l2_view *view, uint32_t index,
		 struct l2_word word)
{
	struct be64 *raw = (struct be64 *)(view->bytes + (size_t)index * check->g.l2_entry_bytes);

	raw[0] = be64_make(word.entry);
	if (check->g.extended)
		raw[1] = be64_make(word.bitmap);
}

bool l2_table_is_own(struct check *check, const struct l2_table *table)
{
	uint64_t cluster = host_cluster(&check->g, table->host);

	if (!table_is_own(check, table->host.byte, check->g.cluster_bytes))
		return false;
	return !table->damaged || refs_count(&check->refs, cluster) == table->paths;
}

/* Statistics about the guest's disk; *@next is where the next cluster would follow, or 0. */
static void note_fragment(struct check_result *result, const struct entry *entry, uint64_t *next,
			  uint32_t cluster_bytes)
{
	if (entry->kind == ENTRY_STREAM) {
		result->allocated_clusters++;
		result->compressed_clusters++;
		result->fragmented_clusters++;
	} else if (entry->kind == ENTRY_CLUSTER) {
		result->allocated_clusters++;
		result->fragmented_clusters += *next && entry->host.byte != *next;
		*next = entry->host.byte + cluster_bytes;
	}
}

/* A fault counts for each path that leads to it. */
static uint64_t fault_times(const struct l2_table *table, unsigned faults)
{
	return (uint64_t)(unsigned)__builtin_popcount(faults) * table->paths;
}

/* True when a repair will change the entry, and so what it refers to. */
static bool note_faults(struct check *check, const struct l2_table *table, struct l2_word word,
			unsigned faults)
{
	bool mendable;

	found_corruption(check, fault_times(table, faults),
			 "ERROR L2 entry %#" PRIx64 " (subclusters %#" PRIx64 "): %s", word.entry,
			 word.bitmap, entry_fault_text(faults));
	mendable = entry_mend(&check->g, has_data_file(check), &word);
	check->mendable += mendable;
	faults = entry_judge(&check->g, has_data_file(check), word).faults;
	check->result->lasting += fault_times(table, faults);
	return mendable;
}

/*
 * Tables that begin in each sector of a file have far more entries than the file has bytes; and also in a
 * hole each of them has to be read.
 */
static int note_misaligned(struct check *check, const struct l2_table *table)
{
	if (table->host.byte >= check->file_bytes ||
	    is_aligned(table->host.byte, check->g.cluster_bytes))
		return 0;
	check->misaligned_bytes += check->g.cluster_bytes;
	if (check->misaligned_bytes <= LIMIT_CHECK_MISALIGNED)
		return 0;
	return why_set(check->why, -EINVAL,
		       "%s: the L1 tables name too many L2 tables that are not aligned to a cluster",
		       check->file->name);
}

static int count_entry(struct check *check, const struct l2_table *table, struct l2_word word,
		       uint64_t *next)
{
	struct entry entry = entry_judge(&check->g, has_data_file(check), word);
	uint64_t lasting;
	bool mendable = entry.faults && note_faults(check, table, word, entry.faults);
	int err;

	if (table->active && (entry.len || has_data_file(check)))
		note_fragment(check->result, &entry, next, check->g.cluster_bytes);
	lasting = check->result->lasting;
	err = count_range(check, entry.host.byte, entry.len, table->paths);
	if (mendable)
		check->result->lasting = lasting;
	return err;
}

static int count_l2(struct check *check, struct l2_table *table)
{
	struct l2_view view = { 0 };
	uint64_t next = 0, before = check->result->corruptions, mendable = check->mendable;
	int err = count_table(check, table->host.byte, check->g.cluster_bytes, table->paths);

	if (!err)
		err = note_misaligned(check, table);
	if (!err)
		err = l2_view_read(check, table, &view);
	for (uint32_t i = 0; !err && i < view.entries; i++) {
		struct l2_word word = l2_view_get(check, &view, i);

		if (word.entry | word.bitmap)
			err = count_entry(check, table, word, &next);
	}
	table->damaged = check->result->corruptions != before;
	table->mendable = check->mendable != mendable;
	return err;
}

int mapping_count(struct check *check)
{
	struct l2_tables *tables = &check->tables;
	int err = 0;

	for (uint32_t i = 0; i < tables->tables && !err; i++) {
		progress(check, i);
		err = count_l2(check, &tables->table[i]);
	}
	return err;
}

/* --- mending ------------------------------------------------------------------------------------- */

void mapping_note_lasting(struct check *check)
{
	struct l2_tables *tables = &check->tables;

	for (uint32_t i = 0; check->mendable && i < tables->tables; i++)
		if (tables->table[i].mendable && !l2_table_is_own(check, &tables->table[i]))
			check->result->lasting++;
}

static int mend_l2(struct check *check, struct l2_table *table)
{
	struct l2_view view;
	uint64_t mended = 0;
	int err = l2_view_read(check, table, &view);

	for (uint32_t i = 0; !err && i < view.entries; i++) {
		struct l2_word word = l2_view_get(check, &view, i);

		if (!entry_mend(&check->g, has_data_file(check), &word))
			continue;
		l2_view_set(check, &view, i, word);
		mended++;
	}
	if (err || !mended)
		return err;
	err = access_write(check->file, table->host.byte, view.bytes, check->g.cluster_bytes,
			   check->why);
	if (!err)
		found(check, &check->result->corruptions_fixed, mended,
		      "Repaired %" PRIu64 " entries of the L2 table at %#" PRIx64, mended,
		      table->host.byte);
	return err;
}

int mapping_mend(struct check *check)
{
	struct l2_tables *tables = &check->tables;
	int err = 0;

	for (uint32_t i = 0; i < tables->tables && !err; i++) {
		struct l2_table *table = &tables->table[i];

		if (l2_table_is_own(check, table))
			err = mend_l2(check, table);
	}
	return err ? err : access_sync(check->file, check->why);
}
