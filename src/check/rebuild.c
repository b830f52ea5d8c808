/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * New refcount blocks and a new table.  Both go where nobody refers to, and what is to be replaced
 * counts as referred to: until the header is switched, the image is what it was.  (Not so blocks
 * behind the end of the file, which have no refcounts to lose.)  The old blocks and table keep their
 * refcounts, as leaks for the next look.
 */
#include "refcounts.h"
#include "space.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

struct rebuild {
	struct check *check;
	uint64_t *block; /* host cluster by index; 0: none */
	uint64_t blocks; /* behind the highest index */
	uint64_t room;
	uint64_t table; /* first host cluster */
	uint64_t table_clusters;
};

static int out_of_memory(const struct check *check)
{
	return why_set(check->why, -ENOMEM, "%s: out of memory", check->file->name);
}

static int make_room(struct rebuild *rebuild, uint64_t index)
{
	struct check *check = rebuild->check;
	uint64_t room = max_u64(2 * rebuild->room, index + 1);
	uint64_t *block;

	if (index >= LIMIT_REFCOUNT_TABLE_BYTES / 8)
		return why_set(check->why, -EFBIG, "%s: the refcount table would be too large",
			       check->file->name);
	block = realloc(rebuild->block, room * sizeof(*block));
	if (!block)
		return out_of_memory(check);
	memset(block + rebuild->room, 0, (room - rebuild->room) * sizeof(*block));
	rebuild->block = block;
	rebuild->room = room;
	return 0;
}

static int add_block(struct rebuild *rebuild, uint64_t index)
{
	int err = index < rebuild->room ? 0 : make_room(rebuild, index);

	if (err || rebuild->block[index])
		return err;
	rebuild->blocks = max_u64(rebuild->blocks, index + 1);
	return space_take(rebuild->check, 1, &rebuild->block[index]);
}

/* A block for everything that is counted; the blocks are counted as well, and so on. */
static int add_blocks(struct rebuild *rebuild)
{
	struct check *check = rebuild->check;
	unsigned shift = check->g.refcount_block_bits - REF_PAGE_BITS;
	int err = 0;

	for (uint32_t i = 0; i < check->refs.pages && !err; i++)
		err = add_block(rebuild, refs_page(&check->refs, i)->number >> shift);
	return err;
}

/* Blocks for all, and a table for all blocks.  A table that was too small stays, as a leak. */
static int place(struct rebuild *rebuild)
{
	struct check *check = rebuild->check;
	int err = add_blocks(rebuild);

	while (!err) {
		uint64_t clusters = div_round_up(rebuild->blocks * 8, check->g.cluster_bytes);

		if (clusters <= rebuild->table_clusters)
			return 0;
		rebuild->table_clusters = clusters;
		err = space_take(check, clusters, &rebuild->table);
		if (!err)
			err = add_blocks(rebuild);
	}
	return err;
}

static int write_block(struct rebuild *rebuild, uint64_t index)
{
	struct check *check = rebuild->check;
	uint64_t first = index << check->g.refcount_block_bits;
	uint64_t end = min_u64(check->refs.end_cluster - first,
			       UINT64_C(1) << check->g.refcount_block_bits);
	int err = go_on(check);

	if (err)
		return err;
	memset(check->buffer, 0, check->g.cluster_bytes);
	for (uint64_t i = 0; i < end; i++) {
		uint64_t count = refs_count(&check->refs, first + i);

		if (count)
			refcount_set(check->buffer, check->g.refcount_order, (uint32_t)i,
				     min_u64(count, check->g.refcount_max));
	}
	return access_write(check->file, rebuild->block[index] << check->g.cluster_bits,
			    check->buffer, check->g.cluster_bytes, check->why);
}

static int write_table(struct rebuild *rebuild)
{
	struct check *check = rebuild->check;
	uint64_t bytes = rebuild->table_clusters << check->g.cluster_bits;
	struct be64 *table = calloc(1, bytes);
	int err;

	if (!table)
		return out_of_memory(check);
	for (uint64_t i = 0; i < rebuild->blocks; i++)
		table[i] = be64_make(rebuild->block[i] << check->g.cluster_bits);
	err = access_write(check->file, rebuild->table << check->g.cluster_bits, table, bytes,
			   check->why);
	free(table);
	return err ? err : access_sync(check->file, check->why);
}

/* Would new refcounts leave out something in use, for being too far behind the end of the file? */
static bool is_exposed(const struct check *check)
{
	return check->exposed_byte < LIMIT_HOST_OFFSET;
}

/* Its place would be given to others, and so nobody may write before it is in the file, or given up. */
static int mark_corrupt(struct check *check)
{
	struct be64 raw = be64_make(check->header.incompatible | QCOW2_CORRUPT);
	uint64_t none = 0;
	int err;

	if (!is_exposed(check))
		return 0;
	err = access_write(check->file, QCOW2_AT_INCOMPATIBLE, &raw, sizeof(raw), check->why);
	if (!err)
		found(check, &none, 0,
		      "Marked as corrupt: what is in use from %#" PRIx64 " on, far behind the end "
		      "of the file, has no refcount any more",
		      check->exposed_byte);
	return err ? err : access_sync(check->file, check->why);
}

/* Version 2 has no such mark. */
static int may_rebuild(const struct check *check)
{
	if (!is_exposed(check) || check->header.version > 2)
		return 0;
	return why_set(check->why, -EFBIG,
		       "%s: the refcounts cannot be made anew while what lies at %#" PRIx64
		       ", far behind the end of the file, is in use; make the file larger with "
		       "truncate, or copy it with qemu-img convert",
		       check->file->name, check->exposed_byte);
}

/* One small write inside one sector. */
static int switch_header(const struct rebuild *rebuild)
{
	struct check *check = rebuild->check;
	struct {
		struct be64 table;
		struct be32 clusters;
	} raw = {
		.table = be64_make(rebuild->table << check->g.cluster_bits),
		.clusters = be32_make((uint32_t)rebuild->table_clusters),
	};
	int err = access_write(check->file, QCOW2_AT_REFCOUNT_TABLE, &raw, sizeof(raw), check->why);

	_Static_assert(sizeof(raw) == 12, "layout");
	return err ? err : access_sync(check->file, check->why);
}

int refcounts_rebuild(struct check *check)
{
	struct rebuild rebuild = { .check = check };
	int err = may_rebuild(check);

	if (!err)
		err = place(&rebuild);
	for (uint64_t i = 0; i < rebuild.blocks && !err; i++)
		if (rebuild.block[i])
			err = write_block(&rebuild, i);
	if (!err)
		err = access_sync(check->file, check->why);
	if (!err)
		err = write_table(&rebuild);
	if (!err)
		err = mark_corrupt(check);
	if (!err)
		err = switch_header(&rebuild);
	if (!err && check->options->finding) {
		uint64_t none = 0;

		found(check, &none, 0, "Repaired the refcounts: new table at %#" PRIx64,
		      rebuild.table << check->g.cluster_bits);
	}
	free(rebuild.block);
	return err;
}
