/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to the making of images: what has been handed out so far. */
#ifndef BUILDER_H
#define BUILDER_H

#include "make.h"

#include "format.h"

struct builder {
	const struct shape *shape;
	struct disk *disk;
	struct model *model;
	struct rng *rng;
	uint64_t cluster_bytes;
	uint64_t l2_entries;
	uint64_t next; /* host cluster */
	uint64_t *refcount; /* by host cluster */
	uint64_t room;
	version_t active; /* the content of the active disk */
	version_t old; /* ... of the snapshot, where it differs */

	uint64_t l1_entries;
	uint64_t l1_cluster;
	uint64_t *l1;
	uint64_t snapshot_l1_cluster;
	uint64_t *snapshot_l1;
	uint64_t snapshot_table_cluster;

	uint64_t table_cluster; /* of refcount blocks */
	uint64_t table_clusters;
	uint64_t *block; /* host clusters of refcount blocks */
	uint64_t blocks;
};

void build_put_be64(struct builder *b, uint64_t off, uint64_t value);
uint64_t build_host_byte(const struct builder *b, uint64_t cluster);
void build_put_noise(struct builder *b, uint64_t cluster);

/* @count host clusters side by side, referenced @refcount times. */
uint64_t build_take(struct builder *b, uint64_t count, uint64_t refcount);

/* Is there anything below this L1 index? */
bool build_table_is_wanted(const struct builder *b, uint64_t l1_index);

/* The L2 tables below this L1 index, the active disk's and the snapshot's. */
void build_fill_table(struct builder *b, uint64_t l1_index);

#endif
