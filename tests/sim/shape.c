/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Images by lot: small ones, with their corners near to each other. */
#include "shape.h"

#include <inttypes.h>
#include <stdio.h>

#define EXTENDED_BITS_MIN 14u
#define PREFILL_ENCRYPTED_MOST (2 * MIB)

/* From a few clusters to some L2 tables, the last cluster cut off now and then. */
static void draw_size(struct shape *shape, struct rng *rng)
{
	uint64_t table = shape_l2_entries(shape);
	uint64_t cluster = UINT64_C(1) << shape->cluster_bits;

	if (shape->cluster_bits <= 10 && rng_one_in(rng, 12)) {
		shape->clusters = table * rng_range(rng, 8, 30);
		shape->many_tables = true;
	}
	/* Subclusters are small, their clusters large. */
	if (shape->extended && !rng_one_in(rng, 6))
		table = 30;
	switch (shape->many_tables ? 4 : rng_below(rng, 4)) {
	case 0:
		shape->clusters = rng_range(rng, 1, 12);
		break;
	case 1:
		shape->clusters = rng_range(rng, 1, (uint32_t)table);
		break;
	case 2:
		shape->clusters = table + rng_range(rng, 1, 16);
		break;
	case 3:
		shape->clusters = table * rng_range(rng, 1, 3) + rng_below(rng, (uint32_t)table);
		break;
	}
	shape->size_bytes = shape->clusters * cluster;
	if (cluster > SECTOR_SIZE && rng_one_in(rng, 3))
		shape->size_bytes -=
			SECTOR_SIZE * rng_range(rng, 1, (uint32_t)(cluster / SECTOR_SIZE - 1));
}

/* Where things can go wrong: ends of the disk, of tables, of slices; or anywhere. */
static uint64_t draw_corner(const struct shape *shape, struct rng *rng)
{
	uint64_t table = shape_l2_entries(shape);
	uint64_t slice = min_u64(table, 512);

	switch (rng_below(rng, 5)) {
	case 0:
		return 0;
	case 1:
		return shape->clusters - 1;
	case 2:
		return round_down(rng_below_u64(rng, shape->clusters), table);
	case 3:
		return round_down(rng_below_u64(rng, shape->clusters), slice);
	default:
		return rng_below_u64(rng, shape->clusters);
	}
}

static void draw_hot(struct shape *shape, struct rng *rng)
{
	shape->hots = rng_range(rng, 1, MAX_REGIONS);
	for (unsigned i = 0; i < shape->hots; i++) {
		uint64_t corner = draw_corner(shape, rng);
		uint64_t before = rng_below(rng, 5);
		uint64_t after = rng_range(rng, 1, 8);
		uint64_t first = corner - min_u64(corner, before);

		shape->hot[i] = (struct region){
			.first_cluster = first,
			.clusters = min_u64(corner + after, shape->clusters) - first,
		};
	}
}

static void draw_format(struct shape *shape, struct rng *rng)
{
	static const unsigned bits[] = { 9, 9, 9, 9, 9, 10, 10, 10, 12, 12, 12, 11, 13, 16 };
	static const unsigned extended_bits[] = { EXTENDED_BITS_MIN, 15, 15, 16 };

	shape->cluster_bits = bits[rng_below(rng, ARRAY_SIZE(bits))];
	shape->version = rng_one_in(rng, 4) ? 2 : 3;
	shape->extended = shape->version == 3 && rng_one_in(rng, 4);
	if (shape->extended)
		shape->cluster_bits = extended_bits[rng_below(rng, ARRAY_SIZE(extended_bits))];
	shape->refcount_order = 4;
	if (shape->version == 3 && rng_one_in(rng, 2))
		shape->refcount_order = rng_below(rng, 7);
}

/* About as long as the image, a little or much shorter, or longer. */
static uint64_t draw_layer_size(const struct shape *shape, struct rng *rng)
{
	uint64_t sectors = shape->size_bytes / SECTOR_SIZE;

	switch (rng_below(rng, 4)) {
	case 0:
		sectors = 1 + rng_below_u64(rng, sectors);
		break;
	case 1:
		sectors -= min_u64(sectors - 1, rng_below(rng, 12));
		break;
	case 2:
		sectors += rng_below(rng, 100);
		break;
	}
	return sectors * SECTOR_SIZE;
}

