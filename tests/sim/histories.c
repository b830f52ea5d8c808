/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What histories are made of. */
#include "histories.h"

#include "format.h"

#include <stdio.h>

#define FAR UINT32_MAX /* what another slice of the mapping maps */
#define HOT_CLUSTERS 4u

static const struct letter alphabet[] = {
	{ "write", REQ_WRITE, 0, 0, 0, 1 },
	{ "write-next", REQ_WRITE, 0, 1, 0, 1 },
	{ "write-far", REQ_WRITE, 0, FAR, 0, 1 },
	{ "write-both", REQ_WRITE, 0, 0, 0, 0 },
	{ "write-fua", REQ_WRITE, REQ_FUA, 0, 0, 1 },
	{ "zero-both", REQ_WRITE_ZEROES, 0, 0, 0, 0 },
	{ "zero-keep", REQ_WRITE_ZEROES, REQ_NOUNMAP, 0, 0, 0 },
	{ "zero-fua", REQ_WRITE_ZEROES, REQ_FUA | REQ_NOUNMAP, 0, 0, 1 },
	{ "discard", REQ_DISCARD, 0, 0, 0, 0 },
	{ "write-across", REQ_WRITE, 0, 0, 1, 2 }, /* the border of subclusters */
	{ "zero-first", REQ_WRITE_ZEROES, 0, 0, 0, 2 }, /* one of them */
	{ "flush", REQ_FLUSH, 0, 0, 0, 0 },
};

/* --- images ----------------------------------------------------------------------------------------- */

/* Each of these with each size of a cluster and each width of a refcount. */
enum feature {
	EMPTY,
	FULL,
	HOLES,
	BACKED,
	PACKED,
	SNAPSHOT,
	DATA_FILE,
	RAW_DATA_FILE,
	FEATURES,
};

static const unsigned cluster_bits[] = { 9, 12, 16 };
static const unsigned refcount_orders[] = { 0, 4 };

#define REGULAR (ARRAY_SIZE(cluster_bits) * ARRAY_SIZE(refcount_orders) * FEATURES)

/* And some that have corners of their own. */
static const struct shape corners[] = {
	/* the refcount table is nearly full */
	{ .cluster_bits = 9,
	  .version = 3,
	  .refcount_order = 6,
	  .prefill = PREFILL_EMPTY,
	  .stuffed = true },
	/* version 2, and refcounts where qemu-img has them */
	{ .cluster_bits = 10,
	  .version = 2,
	  .refcount_order = 4,
	  .prefill = PREFILL_ALL,
	  .data_percent = 50,
	  .early_refcounts = true },
	/* layers that are shorter, of other clusters, compressed */
	{ .cluster_bits = 10,
	  .version = 3,
	  .refcount_order = 1,
	  .prefill = PREFILL_RANDOM,
	  .data_percent = 20,
	  .layers = 2,
	  .layer = { { .cluster_bits = 9, .version = 2, .size_bytes = 3072, .packed_percent = 50 },
		     { .raw = true, .cluster_bits = 9, .size_bytes = 2700 } } },
	/* encrypted, over a layer */
	{ .cluster_bits = 10,
	  .version = 3,
	  .refcount_order = 4,
	  .prefill = PREFILL_RANDOM,
	  .data_percent = 40,
	  .encrypted = true,
	  .layers = 1,
	  .layer = { { .raw = true, .cluster_bits = 9, .size_bytes = 2700 } } },
	/* sectors of a compressed cluster that others share */
	{ .cluster_bits = 10,
	  .version = 3,
	  .refcount_order = 4,
	  .prefill = PREFILL_ALL,
	  .data_percent = 100,
	  .packed_percent = 100,
	  .zstd = true,
	  .snapshot = true },
	/* subclusters, over a layer that ends within one, and shared with a snapshot */
	{ .cluster_bits = 15,
	  .version = 3,
	  .extended = true,
	  .refcount_order = 4,
	  .prefill = PREFILL_ALL,
	  .data_percent = 0,
	  .layers = 1,
	  .layer = { { .raw = true, .cluster_bits = 15, .size_bytes = 90000 } } },
	{ .cluster_bits = 15,
	  .version = 3,
	  .extended = true,
	  .refcount_order = 4,
	  .prefill = PREFILL_ALL,
	  .data_percent = 80,
	  .snapshot = true },
};

