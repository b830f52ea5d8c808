/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A file may end before the last cluster that has a refcount: after a crash of the host, the tables
 * of another writer may be on disk and the file's size not.  Writes to such clusters make the file
 * longer without the allocator, so what lies in front of them must not be cut off, nor be taken for
 * never written.  Before the allocator gives out what lies there, the file is made as long as it should
 * be (start_size()): a table that nobody has written to yet must lie in it.
 */
#include "reach.h"

#include "alloc.h"
#include "overlap.h"
#include "resize.h"

#include <errno.h>
#include <stdlib.h>

/* Of refcount blocks that are read; if they are all zeros, what the next one counts may be used. */
#define BYTES_MOST (32 * MIB)

/* How much larger the file may get than anybody needs: many times what image and disk have. */
#define GROWTH_MOST 64u
#define CLUSTERS_LEAST (UINT64_C(1) << 14)

void alloc_reaches(struct image *image, uint64_t end)
{
	struct alloc *alloc = &image->alloc;
	uint64_t bytes;

	if (image->top.file->fixed_size || end <= alloc->tail)
		return;
	alloc_raise_tail(image, min_u64(end, LIMIT_HOST_OFFSET >> image->top.geo.cluster_bits));
	bytes = alloc->tail << image->top.geo.cluster_bits;
	alloc->file_bytes = max_u64(alloc->file_bytes, bytes);
	alloc->opened_bytes = max_u64(alloc->opened_bytes, bytes);
	alloc->cut_short = alloc->file_bytes > image->top.file->size;
}

/* One behind the last refcount of the block that is not zero; 0: there is none. */
static uint64_t used_of_block(const struct geometry *geo, const uint8_t *bytes)
{
	uint64_t used = geo->cluster_bytes, end;

	while (used && bytes[used - 1] == 0)
		used--;
	end = div_round_up(used * 8, UINT64_C(1) << geo->refcount_order);
	while (end && refcount_get(bytes, geo->refcount_order, (uint32_t)end - 1) == 0)
		end--;
	return end;
}

/* Look at the blocks that have refcounts from cluster @from on, the last one first. */
static int find_last_used(struct image *image, uint64_t from, uint8_t *bytes, uint64_t *end)
{
	const struct geometry *geo = &image->top.geo;
	const struct alloc *alloc = &image->alloc;
	struct host_file *file = image->top.file;
	uint64_t budget = BYTES_MOST;

	for (uint64_t i = alloc->table_entries; i-- > from >> geo->refcount_block_bits;) {
		struct host host;
		int64_t got;

		if (refcount_table_decode(geo, be64_get(alloc->table[i]), &host) || !host.byte)
			continue;
		*end = (i + 1) << geo->refcount_block_bits;
		if (budget < geo->cluster_bytes)
			return 0;
		budget -= geo->cluster_bytes;
		got = file->read(file, bytes, geo->cluster_bytes, host.byte);
		if (got < 0)
			return (int)got;
		memset(bytes + got, 0, geo->cluster_bytes - (uint64_t)got);
		*end = (i << geo->refcount_block_bits) + used_of_block(geo, bytes);
		if (*end > from)
			return 0;
	}
	*end = from;
	return 0;
}

int reach_find(struct image *image, uint64_t size_most, struct why *why)
{
	const struct geometry *geo = &image->top.geo;
	const struct host_file *file = image->top.file;
	struct alloc *alloc = &image->alloc;
	uint64_t clusters = div_round_up(file->size, geo->cluster_bytes);
	uint64_t disk = div_round_up(geo->size_bytes, geo->cluster_bytes);
	uint64_t most = LIMIT_HOST_OFFSET >> geo->cluster_bits;
	uint64_t larger = resize_slices(image, size_most)
			  << (geo->cluster_bits + geo->slice_entries_bits);
	uint64_t end = clusters;
	uint8_t *bytes =
		aligned_alloc(LIMIT_SLICE_BYTES, max_u64(geo->cluster_bytes, LIMIT_SLICE_BYTES));
	int err = -ENOMEM;

	alloc->tail = file->fixed_size ? 0 : clusters;
	overlap_reach(&image->overlap, clusters);
	if (bytes)
		err = file->fixed_size ? 0 : find_last_used(image, clusters, bytes, &end);
	free(bytes);
	if (err)
		return why_set(why, err, "%s: cannot read the refcounts: %s", file->name,
			       strerror(-err));
	alloc_reaches(image, end);
	clusters = max_u64(max_u64(end, disk), CLUSTERS_LEAST);
	alloc->limit = min_u64(clusters, most / GROWTH_MOST) * GROWTH_MOST;
	alloc->limit = max_u64(alloc->limit, min_u64((larger >> geo->cluster_bits) * 2, most));
	return 0;
}
