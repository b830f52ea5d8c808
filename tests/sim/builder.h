/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to the making of images: what has been handed out so far. */
#ifndef BUILDER_H
#define BUILDER_H

#include "make.h"

#include "format.h"

struct builder {
	const struct shape *shape;
	struct sparse *file;
	struct sparse *data; /* guest bytes, when the shape has them apart */
	const char *data_name;
	struct sparse *content; /* what all layers so far say */
	uint64_t key; /* of an encrypted image */
	uint64_t luks_cluster; /* ... where the LUKS header is */
	const char *below; /* the name of the layer below; NULL: none */
	bool below_is_raw;
	struct model *model; /* NULL: a layer, which goes into content */
	struct rng *rng;
	uint64_t sectors; /* of the guest's disk */
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

	uint64_t packed_at; /* host byte: where the next compressed stream may begin */
	uint64_t packed_end; /* of the clusters that are there for such */

	uint64_t table_cluster; /* of refcount blocks */
	uint64_t table_clusters;
	uint64_t *block; /* host clusters of refcount blocks */
	uint64_t blocks;
};

/* What a guest cluster reads as. */
struct reads {
	bool below; /* whatever the layers below say; else: */
	version_t version; /* 0: zeros */
	uint64_t sectors; /* so many have that, the rest is zeros */
	bool by_bitmap; /* what is not data in the bitmap is zeros or below, as it says */
	uint64_t bitmap;
};

void build_put_be64(struct builder *b, uint64_t off, uint64_t value);
uint64_t build_host_byte(const struct builder *b, uint64_t cluster);
void build_put_noise(struct builder *b, uint64_t cluster);
void build_put_noise_at(struct builder *b, struct sparse *file, uint64_t off, uint64_t len);

/* @count host clusters side by side, referenced @refcount times. */
uint64_t build_take(struct builder *b, uint64_t count, uint64_t refcount);

/* Data of one guest cluster, at @host of @file. */
void build_put_data(struct builder *b, struct sparse *file, uint64_t host, uint64_t guest_cluster,
		    version_t version);

bool build_is_hot(const struct builder *b, uint64_t guest_cluster);

/*
 * An entry of extended L2 for one guest cluster, without COPIED but with data apart, when it is not
 * compressed; and what it reads as.
 */
struct l2_word build_draw_subclusters(struct builder *b, uint64_t guest_cluster, uint64_t refcount,
				      version_t data, struct reads *reads);

/* Compress these bytes into a place of @refcount references: the L2 entry, or 0 if there is none. */
uint64_t build_take_packed(struct builder *b, const uint8_t *bytes, uint64_t refcount);

/* Is there anything below this L1 index? */
bool build_table_is_wanted(const struct builder *b, uint64_t l1_index);

/* The L2 tables below this L1 index, the active disk's and the snapshot's. */
void build_fill_table(struct builder *b, uint64_t l1_index);

#endif
