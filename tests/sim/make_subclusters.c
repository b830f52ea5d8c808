/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Entries of extended L2: every mixture of subclusters, over bytes that mean nothing. */
#include "builder.h"

#define MANY_CLUSTERS 64u /* beyond that, only the hot ones hold bytes */

/* Runs of subclusters of one kind each; the bitmap. */
static uint64_t draw_runs(struct builder *b, bool data_too)
{
	static const uint32_t longest[] = { 2, 6, SUBCLUSTERS };
	uint32_t most = longest[rng_below(b->rng, ARRAY_SIZE(longest))];
	uint64_t bitmap = 0;

	for (unsigned i = 0; i < SUBCLUSTERS;) {
		unsigned run = rng_range(b->rng, 1, most);
		unsigned kind = rng_below(b->rng, 3);

		for (; run && i < SUBCLUSTERS; run--, i++) {
			if (kind == 1)
				bitmap |= UINT64_C(1) << (SUBCLUSTERS + i);
			else if (kind == 2 && data_too)
				bitmap |= UINT64_C(1) << i;
		}
	}
	return bitmap;
}

static uint64_t draw_bitmap(struct builder *b, bool data_too)
{
	if (data_too && rng_percent(b->rng, b->shape->data_percent / (b->shape->data_raw ? 2 : 4)))
		return BITMAP_ALL_DATA;
	switch (rng_below(b->rng, 6)) {
	case 0:
		return 0;
	case 1:
		return BITMAP_ALL_ZERO;
	default:
		return draw_runs(b, data_too);
	}
}

/* Bytes of the subclusters that hold data, and noise, or a hole, where the others are. */
static void fill(struct builder *b, struct sparse *file, uint64_t host, uint64_t guest_cluster,
		 const struct reads *reads)
{
	uint64_t bytes = shape_unit_bytes(b->shape);
	/* Who reads a raw data file alone reads what the guest does. */
	bool noise = rng_one_in(b->rng, 2) && build_is_hot(b, guest_cluster) && !b->shape->data_raw;

	if (reads->version)
		build_put_data(b, file, host, guest_cluster, reads->version);
	for (unsigned i = 0; i < SUBCLUSTERS; i++) {
		uint64_t at = host + i * bytes;

		if (reads->bitmap >> i & 1)
			continue;
		if (noise)
			build_put_noise_at(b, file, at, bytes);
		else
			sparse_punch(file, at, bytes);
	}
}

struct l2_word build_draw_subclusters(struct builder *b, uint64_t guest_cluster, uint64_t refcount,
				      version_t data, struct reads *reads)
{
	bool apart = b->shape->data_apart;
	bool cluster = b->shape->data_raw || rng_percent(b->rng, b->shape->data_percent);
	bool bytes = build_is_hot(b, guest_cluster) || b->shape->clusters <= MANY_CLUSTERS;
	struct l2_word word = { .bitmap = draw_bitmap(b, cluster) };

	*reads = (struct reads){ .sectors = UINT64_MAX, .by_bitmap = true, .bitmap = word.bitmap };
	if (!cluster)
		return word;
	if (bytes && !rng_one_in(b->rng, 4))
		reads->version = data;
	word.entry = build_host_byte(b, apart ? guest_cluster : build_take(b, 1, refcount));
	fill(b, apart ? b->data : b->file, word.entry, guest_cluster, reads);
	if (apart)
		word.entry |= ENTRY_COPIED;
	return word;
}
