/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Refcounts as the image has them against references as we have counted them. */
#include "refcounts.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

/* Bits of the entry of a refcount table that are not an offset. */
#define RESERVED (~REFCOUNT_TABLE_HOST_MASK)

static uint64_t block_clusters(const struct check *check)
{
	return UINT64_C(1) << check->g.refcount_block_bits;
}

/* Clusters that have a refcount: those of the file, and as far as anything is counted behind it. */
static uint64_t counted_clusters(const struct check *check)
{
	return max_u64(file_clusters(check), check->refs.end_cluster);
}

/* --- the structures themselves ------------------------------------------------------------------- */

static int check_block(struct check *check, uint64_t index)
{
	uint64_t entry = check->block[index], off = entry & REFCOUNT_TABLE_HOST_MASK;
	uint64_t cluster = off >> check->g.cluster_bits;
	bool is_outside = cluster >= file_clusters(check);
	const char *fault = NULL;
	int err;

	if (entry == 0)
		return 0;
	if (entry & RESERVED)
		fault = "reserved bits are set";
	else if (!is_aligned(off, check->g.cluster_bytes))
		fault = "not aligned to a cluster";
	else if (is_outside)
		fault = "behind the end of the file";
	if (fault) {
		check->rebuild |= !is_outside || entry & RESERVED;
		check->rebuild_all = true;
		found_corruption(check, 1, "ERROR refcount block %" PRIu64 " (%#" PRIx64 "): %s",
				 index, entry, fault);
		/* With these bits it is in force all the same: nothing new may be written there. */
		return !off || is_outside || !is_aligned(off, check->g.cluster_bytes) ?
			       0 :
			       count_table(check, off, check->g.cluster_bytes, 1);
	}
	err = count_table(check, off, check->g.cluster_bytes, 1);
	if (err || refs_count(&check->refs, cluster) == 1)
		return err;
	check->rebuild = true;
	found_corruption(check, 1,
			 "ERROR refcount block %" PRIu64 ": others use its cluster %" PRIu64, index,
			 cluster);
	return 0;
}

static bool table_is_alone(struct check *check, uint64_t off, uint64_t bytes)
{
	for (uint64_t at = 0; at < bytes; at += check->g.cluster_bytes) {
		uint64_t cluster = (off + at) >> check->g.cluster_bits;

		if (cluster >= file_clusters(check) || refs_count(&check->refs, cluster) != 1)
			return false;
	}
	return bytes != 0;
}

/* What does not fit lasts, but for references to the table and the blocks, which can move, and come later. */
static void note_overflows(struct check *check)
{
	for (uint32_t i = 0; i < check->refs.pages; i++) {
		const struct ref_page *page = refs_page(&check->refs, i);

		for (unsigned at = 0; at < REF_PAGE_CLUSTERS; at++)
			if (page->count[at] > check->g.refcount_max)
				check->result->lasting += page->count[at] - check->g.refcount_max;
	}
}

int refcounts_read(struct check *check)
{
	const struct qcow2_header *header = &check->header;
	uint64_t bytes = (uint64_t)header->refcount_table_clusters << check->g.cluster_bits;
	size_t present = 0;
	int err;

	note_overflows(check);
	check->exposed_byte = check->uncounted_byte;
	err = count_movable_table(check, header->refcount_table.byte, bytes);
	check->block = calloc(1, bytes + 8);
	if (!check->block)
		return why_set(check->why, -ENOMEM, "%s: out of memory", check->file->name);
	if (!err)
		err = access_read(check->file, header->refcount_table.byte, check->block, bytes,
				  &present, check->why);
	/* Behind the end of the file all entries are 0. */
	check->blocks = div_round_up(present, 8);
	for (uint64_t i = 0; i < check->blocks; i++)
		check->block[i] = be64_get(((struct be64 *)check->block)[i]);
	for (uint64_t i = 0; i < check->blocks && !err; i++)
		err = check_block(check, i);
	check->rebuild_all |= !table_is_alone(check, header->refcount_table.byte, bytes);
	return err;
}

/* --- comparison ---------------------------------------------------------------------------------- */

static uint64_t wanted(struct check *check, uint64_t cluster)
{
	return min_u64(refs_count(&check->refs, cluster), check->g.refcount_max);
}

static void compare(struct check *check, uint64_t cluster, uint64_t stored)
{
	uint64_t counted = refs_count(&check->refs, cluster), want = wanted(check, cluster);

	if (stored == 1 && counted)
		refs_find(&check->refs, cluster)->stored_one |= ref_bit(cluster);
	if (stored || counted)
		check->result->image_end_bytes = max_u64(check->result->image_end_bytes,
							 (cluster + 1) << check->g.cluster_bits);
	if (counted > want)
		found_corruption(check, counted - want,
				 "ERROR cluster %" PRIu64 ": %" PRIu64
				 " references do not fit into "
				 "a refcount",
				 cluster, counted);
	if (stored == want)
		return;
	if (stored > want)
		return found(check, &check->result->leaks, 1,
			     "Leaked cluster %" PRIu64 " refcount=%" PRIu64 " reference=%" PRIu64,
			     cluster, stored, want);
	check->zero_refcounts |= stored == 0 && cluster < file_clusters(check);
	found_corruption(check, 1,
			 "ERROR cluster %" PRIu64 " refcount=%" PRIu64 " reference=%" PRIu64,
			 cluster, stored, want);
}

