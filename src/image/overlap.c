/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where the set comes from, and how it changes. */
#include "overlap.h"
#include "snapshot.h"

#include <errno.h>
#include <sys/mman.h>

/* Clusters that the set can tell apart: 1 PiB of 64 KiB clusters, 2 GiB of address space. */
#define OVERLAP_CLUSTERS_MOST (UINT64_C(1) << 34)
#define OVERLAP_CLUSTERS_LEAST (UINT64_C(1) << 20)

void overlap_add(struct image *image, uint64_t cluster, uint64_t clusters)
{
	struct overlap *overlap = &image->overlap;

	for (uint64_t at = cluster; at < cluster + clusters && at < overlap->clusters; at++)
		atomic_fetch_or_explicit(&overlap->word[at / 64], UINT64_C(1) << (at % 64),
					 memory_order_relaxed);
}

void overlap_remove(struct image *image, uint64_t cluster, uint64_t clusters)
{
	struct overlap *overlap = &image->overlap;

	for (uint64_t at = cluster; at < cluster + clusters && at < overlap->clusters; at++)
		atomic_fetch_and_explicit(&overlap->word[at / 64], ~(UINT64_C(1) << (at % 64)),
					  memory_order_relaxed);
}

static void add_bytes(struct image *image, struct host host, uint64_t bytes)
{
	const struct geometry *geo = &image->top.geo;

	overlap_add(image, host_cluster(geo, host), div_round_up(bytes, geo->cluster_bytes));
}

static void add_mapping(struct image *image)
{
	const struct node *node = &image->top;

	add_bytes(image, node->header.l1, (uint64_t)node->l1_entries * sizeof(*node->l1));
	for (uint32_t i = 0; i < node->l1_entries; i++) {
		struct l1_entry table = l1_decode(&node->geo, be64_load(&node->l1[i]));

		if (table.kind == L1_TABLE)
			overlap_add(image, host_cluster(&node->geo, table.host), 1);
	}
}

static void add_refcounts(struct image *image)
{
	const struct geometry *geo = &image->top.geo;
	const struct alloc *alloc = &image->alloc;

	overlap_add(image, host_cluster(geo, alloc->table_host), alloc->table_clusters);
	for (uint64_t i = 0; i < alloc->table_entries; i++) {
		struct host block;

		if (!refcount_table_decode(geo, be64_get(alloc->table[i]), &block) && block.byte)
			overlap_add(image, host_cluster(geo, block), 1);
	}
}

/* The table and each L1; of a table that is damaged, what could be read of it. */
static int add_snapshots(struct image *image, struct why *why)
{
	const struct node *node = &image->top;
	struct snapshots table;
	int err = snapshots_begin(&table, node, why);

	while (!err && table.number < node->header.snapshots) {
		const struct snapshot *entry = &table.entry;

		err = snapshots_next(&table, why);
		if (!err && !(entry->faults & (SNAPSHOT_L1_MISALIGNED | SNAPSHOT_L1_TOO_LARGE)))
			add_bytes(image, entry->l1, (uint64_t)entry->l1_entries * sizeof(uint64_t));
	}
	add_bytes(image, node->header.snapshot_table,
		  table.at.byte - node->header.snapshot_table.byte);
	snapshots_end(&table);
	return err == -EINVAL ? 0 : err;
}

/* Room for the file as it is and as it may become; what lies behind is not protected. */
static uint64_t capacity(const struct image *image)
{
	const struct node *node = &image->top;
	uint64_t bytes = max_u64(node->file->size, node->geo.size_bytes);
	uint64_t clusters = bytes / node->geo.cluster_bytes * 4;

	return min_u64(max_u64(round_up(clusters, 64), OVERLAP_CLUSTERS_LEAST),
		       OVERLAP_CLUSTERS_MOST);
}

int overlap_open(struct image *image, struct why *why)
{
	struct overlap *overlap = &image->overlap;
	uint64_t clusters = capacity(image);
	void *memory = mmap(NULL, clusters / 8, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory == MAP_FAILED)
		return why_set(why, -ENOMEM, "%s: not enough memory", image->top.file->name);
	overlap->word = memory;
	overlap->clusters = clusters;
	overlap_add(image, 0, 1);
	add_mapping(image);
	add_refcounts(image);
	return add_snapshots(image, why);
}

void overlap_free(struct image *image)
{
	if (image->overlap.word)
		munmap(image->overlap.word, image->overlap.clusters / 8);
}
