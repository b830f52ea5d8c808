/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Refcounts: where they are, and whether there are as many as references. */
#include "count.h"

#include <inttypes.h>
#include <stdio.h>

/* The host offset of the block that holds the refcount of @cluster; 0: there is none. */
static uint64_t block_of(const struct judge *j, uint64_t cluster)
{
	uint64_t index = cluster >> j->geo.refcount_block_bits;
	struct host block;

	if (index >= (uint64_t)j->header.refcount_table_clusters * j->geo.cluster_bytes / 8)
		return 0;
	if (refcount_table_decode(&j->geo,
				  judge_word_at(j, j->header.refcount_table.byte + index * 8),
				  &block))
		return 0;
	return block.byte;
}

static uint64_t refcount_in(const struct judge *j, uint64_t block, uint64_t index)
{
	/* In the page that holds it: a page is as good as a block. */
	uint64_t per_page = UINT64_C(8) * PAGE_BYTES >> j->geo.refcount_order;
	uint64_t per_block = UINT64_C(1) << j->geo.refcount_block_bits;

	if (per_block >= per_page) {
		block += index / per_page * PAGE_BYTES;
		index %= per_page;
	}
	sparse_ask(j->file, block + (index << j->geo.refcount_order) / 8,
		   max_u64((UINT64_C(1) << j->geo.refcount_order) / 8, 1));
	return refcount_get(sparse_at(j->file, block), j->geo.refcount_order, (uint32_t)index);
}

uint64_t judge_refcount_of(const struct judge *j, uint64_t cluster)
{
	uint64_t block = block_of(j, cluster);
	uint64_t mask = (UINT64_C(1) << j->geo.refcount_block_bits) - 1;

	return block ? refcount_in(j, block, cluster & mask) : 0;
}

void judge_refer_to_blocks(struct judge *j)
{
	uint64_t bytes = (uint64_t)j->header.refcount_table_clusters * j->geo.cluster_bytes;
	uint64_t table = j->header.refcount_table.byte;

	if (!judge_refer(j, j->header.refcount_table.byte, bytes, USE_REFCOUNT_TABLE))
		return;
	for (uint64_t at = table; (at = judge_next_word(j, at, table + bytes)) < table + bytes;
	     at += 8) {
		uint64_t entry = judge_word_at(j, at), i = (at - table) / 8;
		struct host block;

		if (entry & ~REFCOUNT_TABLE_HOST_MASK ||
		    refcount_table_decode(&j->geo, entry, &block))
			judge_corrupt(j, "refcount table entry %" PRIu64 " is %#" PRIx64, i, entry);
		else if (block.byte)
			judge_refer(j, block.byte, j->geo.cluster_bytes, USE_REFCOUNT_BLOCK);
	}
}

static void compare(struct judge *j, uint64_t cluster, uint64_t refcount)
{
	uint64_t references = cluster < j->clusters ? j->references[cluster] : 0;
	struct verdict *v = &j->verdict;

	if (refcount < references)
		judge_corrupt(j,
			      "cluster %" PRIu64 " (%s) has refcount %" PRIu64 " and %" PRIu64
			      " references",
			      cluster, judge_use_name(j->use[cluster]), refcount, references);
	if (refcount > references && !v->leaks++)
		snprintf(v->leak, sizeof(v->leak),
			 "cluster %" PRIu64 ": refcount %" PRIu64 ", %" PRIu64 " references",
			 cluster, refcount, references);
	if (refcount)
		v->used_end = (cluster + 1) << j->geo.cluster_bits;
}

/* All refcounts of a block are 0 from index @i on, beyond the end of the file, up to the one returned. */
static uint64_t next_used(const struct judge *j, uint64_t i, uint64_t block, uint64_t per_block)
{
	uint64_t per_word = 64u >> j->geo.refcount_order;
	uint64_t at;

	if (i % per_word)
		return i;
	at = judge_next_word(j, block + i / per_word * 8, block + per_block / per_word * 8);
	return (at - block) / 8 * per_word;
}

static void compare_block(struct judge *j, uint64_t first, uint64_t block)
{
	uint64_t per_block = UINT64_C(1) << j->geo.refcount_block_bits;

	for (uint64_t i = 0; i < per_block; i++) {
		if (first + i >= j->clusters)
			i = next_used(j, i, block, per_block);
		if (i < per_block)
			compare(j, first + i, refcount_in(j, block, i));
	}
}

void judge_compare_all(struct judge *j)
{
	uint64_t per_block = UINT64_C(1) << j->geo.refcount_block_bits;
	uint64_t blocks = (uint64_t)j->header.refcount_table_clusters * j->geo.cluster_bytes / 8;
	uint64_t needed = div_round_up(j->clusters, per_block);
	uint64_t table = j->header.refcount_table.byte;

	for (uint64_t k = 0; k < max_u64(blocks, needed); k++) {
		uint64_t first = k * per_block, block;

		/* Nothing is there, and nothing has to be. */
		if (k >= needed) {
			k = (judge_next_word(j, table + k * 8, table + blocks * 8) - table) / 8;
			if (k >= blocks)
				break;
			first = k * per_block;
		}
		block = block_of(j, first);

		if (block)
			compare_block(j, first, block);
		for (uint64_t i = first; !block && i < min_u64(first + per_block, j->clusters); i++)
			compare(j, i, 0);
	}
}