static struct layer draw_layer(const struct shape *shape, struct rng *rng, bool last)
{
	struct layer layer = {
		.raw = last && rng_one_in(rng, 2),
		.version = rng_one_in(rng, 4) ? 2 : 3,
		.size_bytes = draw_layer_size(shape, rng),
		.packed_percent = rng_one_in(rng, 2) ? rng_below(rng, 101) : 0,
	};
	unsigned least = shape->cluster_bits > 13 ? shape->cluster_bits - 4 : 9;

	layer.cluster_bits = rng_one_in(rng, 2) ? shape->cluster_bits : rng_range(rng, least, 16);
	layer.zstd = layer.version == 3 && layer.packed_percent && rng_one_in(rng, 3);
	layer.data_apart = !layer.raw && layer.version == 3 && rng_one_in(rng, 5);
	layer.extended = !layer.raw && layer.version == 3 && rng_one_in(rng, 5);
	if (layer.extended)
		layer.cluster_bits = rng_range(rng, EXTENDED_BITS_MIN, 16);
	if (layer.data_apart)
		layer.packed_percent = layer.zstd = 0;
	layer.encrypted = !layer.raw && rng_one_in(rng, 4);
	if (layer.raw && rng_one_in(rng, 2))
		layer.size_bytes -= rng_below(rng, SECTOR_SIZE);
	return layer;
}

static void draw_layers(struct shape *shape, struct rng *rng)
{
	/* Without something below it, an absent subcluster is just one more of zeros. */
	shape->layers = rng_one_in(rng, shape->extended ? 4 : 2) ? 0 :
								   rng_range(rng, 1, MAX_LAYERS);
	for (unsigned i = 0; i < shape->layers; i++)
		shape->layer[i] = draw_layer(shape, rng, i + 1 == shape->layers);
	shape->packed_percent = rng_one_in(rng, 3) ? rng_below(rng, 101) : 0;
	shape->zstd = shape->version == 3 && shape->packed_percent && rng_one_in(rng, 3);
}

struct shape shape_of_layer(const struct shape *top, unsigned nth)
{
	const struct layer *layer = &top->layer[nth];
	uint64_t cluster = UINT64_C(1) << layer->cluster_bits;
	struct shape shape = {
		.cluster_bits = layer->cluster_bits,
		.version = layer->version,
		.refcount_order = 4,
		.size_bytes = layer->size_bytes,
		.clusters = div_round_up(layer->size_bytes, cluster),
		.prefill = PREFILL_RANDOM,
		.data_percent = top->extended ? 90 : 60,
		.packed_percent = layer->packed_percent,
		.zstd = layer->zstd,
		.data_apart = layer->data_apart,
		.extended = layer->extended,
		.encrypted = layer->encrypted,
		.gap_percent = top->gap_percent / 2,
	};

	for (unsigned i = 0; i < top->hots; i++) {
		const struct region *hot = &top->hot[i];
		uint64_t first = (hot->first_cluster << top->cluster_bits) / cluster;
		uint64_t end =
			div_round_up((hot->first_cluster + hot->clusters) << top->cluster_bits,
				     cluster);

		end = min_u64(end, shape.clusters);
		if (first < end)
			shape.hot[shape.hots++] = (struct region){ first, end - first };
	}
	return shape;
}

bool shape_is_packed(const struct shape *shape)
{
	bool packed = shape->packed_percent;

	for (unsigned i = 0; i < shape->layers; i++)
		packed |= !shape->layer[i].raw && shape->layer[i].packed_percent;
	return packed;
}

bool shape_has_keys(const struct shape *shape)
{
	bool encrypted = shape->encrypted;

	for (unsigned i = 0; i < shape->layers; i++)
		encrypted |= shape->layer[i].encrypted;
	return encrypted;
}

static void limit_data_file(struct shape *shape)
{
	if (!shape->data_apart)
		return;
	shape->snapshot = shape->zstd = false;
	shape->packed_percent = 0;
	if (!shape->data_raw)
		return;
	shape->prefill = PREFILL_ALL;
	shape->layers = 0;
}

