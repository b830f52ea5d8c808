/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * New refcount blocks, and a larger refcount table.
 *
 * A block lies in the first cluster that it describes, so that it needs no other.  A larger table
 * lies, with the blocks which describe it, behind everything that the old one describes and
 * everything ever written; when it fails, the next try takes the same place, which nobody else can get as
 * long as nothing describes it.  Law 3 at both: what is pointed to is durable before the pointer.
 */
#include "grow.h"

#include "overlap.h"

#include "alloc.h"
#include "arena.h"
#include "sync.h"

#include <errno.h>
#include <stdlib.h>

/*
 *	PLAN        -> END LINK BLOCK TABLE
 *	BLOCK       -> BLOCK_ZERO~
 *	BLOCK_ZERO  -> END BLOCK_WRITE~
 *	BLOCK_WRITE -> END BLOCK_SYNC~
 *	BLOCK_SYNC  -> END LINK BLOCK_SYNCED~
 *	BLOCK_SYNCED -> END BLOCK_BELIEVE
 *	BLOCK_BELIEVE -> END BLOCK_BELIEVE* LINK
 *	LINK        -> LINKED~
 *	LINKED      -> END PLAN
 *	TABLE       -> TABLE_BLOCKS~
 *	TABLE_BLOCKS -> END TABLE_BLOCKS~ TABLE_WRITE
 *	TABLE_WRITE -> TABLE_SYNC~
 *	TABLE_SYNC  -> END HEADER TABLE_SYNCED~
 *	TABLE_SYNCED -> END TABLE_BELIEVE
 *	TABLE_BELIEVE -> END TABLE_BELIEVE* HEADER
 *	HEADER      -> HEADER_SYNC~
 *	HEADER_SYNC -> END HEADER_SYNCED~
 *	HEADER_SYNCED -> END HEADER_BELIEVE
 *	HEADER_BELIEVE -> END HEADER_BELIEVE* SWITCH
 *	SWITCH      -> PLAN
 *	END         -> DONE
 */
#define GROW_LIST(s) \
	s(G_PLAN) s(G_BLOCK) s(G_BLOCK_ZERO) s(G_BLOCK_WRITE) s(G_BLOCK_SYNC) s(G_BLOCK_SYNCED) \
		s(G_BLOCK_BELIEVE) s(G_LINK) s(G_LINKED) s(G_TABLE) s(G_TABLE_BLOCKS) \
			s(G_TABLE_WRITE) s(G_TABLE_SYNC) s(G_TABLE_SYNCED) s(G_TABLE_BELIEVE) \
				s(G_HEADER) s(G_HEADER_SYNC) s(G_HEADER_SYNCED) \
					s(G_HEADER_BELIEVE) s(G_SWITCH) s(G_END)
MACHINE_STATES(grow, GROW_LIST);

/* Is this a place for new blocks?  They lie where nothing has a refcount; metadata must have one. */
static int check_place(struct image *image, uint64_t cluster, uint64_t clusters)
{
	if (!alloc_fits(image, cluster, clusters))
		return -ENOSPC;
	if (!overlap_hit(image, cluster, clusters))
		return 0;
	image_corrupt(image, "metadata in clusters %llu to %llu has no refcount",
		      (unsigned long long)cluster, (unsigned long long)(cluster + clusters - 1));
	return -EIO;
}

/* --- one block ----------------------------------------------------------------------------------- */

static int plan_block(struct image *image, struct grow *grow)
{
	grow->first = grow->block << image->top.geo.refcount_block_bits;
	grow->new_size = (grow->first + 1) << image->top.geo.cluster_bits;
	return check_place(image, grow->first, 1);
}

/* Make the file reach to new_size. */
static void start_resize(struct image *image, struct grow *grow)
{
	if (grow->new_size > image->alloc.file_bytes)
		io_start(&grow->task, &grow->io, IO_TRUNCATE, image->top.file->index,
			 span_memory(NULL), (struct host){ grow->new_size }, 0);
}

static void resized(struct image *image, struct grow *grow)
{
	image->alloc.file_bytes = max_u64(image->alloc.file_bytes, grow->new_size);
}

static void start_write(struct image *image, struct grow *grow, const void *bytes, uint64_t len,
			struct host host)
{
	io_start(&grow->task, &grow->io, IO_WRITE, image->top.file->index, span_memory(bytes), host,
		 len);
}