static void add_feature(struct shape *shape, enum feature feature)
{
	uint64_t cluster = UINT64_C(1) << shape->cluster_bits;
	struct layer raw = { .raw = true, .cluster_bits = 9, .size_bytes = 3 * cluster - 100 };

	if (feature == EMPTY)
		return;
	shape->prefill = PREFILL_RANDOM;
	shape->data_percent = 100;
	shape->gap_percent = 50;
	if (feature == RAW_DATA_FILE)
		shape->prefill = PREFILL_ALL;
	switch (feature) {
	case HOLES:
		shape->data_percent = 0;
		break;
	case BACKED:
		shape->data_percent = 30;
		shape->layers = 1;
		shape->layer[0] = raw;
		break;
	case PACKED:
		shape->packed_percent = 100;
		break;
	case SNAPSHOT:
		/* A refcount of one bit cannot say that two share a cluster. */
		shape->snapshot = shape->refcount_order > 0;
		break;
	case DATA_FILE:
		shape->data_apart = true;
		shape->data_percent = 50;
		break;
	case RAW_DATA_FILE:
		shape->data_apart = shape->data_raw = true;
		shape->data_percent = 50;
		break;
	default:
		break;
	}
}

static struct shape shape_of(unsigned kind)
{
	struct shape shape = { .version = 3 };

	if (kind >= REGULAR)
		return corners[kind - REGULAR];
	shape.cluster_bits = cluster_bits[kind % ARRAY_SIZE(cluster_bits)];
	kind /= ARRAY_SIZE(cluster_bits);
	shape.refcount_order = refcount_orders[kind % ARRAY_SIZE(refcount_orders)];
	kind /= ARRAY_SIZE(refcount_orders);
	add_feature(&shape, (enum feature)kind);
	return shape;
}

struct config history_config(const struct history *history)
{
	struct config config = {
		.shape = shape_of(history->kind),
		.lanes = HISTORY_LANES,
		.depth = HISTORY_LENGTH,
		.workers = 1,
		.unpack_here_bytes = 1,
		.align = 1,
	};
	unsigned bits = config.shape.cluster_bits;
	uint64_t slice;

	/* Each feature comes with bytes that the engine sees, and with some that it does not. */
	config.by_slot = config.shape.refcount_order == 4 && !shape_has_keys(&config.shape);
	/* One slice at a time, on a disk of two. */
	config.l2_cache_bytes = min_u64(UINT64_C(1) << bits, LIMIT_SLICE_BYTES);
	config.reserve_bytes = UINT64_C(2) << bits;
	slice = config.l2_cache_bytes / (sizeof(struct be64) * (config.shape.extended ? 2 : 1));
	config.shape.clusters = slice + HOT_CLUSTERS;
	config.shape.size_bytes = config.shape.clusters << bits;
	config.shape.hots = 2;
	config.shape.hot[0] = (struct region){ 0, HOT_CLUSTERS };
	config.shape.hot[1] = (struct region){ slice, 2 };
	return config;
}

/* --- numbers ------------------------------------------------------------------------------------------ */

unsigned history_kinds(void)
{
	return REGULAR + ARRAY_SIZE(corners);
}

/* Histories are numbers whose digits are kind, order, letters, and before which of them to wait. */
uint64_t histories(unsigned length)
{
	uint64_t count = history_kinds() * (uint64_t)ORDERS;

	for (unsigned i = 0; i < length; i++)
		count *= ARRAY_SIZE(alphabet) * (i ? 2 : 1);
	return count;
}

static unsigned digit(uint64_t *number, uint64_t base)
{
	unsigned value = (unsigned)(*number % base);

	*number /= base;
	return value;
}

struct history history_decode(uint64_t number, unsigned length)
{
	struct history history = { .length = length };

	history.kind = digit(&number, history_kinds());
	history.order = (enum order)digit(&number, ORDERS);
	for (unsigned i = 0; i < length; i++) {
		history.letter[i] = &alphabet[digit(&number, ARRAY_SIZE(alphabet))];
		history.waits[i] = i && digit(&number, 2);
	}
	return history;
}

void letter_range(const struct letter *letter, const struct shape *shape, uint64_t *guest,
		  uint64_t *len)
{
	uint64_t cluster = UINT64_C(1) << shape->cluster_bits;
	uint64_t first = letter->first_cluster;

	if (first == FAR)
		first = shape->hot[1].first_cluster;
	*guest = first * cluster + letter->first_sector * SECTOR_SIZE;
	*len = letter->sectors ? letter->sectors * SECTOR_SIZE : 2 * cluster;
	if (letter->op == REQ_FLUSH)
		*guest = *len = 0;
}

void history_print(const struct history *history)
{
	static const char *const orders[] = { "oldest first", "newest first", "syncs last" };

	fprintf(stderr, "history: image %u, %s:", history->kind, orders[history->order]);
	for (unsigned i = 0; i < history->length; i++)
		fprintf(stderr, "%s%s",
			i == 0		  ? " " :
			history->waits[i] ? ", then " :
					    " with ",
			history->letter[i]->name);
	fputc('\n', stderr);
}