/* What only a table out of reach refers to is not given to others, as that table may be put right again. */
static int keep_leak(struct check *check, uint64_t cluster, uint64_t stored)
{
	uint64_t counted;

	if (!check->out_of_reach || check->options->repair == CHECK_ONLY)
		return 0;
	counted = refs_count(&check->refs, cluster);
	if (stored > counted &&
	    refs_add(&check->refs, cluster, (uint32_t)min_u64(stored - counted, REF_COUNT_MOST)))
		return count_no_memory(check);
	return 0;
}

/* Is nothing counted and nothing stored, from refcount @index of the block in the buffer on? */
static bool is_quiet(struct check *check, uint64_t first, uint64_t index)
{
	unsigned order = check->g.refcount_order;

	return index % REF_PAGE_CLUSTERS == 0 && !refs_find(&check->refs, first + index) &&
	       all_zero(check->buffer + (index << order) / 8, (REF_PAGE_CLUSTERS << order) / 8);
}

static int compare_block(struct check *check, uint64_t index)
{
	uint64_t off = check->block[index] & REFCOUNT_TABLE_HOST_MASK;
	uint64_t first = index << check->g.refcount_block_bits, end = counted_clusters(check);
	int err;

	if (first >= end || off == 0)
		return 0;
	end = min_u64(end - first, block_clusters(check));
	if (!is_aligned(off, check->g.cluster_bytes) || off > (uint64_t)INT64_MAX) {
		if (first < file_clusters(check))
			found(check, &check->result->check_errors, end,
			      "ERROR refcounts of clusters from %" PRIu64 " on cannot be read",
			      first);
		return 0;
	}
	/* One that many entries name is of no use, and takes no longer than one. */
	if (!refs_first_compared(&check->refs, off >> check->g.cluster_bits))
		return 0;
	err = go_on(check);
	if (!err)
		err = access_read(check->file, off, check->buffer, check->g.cluster_bytes, NULL,
				  check->why);
	for (uint64_t i = 0; !err && i < end; i++) {
		uint64_t stored;

		if (is_quiet(check, first, i)) {
			i += REF_PAGE_CLUSTERS - 1;
			continue;
		}
		stored = refcount_get(check->buffer, check->g.refcount_order, (uint32_t)i);
		if (stored || refs_find(&check->refs, first + i)) {
			compare(check, first + i, stored);
			err = keep_leak(check, first + i, stored);
		}
	}
	return err;
}

bool refcounts_cover(const struct check *check, uint64_t cluster)
{
	uint64_t index = cluster >> check->g.refcount_block_bits;

	return index < check->blocks && check->block[index] & REFCOUNT_TABLE_HOST_MASK;
}

/* What is counted where there is no block. */
static void compare_without_block(struct check *check, const struct ref_page *page)
{
	uint64_t first = page->number << REF_PAGE_BITS;

	if (refcounts_cover(check, first))
		return;
	for (unsigned i = 0; i < REF_PAGE_CLUSTERS; i++)
		if (page->count[i]) {
			check->rebuild |= first + i < file_clusters(check);
			check->rebuild_all = true;
			compare(check, first + i, 0);
		}
}

int refcounts_compare(struct check *check)
{
	int err = 0;

	for (uint64_t i = 0; i < check->blocks && !err; i++)
		err = compare_block(check, i);
	for (uint32_t i = 0; i < check->refs.pages && !err; i++)
		compare_without_block(check, refs_page(&check->refs, i));
	return err;
}

/* --- repair, block by block ---------------------------------------------------------------------- */

static int fix_block(struct check *check, uint64_t index, bool raise)
{
	uint64_t off = check->block[index] & REFCOUNT_TABLE_HOST_MASK;
	uint64_t first = index << check->g.refcount_block_bits, end = counted_clusters(check);
	uint64_t leaks = 0, corruptions = 0;
	int err;

	if (first >= end || off == 0)
		return 0;
	end = min_u64(end - first, block_clusters(check));
	err = go_on(check);
	if (!err)
		err = access_read(check->file, off, check->buffer, check->g.cluster_bytes, NULL,
				  check->why);
	for (uint32_t i = 0; !err && i < end; i++) {
		uint64_t stored = refcount_get(check->buffer, check->g.refcount_order, i);
		uint64_t want = wanted(check, first + i);

		if (stored == want || (stored < want && !raise))
			continue;
		refcount_set(check->buffer, check->g.refcount_order, i, want);
		leaks += stored > want;
		corruptions += stored < want;
	}
	if (err || leaks + corruptions == 0)
		return err;
	err = access_write(check->file, off, check->buffer, check->g.cluster_bytes, check->why);
	if (err)
		return err;
	found(check, &check->result->leaks_fixed, leaks,
	      "Repaired refcount block %" PRIu64 ": %" PRIu64 " leaks, %" PRIu64 " corruptions",
	      index, leaks, corruptions);
	check->result->corruptions_fixed += corruptions;
	return 0;
}

int refcounts_fix(struct check *check, bool raise)
{
	int err = 0;

	for (uint64_t i = 0; i < check->blocks && !err; i++)
		err = fix_block(check, i, raise);
	return err ? err : access_sync(check->file, check->why);
}
