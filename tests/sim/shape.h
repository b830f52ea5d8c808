/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What kind of image a seed asks for. */
#ifndef SHAPE_H
#define SHAPE_H

#include "base.h"
#include "below.h"
#include "rng.h"

enum prefill {
	PREFILL_EMPTY,
	PREFILL_RANDOM, /* data, zeros, holes, in the hot regions */
	PREFILL_ALL, /* every cluster mapped and COPIED, to holes or to data */
};

/* Guest clusters that most requests aim at. */
struct region {
	uint64_t first_cluster;
	uint64_t clusters;
};

#define MAX_REGIONS 3

/* One file below the image. */
struct layer {
	bool raw; /* the last one only */
	unsigned cluster_bits;
	unsigned version;
	uint64_t size_bytes; /* raw: not even a multiple of a sector */
	uint32_t packed_percent;
	bool zstd;
	bool data_apart; /* an external data file; nothing is packed then */
	bool extended; /* extended L2 */
	bool encrypted;
};

struct shape {
	unsigned cluster_bits;
	unsigned version;
	unsigned refcount_order;
	uint64_t size_bytes; /* of the guest's disk */
	uint64_t clusters; /* ... in clusters, the last one may be cut off */
	bool many_tables; /* and requests all over the disk */
	enum prefill prefill;
	uint32_t data_percent; /* of prefilled clusters hold data */
	uint32_t packed_percent; /* ... compressed */
	bool zstd;
	bool extended; /* extended L2: subclusters */
	struct layer layer[MAX_LAYERS]; /* the first one is right below the image */
	unsigned layers;
	bool encrypted;
	bool data_apart; /* an external data file: no snapshot, nothing packed */
	bool data_raw; /* ... that says all by itself: all is mapped, and no layers */
	uint32_t gap_percent; /* of places in the file are skipped: free, but full of noise */
	bool snapshot; /* an internal one, sharing tables and clusters */
	bool stuffed; /* leaked clusters up to almost the end of what the refcount table covers */
	uint64_t crammed; /* so many leaked clusters behind all others */
	uint64_t counted_behind; /* so far behind the end of the file a cluster is counted; 0: none */
	bool early_refcounts; /* table and first block right behind the header, as qemu-img does */
	bool cut_tail; /* the file ends within its last cluster */
	bool extras; /* header extensions, compatible features, more L1 entries than needed */
	bool device; /* a block device: fixed size, full of noise */
	uint64_t slack_clusters; /* how much room a device or a full host has */
	bool full_host; /* the host's file system ends there too */
	struct region hot[MAX_REGIONS];
	unsigned hots;
};

struct shape shape_draw(struct rng *rng);

static inline uint64_t shape_l2_entries(const struct shape *shape)
{
	return (UINT64_C(1) << shape->cluster_bits) / (shape->extended ? 16 : 8);
}

/* Of the smallest piece that has a mapping of its own. */
static inline uint64_t shape_unit_bytes(const struct shape *shape)
{
	return (UINT64_C(1) << shape->cluster_bits) / (shape->extended ? 32 : 1);
}

/* A layer as an image of its own, hot where the image above it is. */
struct shape shape_of_layer(const struct shape *top, unsigned layer);

/* Are there compressed clusters anywhere? */
bool shape_is_packed(const struct shape *shape);

/* Is the image, or a layer below it, encrypted? */
bool shape_has_keys(const struct shape *shape);

/*
 * Leave out what cannot be together; and noise in each gap of a large image, which would take more
 * time than all its lives.
 */
void shape_limit(struct shape *shape);

/* One line. */
void shape_describe(const struct shape *shape, char *text, size_t len);

#endif