void shape_limit(struct shape *shape)
{
	bool many = shape->extended && shape->clusters > 40;

	shape->data_raw &= !many;
	limit_data_file(shape);
	if (many && shape->prefill == PREFILL_ALL)
		shape->prefill = PREFILL_RANDOM;
	if (shape->prefill == PREFILL_ALL && shape->clusters > 2000)
		shape->gap_percent = 0;
	/* There are no holes in what is encrypted. */
	if (shape->prefill == PREFILL_ALL && shape->size_bytes > PREFILL_ENCRYPTED_MOST)
		shape->encrypted = false;
}

struct shape shape_draw(struct rng *rng)
{
	struct shape shape = { 0 };

	draw_format(&shape, rng);
	draw_size(&shape, rng);
	draw_hot(&shape, rng);
	shape.prefill = rng_below(rng, 5) < 2  ? PREFILL_EMPTY :
			rng_below(rng, 5) == 0 ? PREFILL_ALL :
						 PREFILL_RANDOM;
	shape.data_percent = rng_below(rng, 101);
	shape.gap_percent = rng_one_in(rng, 2) ? rng_below(rng, 80) : 0;
	shape.snapshot = shape.refcount_order > 0 && rng_one_in(rng, 4);
	shape.stuffed = shape.cluster_bits <= 10 &&
			shape.refcount_order >= 4 + shape.cluster_bits - 9 && rng_one_in(rng, 5);
	shape.early_refcounts = rng_one_in(rng, 2);
	shape.cut_tail = rng_one_in(rng, 2);
	shape.extras = rng_one_in(rng, 4);
	shape.device = !shape.stuffed && rng_one_in(rng, 12);
	shape.full_host = shape.device || rng_one_in(rng, 20);
	shape.slack_clusters = rng_range(rng, 0, shape.cluster_bits > 12 ? 12 : 100);
	draw_layers(&shape, rng);
	shape.data_apart = shape.version == 3 && rng_one_in(rng, 4);
	shape.data_raw = shape.data_apart && rng_one_in(rng, 3);
	shape.encrypted = rng_one_in(rng, 4);
	shape_limit(&shape);
	return shape;
}

static size_t describe_layers(const struct shape *shape, char *text, size_t len)
{
	size_t used = 0;

	for (unsigned i = 0; i < shape->layers && used < len; i++) {
		const struct layer *layer = &shape->layer[i];

		if (layer->raw)
			used += (size_t)snprintf(text + used, len - used, " / raw %" PRIu64,
						 layer->size_bytes);
		else
			used += (size_t)snprintf(text + used, len - used,
						 " / v%u cluster_bits %u size %" PRIu64
						 " packed %u%%%s%s%s%s",
						 layer->version, layer->cluster_bits,
						 layer->size_bytes, layer->packed_percent,
						 layer->zstd ? " zstd" : "",
						 layer->data_apart ? " data file" : "",
						 layer->extended ? " extended" : "",
						 layer->encrypted ? " encrypted" : "");
	}
	return used;
}

void shape_describe(const struct shape *shape, char *text, size_t len)
{
	static const char *const prefills[] = { "empty", "random", "all" };
	int n = snprintf(
		text, len,
		"image: v%u cluster_bits %u refcount_order %u size %" PRIu64 " (%" PRIu64
		" clusters)%s%s prefill %s data %u%% packed %u%%%s gaps %u%%%s%s%s%s%s%s%s%s hot",
		shape->version, shape->cluster_bits, shape->refcount_order, shape->size_bytes,
		shape->clusters, shape->extended ? " extended" : "",
		shape->encrypted ? " encrypted" : "", prefills[shape->prefill], shape->data_percent,
		shape->packed_percent, shape->zstd ? " zstd" : "", shape->gap_percent,
		shape->snapshot ? " snapshot" : "", shape->stuffed ? " stuffed" : "",
		shape->crammed ? " crammed" : "", shape->counted_behind ? " counted_behind" : "",
		shape->device ? " device" : "", shape->full_host ? " full_host" : "",
		shape->extras ? " extras" : "",
		shape->data_raw	  ? " raw data file" :
		shape->data_apart ? " data file" :
				    "");

	for (unsigned i = 0; i < shape->hots && n >= 0 && (size_t)n < len; i++)
		n += snprintf(text + n, len - (size_t)n, " %" PRIu64 "+%" PRIu64,
			      shape->hot[i].first_cluster, shape->hot[i].clusters);
	if (n >= 0 && (size_t)n < len)
		describe_layers(shape, text + n, len - (size_t)n);
}