/* A slice of the new blocks: refcount 1 for the clusters [0, used) behind grow->first. */
static void fill_bounce(struct image *image, struct grow *grow, uint64_t nth, uint64_t used)
{
	const struct geometry *geo = &image->top.geo;
	uint64_t first = nth << geo->slice_refcounts_bits;
	uint64_t end = min_u64(first + (UINT64_C(1) << geo->slice_refcounts_bits), used);

	memset(grow->bounce, 0, geo->slice_bytes);
	for (uint64_t i = first; i < end; i++)
		refcount_set(grow->bounce, geo->refcount_order, (uint32_t)(i - first), 1);
}

/* The sector of the refcount table that has the entry of the block at grow->first. */
static void start_link(struct image *image, struct grow *grow)
{
	struct alloc *alloc = &image->alloc;
	uint64_t block = grow->first >> image->top.geo.refcount_block_bits;
	uint64_t sector = round_down(block * sizeof(*alloc->table), SECTOR_SIZE);

	alloc->table[block] = be64_make(cluster_host(&image->top.geo, grow->first).byte);
	start_write(image, grow, (const uint8_t *)alloc->table + sector, SECTOR_SIZE,
		    (struct host){ alloc->table_host.byte + sector });
}

/* --- a larger table -------------------------------------------------------------------------------- */

static int plan_table(struct image *image, struct grow *grow)
{
	const struct geometry *geo = &image->top.geo;
	struct alloc *alloc = &image->alloc;
	uint64_t per_block = UINT64_C(1) << geo->refcount_block_bits;
	uint64_t per_cluster = geo->cluster_bytes / sizeof(*alloc->table);
	uint64_t described = max_u64(alloc->table_entries * per_block, alloc->tail);
	uint64_t first_block = grow->tried ? grow->tried >> geo->refcount_block_bits :
					     div_round_up(described, per_block);
	uint64_t ample = min_u64(alloc->table_entries + alloc->table_entries / 2,
				 LIMIT_REFCOUNT_TABLE_BYTES / sizeof(*alloc->table));
	uint64_t wanted = max_u64(max_u64(first_block, grow->block) + 1, ample);

	/* As many blocks as it takes to describe themselves and the table. */
	for (grow->blocks = 1;; grow->blocks++) {
		uint64_t entries = max_u64(wanted, first_block + grow->blocks);

		grow->table_clusters = div_round_up(entries, per_cluster);
		if (grow->blocks * per_block >= grow->blocks + grow->table_clusters)
			break;
	}
	grow->first = first_block * per_block;
	grow->again = grow->tried != 0;
	grow->written = 0;
	grow->new_size = (grow->first + grow->blocks + grow->table_clusters) << geo->cluster_bits;
	if (grow->table_clusters << geo->cluster_bits > LIMIT_REFCOUNT_TABLE_BYTES)
		return -ENOSPC;
	return check_place(image, grow->first, grow->blocks + grow->table_clusters);
}

static struct host new_table(const struct image *image, const struct grow *grow)
{
	return cluster_host(&image->top.geo, grow->first + grow->blocks);
}

/*
 * One more slice of the new blocks; those without a refcount are zeros unwritten behind the end of a
 * file, where no table was tried before.
 */
static bool start_next_block_slice(struct image *image, struct grow *grow)
{
	const struct geometry *geo = &image->top.geo;
	uint64_t used = grow->blocks + grow->table_clusters;
	uint64_t nth = grow->written;
	bool fresh = !image->top.file->fixed_size && !grow->again;
	uint64_t end = fresh || mutant(NEW_BLOCKS_FRESH) ? used :
							   grow->blocks << geo->refcount_block_bits;

	if (nth << geo->slice_refcounts_bits >= end)
		return false;
	fill_bounce(image, grow, nth, used);
	start_write(image, grow, grow->bounce, geo->slice_bytes,
		    (struct host){ cluster_host(geo, grow->first).byte +
				   (nth << geo->slice_bits) });
	grow->written++;
	return true;
}

static void start_table_write(struct image *image, struct grow *grow)
{
	struct alloc *alloc = &image->alloc;
	uint64_t entry = grow->first >> image->top.geo.refcount_block_bits;

	for (uint64_t i = 0; i < grow->blocks; i++)
		alloc->table[entry + i] =
			be64_make(cluster_host(&image->top.geo, grow->first + i).byte);
	start_write(image, grow, alloc->table, grow->table_clusters << image->top.geo.cluster_bits,
		    new_table(image, grow));
}

static void start_header_write(struct image *image, struct grow *grow)
{
	struct be64 off = be64_make(new_table(image, grow).byte);
	struct be32 clusters = be32_make((uint32_t)grow->table_clusters);
	uint8_t *at = image->top.header_sector + QCOW2_AT_REFCOUNT_TABLE;

	memcpy(at, &off, sizeof(off));
	memcpy(at + sizeof(off), &clusters, sizeof(clusters));
	start_write(image, grow, image->top.header_sector, SECTOR_SIZE, (struct host){ 0 });
}

/* The old one will be garbage: a kill may come before we know what the header says. */
static void leave_old_table(struct image *image, const struct grow *grow)
{
	struct alloc *alloc = &image->alloc;
	struct release *old = &alloc->old_table;

	old->cluster = host_cluster(&image->top.geo, alloc->table_host);
	old->count = alloc->table_clusters;
	old->where = where_make(grow->first + grow->blocks, WHERE_NOT);
	arena_set_release(old);
}

/* The header says so durably: the new table is the table. */
static void switch_table(struct image *image, struct grow *grow)
{
	struct alloc *alloc = &image->alloc;
	struct release *old = &alloc->old_table;

	overlap_remove(image, old->cluster, old->count);
	overlap_add(image, grow->first, grow->blocks + grow->table_clusters);
	list_add_tail(&alloc->work, &old->link);
	count(&image->counters.clusters_dropped, old->count);
	alloc->table_host = new_table(image, grow);
	alloc->table_clusters = (uint32_t)grow->table_clusters;
	alloc->table_entries =
		(grow->table_clusters << image->top.geo.cluster_bits) / sizeof(*alloc->table);
}

/* Entries of a table that did not come to be must not turn up in the next one. */
static void forget_new_entries(struct image *image, struct grow *grow)
{
	struct alloc *alloc = &image->alloc;
	uint64_t entry = grow->first >> image->top.geo.refcount_block_bits;

	for (uint64_t i = entry; i < entry + grow->blocks; i++)
		if (i >= alloc->table_entries)
			alloc->table[i] = be64_make(0);
}

static enum step grow_step(struct task *t)
{
	struct grow *grow = container_of(t, struct grow, task);
	struct image *image = container_of(grow, struct image, alloc.grow);
	struct alloc *alloc = &image->alloc;
	int err;

	switch (t->state) {
	case G_PLAN:
		/* First make sure of a block whose link had failed; as it is, it must not change. */
		if (grow->unlinked) {
			grow->first = grow->unlinked;
			return go(t, G_LINK);
		}
		if (grow->block < alloc->table_entries) {
			/* A larger table may have come with this very block. */
			if (be64_get(alloc->table[grow->block]))
				return go(t, G_END);
			err = plan_block(image, grow);
			return err ? fail(t, err, G_END) : go(t, G_BLOCK);
		}
		err = plan_table(image, grow);
		return err ? fail(t, err, G_END) : go(t, G_TABLE);

	case G_BLOCK:
		start_resize(image, grow);
		return await_io(t, G_BLOCK_ZERO);

	case G_BLOCK_ZERO:
		if (t->err)
			return go(t, G_END);
		resized(image, grow);
		/* Zeros over zeros, too: its slices shall need no space on a host that has become full. */
		start_write(image, grow, image->zeros, image->top.geo.cluster_bytes,
			    cluster_host(&image->top.geo, grow->first));
		alloc_raise_tail(image, grow->first + 1);
		return await_io(t, G_BLOCK_WRITE);

	case G_BLOCK_WRITE:
		if (t->err)
			return go(t, G_END);
		fill_bounce(image, grow, 0, 1);
		start_write(image, grow, grow->bounce, image->top.geo.slice_bytes,
			    cluster_host(&image->top.geo, grow->first));
		return await_io(t, G_BLOCK_SYNC);

	case G_BLOCK_SYNC:
		if (t->err)
			return go(t, G_END);
		if (mutant(NO_REFBLOCK_SYNC))
			return go(t, G_LINK);
		sync_start(image, t, &grow->io, SYNC_ALLOC, SYNC_IMAGE);
		return await_io(t, G_BLOCK_SYNCED);

	case G_BLOCK_SYNCED:
		sync_end(image, t, SYNC_ALLOC);
		return go(t, t->err ? G_END : G_BLOCK_BELIEVE);

	case G_BLOCK_BELIEVE: {
		CRITICAL(&image->flush.lock);
		if (!sync_believable(image, &alloc->sync_wait))
			return park(t, &image->syncs.waiters, G_BLOCK_BELIEVE);
		if (image_broken(image))
			return fail(t, -EIO, G_END);
		return go(t, G_LINK);
	}

	case G_LINK:
		start_link(image, grow);
		return await_io(t, G_LINKED);

	case G_LINKED:
		if (t->err) {
			alloc->table[grow->first >> image->top.geo.refcount_block_bits] =
				be64_make(0);
			grow->unlinked = grow->first;
			return go(t, G_END);
		}
		/* Durable with the refcounts in the block (A_SYNC), before anybody gets what they count. */
		grow->unlinked = 0;
		overlap_add(image, grow->first, 1);
		return go(t, G_PLAN);

	case G_TABLE:
		start_resize(image, grow);
		return await_io(t, G_TABLE_BLOCKS);

	case G_TABLE_BLOCKS:
		if (t->err)
			return go(t, G_END);
		resized(image, grow);
		alloc_raise_tail(image, grow->first + grow->blocks + grow->table_clusters);
		if (!mutant(TABLE_ELSEWHERE))
			grow->tried = grow->first;
		if (start_next_block_slice(image, grow))
			return await_io(t, G_TABLE_BLOCKS);
		return go(t, G_TABLE_WRITE);

	case G_TABLE_WRITE:
		start_table_write(image, grow);
		return await_io(t, G_TABLE_SYNC);

	case G_TABLE_SYNC:
		if (t->err) {
			forget_new_entries(image, grow);
			return go(t, G_END);
		}
		if (mutant(NO_REFBLOCK_SYNC))
			return go(t, G_HEADER);
		sync_start(image, t, &grow->io, SYNC_ALLOC, SYNC_IMAGE);
		return await_io(t, G_TABLE_SYNCED);

	case G_TABLE_SYNCED:
		sync_end(image, t, SYNC_ALLOC);
		return go(t, t->err ? G_END : G_TABLE_BELIEVE);

	case G_TABLE_BELIEVE: {
		CRITICAL(&image->flush.lock);
		if (!sync_believable(image, &alloc->sync_wait))
			return park(t, &image->syncs.waiters, G_TABLE_BELIEVE);
		if (image_broken(image))
			return fail(t, -EIO, G_END);
		return go(t, G_HEADER);
	}

	case G_HEADER:
		leave_old_table(image, grow);
		start_header_write(image, grow);
		return await_io(t, G_HEADER_SYNC);

	case G_HEADER_SYNC:
		if (t->err) {
			/* Which table the file names is unknown now: nothing may rely on either. */
			image_break(image, t->err, "writing the header");
			return go(t, G_END);
		}
		sync_start(image, t, &grow->io, SYNC_ALLOC, SYNC_IMAGE);
		return await_io(t, G_HEADER_SYNCED);

	case G_HEADER_SYNCED:
		sync_end(image, t, SYNC_ALLOC);
		return go(t, t->err ? G_END : G_HEADER_BELIEVE);

	case G_HEADER_BELIEVE: {
		CRITICAL(&image->flush.lock);
		if (!sync_believable(image, &alloc->sync_wait))
			return park(t, &image->syncs.waiters, G_HEADER_BELIEVE);
		if (image_broken(image))
			return fail(t, -EIO, G_END);
		return go(t, G_SWITCH);
	}

	case G_SWITCH:
		grow->tried = 0;
		switch_table(image, grow);
		return go(t, G_PLAN);

	case G_END:
		task_child_done(grow->parent, t->err);
		return STEP_DONE;
	}
	abort();
}

static const struct machine grow_machine = { "grow", grow_step, grow_states };

void grow_start(struct image *image, uint64_t cluster)
{
	struct grow *grow = &image->alloc.grow;

	grow->block = cluster >> image->top.geo.refcount_block_bits;
	grow->parent = &image->alloc.task;
	grow->parent->inflight++;
	task_init(&grow->task, grow->parent->lane, &grow_machine, G_PLAN);
	task_wake(&grow->task);
}
