/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An image from scratch: clusters are handed out first, then everything is written in one go. */
#include "make.h"

#include "builder.h"
#include "cipher.h"
#include "memory.h"

#include <stdlib.h>

#define HEADER_EXTENSION_UNKNOWN 0x12345678u
#define HEADER_EXTENSION_BACKING_FORMAT 0xe2792acau
#define HEADER_EXTENSION_DATA_FILE 0x44415441u
#define HEADER_EXTENSION_CRYPTO 0x0537be77u
#define SNAPSHOT_EXTRA_BYTES 24u

void build_put_be64(struct builder *b, uint64_t off, uint64_t value)
{
	struct be64 word = be64_make(value);

	sparse_write(b->file, off, &word, sizeof(word));
}

static void put_be32(struct builder *b, uint64_t off, uint32_t value)
{
	struct be32 word = be32_make(value);

	sparse_write(b->file, off, &word, sizeof(word));
}

uint64_t build_host_byte(const struct builder *b, uint64_t cluster)
{
	return cluster << b->shape->cluster_bits;
}

void build_put_noise_at(struct builder *b, struct sparse *file, uint64_t off, uint64_t len)
{
	uint64_t words[SECTOR_SIZE / 8];

	for (uint64_t at = off; at < off + len; at += SECTOR_SIZE) {
		for (unsigned i = 0; i < ARRAY_SIZE(words); i++)
			words[i] = rng_next(b->rng);
		sparse_write(file, at, words, SECTOR_SIZE);
	}
}

void build_put_noise(struct builder *b, uint64_t cluster)
{
	build_put_noise_at(b, b->file, build_host_byte(b, cluster), b->cluster_bytes);
}

static void make_room(struct builder *b, uint64_t clusters)
{
	uint64_t room = b->room;

	if (clusters <= room)
		return;
	b->room = max_u64(2 * room, clusters + 1024);
	b->refcount = xrealloc(b->refcount, b->room * sizeof(*b->refcount));
	memset(b->refcount + room, 0, (b->room - room) * sizeof(*b->refcount));
}

uint64_t build_take(struct builder *b, uint64_t count, uint64_t refcount)
{
	uint64_t first;

	make_room(b, b->next + count + 100);
	while (rng_percent(b->rng, b->shape->gap_percent) && b->next + count + 1 < b->room)
		build_put_noise(b, b->next++);
	first = b->next;
	b->next += count;
	for (uint64_t i = 0; i < count; i++)
		b->refcount[first + i] = refcount;
	if (b->file->size < build_host_byte(b, b->next))
		sparse_resize(b->file, build_host_byte(b, b->next));
	return first;
}

/* --- tables ----------------------------------------------------------------------------------------- */

static uint64_t clusters_for(const struct builder *b, uint64_t bytes)
{
	return max_u64(1, div_round_up(bytes, b->cluster_bytes));
}

static void make_l1(struct builder *b)
{
	b->l1_entries = div_round_up(b->shape->clusters, b->l2_entries);
	if (b->shape->extras)
		b->l1_entries += rng_below(b->rng, 3);
	b->l1 = xmalloc(b->l1_entries * 8);
	b->snapshot_l1 = xmalloc(b->l1_entries * 8);
	memset(b->l1, 0, b->l1_entries * 8);
	memset(b->snapshot_l1, 0, b->l1_entries * 8);
	b->l1_cluster = build_take(b, clusters_for(b, b->l1_entries * 8), 1);
	if (b->shape->snapshot) {
		b->snapshot_l1_cluster = build_take(b, clusters_for(b, b->l1_entries * 8), 1);
		b->snapshot_table_cluster = build_take(b, 1, 1);
	}
}

/*
 * Behind the end of a table lies what was there before it: a shorter table grew into space that had been
 * used, and nobody has to clear the rest.  Here as bad as can be: entries that seem to be some.
 */
static void write_stale_entries(struct builder *b)
{
	uint64_t table = build_host_byte(b, b->l1_cluster);

	for (uint64_t i = b->l1_entries; i * 8 % SECTOR_SIZE; i++) {
		uint64_t cluster = i % b->next;

		build_put_be64(b, table + i * 8,
			       i % 3 ? build_host_byte(b, cluster) | (i % 2 ? ENTRY_COPIED : 0) :
				       0);
	}
}

static void write_l1(struct builder *b)
{
	write_stale_entries(b);
	for (uint64_t i = 0; i < b->l1_entries; i++) {
		build_put_be64(b, build_host_byte(b, b->l1_cluster) + i * 8, b->l1[i]);
		if (b->shape->snapshot)
			build_put_be64(b, build_host_byte(b, b->snapshot_l1_cluster) + i * 8,
				       b->snapshot_l1[i]);
	}
}

static void write_snapshot_table(struct builder *b)
{
	uint64_t at = build_host_byte(b, b->snapshot_table_cluster);

	if (!b->shape->snapshot)
		return;
	build_put_be64(b, at, build_host_byte(b, b->snapshot_l1_cluster));
	put_be32(b, at + 8, (uint32_t)b->l1_entries);
	put_be32(b, at + 12, 1u << 16 | 4); /* lengths of id and name */
	build_put_be64(b, at + 16, 0);
	build_put_be64(b, at + 24, 0);
	put_be32(b, at + 32, 0);
	put_be32(b, at + 36, SNAPSHOT_EXTRA_BYTES);
	build_put_be64(b, at + 40, 0);
	build_put_be64(b, at + 48, b->shape->size_bytes);
	build_put_be64(b, at + 56, UINT64_MAX); /* no instruction count */
	sparse_write(b->file, at + 64, "1snap\0\0", 8);
}

static uint64_t refcounts_per_block(const struct builder *b)
{
	return b->cluster_bytes * 8 >> b->shape->refcount_order;
}

/* Blocks for all that was handed out, the blocks and their table included. */
static void make_refcounts(struct builder *b)
{
	uint64_t per_block = refcounts_per_block(b);

	if (!b->table_clusters) {
		b->table_cluster = build_take(b, 1, 1);
		b->table_clusters = 1;
	}
	for (;;) {
		while (b->blocks * per_block < b->next) {
			b->block = xrealloc(b->block, (b->blocks + 1) * sizeof(*b->block));
			b->block[b->blocks] = build_take(b, 1, 1);
			b->blocks++;
		}
		if (b->blocks * 8 <= b->table_clusters * b->cluster_bytes)
			break;
		/* Too small: the old one was the image's, once; it is free again. */
		for (uint64_t i = 0; i < b->table_clusters; i++)
			b->refcount[b->table_cluster + i] = 0;
		b->table_clusters = clusters_for(b, b->blocks * 8) + 1;
		b->table_cluster = build_take(b, b->table_clusters, 1);
	}
}

/* Use up the range of the refcount table but for a little at its end. */
static void stuff(struct builder *b)
{
	uint64_t per_block = refcounts_per_block(b);
	uint64_t covered = b->cluster_bytes / 8 * per_block;
	uint64_t left = rng_below(b->rng, 12) + covered / per_block;

	if (!b->shape->stuffed || b->next + left >= covered)
		return;
	make_room(b, covered);
	for (; b->next + left < covered; b->next++)
		b->refcount[b->next] = 1;
}

/* So many are in use, to nobody's good. */
static void cram(struct builder *b)
{
	uint64_t end = b->next + b->shape->crammed;

	make_room(b, end);
	for (; b->next < end; b->next++)
		b->refcount[b->next] = 1;
}

/* As if the size of the file had got lost in a power cut: what lies between is free. */
static void count_behind(struct builder *b)
{
	uint64_t cluster = b->next + b->shape->counted_behind;

	if (!b->shape->counted_behind || cluster >= b->blocks * refcounts_per_block(b))
		return;
	make_room(b, cluster + 1);
	b->refcount[cluster] = 1;
}

static void write_refcounts(struct builder *b)
{
	uint64_t per_block = refcounts_per_block(b);
	uint8_t *bytes = xmalloc(b->cluster_bytes);

	for (uint64_t k = 0; k < b->blocks; k++) {
		uint64_t first = k * per_block, end = min_u64(first + per_block, b->room);

		memset(bytes, 0, b->cluster_bytes);
		for (uint64_t i = first; i < end; i++)
			if (b->refcount[i])
				refcount_set(bytes, b->shape->refcount_order, (uint32_t)(i - first),
					     b->refcount[i]);
		sparse_write(b->file, build_host_byte(b, b->block[k]), bytes, b->cluster_bytes);
		build_put_be64(b, build_host_byte(b, b->table_cluster) + k * 8,
			       build_host_byte(b, b->block[k]));
	}
	free(bytes);
}

/* Format and name of the layer below, behind what else is in the header. */
static void write_below(struct builder *b, uint32_t at)
{
	const char *format = b->below_is_raw ? "raw" : "qcow2";
	uint32_t len = (uint32_t)strlen(format);

	put_be32(b, at, HEADER_EXTENSION_BACKING_FORMAT);
	put_be32(b, at + 4, len);
	sparse_write(b->file, at + 8, format, len);
	at += 8 + 8 + 8; /* and the end of extensions */
	build_put_be64(b, 8, at);
	put_be32(b, 16, (uint32_t)strlen(b->below));
	sparse_write(b->file, at, b->below, strlen(b->below));
}

/* Which file has the guest's bytes; the bytes that this takes. */
static uint32_t write_data_name(struct builder *b, uint32_t at)
{
	uint32_t len = (uint32_t)strlen(b->data_name);

	if (b->shape->data_raw)
		build_put_be64(b, QCOW2_AT_AUTOCLEAR, QCOW2_DATA_FILE_RAW);
	put_be32(b, at, HEADER_EXTENSION_DATA_FILE);
	put_be32(b, at + 4, len);
	sparse_write(b->file, at + 8, b->data_name, len);
	return 8 + (uint32_t)round_up(len, 8);
}

static void make_luks(struct builder *b)
{
	if (!b->shape->encrypted)
		return;
	b->key = rng_next(b->rng);
	b->luks_cluster = build_take(b, clusters_for(b, sim_luks_bytes()), 1);
	sim_luks_make(b->file, build_host_byte(b, b->luks_cluster), b->key, b->rng);
}

/* Where the LUKS header is; the bytes that this takes. */
static uint32_t write_crypto(struct builder *b, uint32_t at)
{
	put_be32(b, 32, CRYPT_LUKS);
	put_be32(b, at, HEADER_EXTENSION_CRYPTO);
	put_be32(b, at + 4, 16);
	build_put_be64(b, at + 8, build_host_byte(b, b->luks_cluster));
	build_put_be64(b, at + 16, sim_luks_bytes());
	return 24;
}

static uint64_t incompatible_features(const struct shape *shape)
{
	return (shape->data_apart ? QCOW2_DATA_FILE : 0u) |
	       (shape->zstd ? QCOW2_COMPRESSION_TYPE : 0u) |
	       (shape->extended ? QCOW2_EXTENDED_L2 : 0u);
}

static void write_header(struct builder *b)
{
	const struct shape *shape = b->shape;
	uint32_t header_bytes = shape->version == 2 ? QCOW2_HEADER_V2_BYTES : QCOW2_HEADER_V3_BYTES;

	put_be32(b, 0, QCOW2_MAGIC);
	put_be32(b, 4, shape->version);
	put_be32(b, 20, shape->cluster_bits);
	build_put_be64(b, QCOW2_AT_SIZE, shape->size_bytes);
	put_be32(b, QCOW2_AT_L1, (uint32_t)b->l1_entries);
	build_put_be64(b, QCOW2_AT_L1 + 4, build_host_byte(b, b->l1_cluster));
	build_put_be64(b, QCOW2_AT_REFCOUNT_TABLE, build_host_byte(b, b->table_cluster));
	put_be32(b, QCOW2_AT_REFCOUNT_TABLE + 8, (uint32_t)b->table_clusters);
	put_be32(b, 60, shape->snapshot);
	build_put_be64(b, 64, build_host_byte(b, b->snapshot_table_cluster));
	if (shape->version > 2) {
		if (shape->extras)
			build_put_be64(b, 80, QCOW2_LAZY_REFCOUNTS);
		if (shape->extras || shape->zstd)
			header_bytes += 8;
		if (shape->zstd)
			sparse_write(b->file, QCOW2_HEADER_V3_BYTES, "\1", 1);
		build_put_be64(b, QCOW2_AT_INCOMPATIBLE, incompatible_features(shape));
		put_be32(b, 96, shape->refcount_order);
		put_be32(b, 100, header_bytes);
	}
	if (shape->extras) {
		put_be32(b, header_bytes, HEADER_EXTENSION_UNKNOWN);
		put_be32(b, header_bytes + 4, 8);
		build_put_be64(b, header_bytes + 8, UINT64_C(0x6b65657020746869));
		header_bytes += 16;
	}
	if (shape->data_apart)
		header_bytes += write_data_name(b, header_bytes);
	if (shape->encrypted)
		header_bytes += write_crypto(b, header_bytes);
	if (b->below)
		write_below(b, header_bytes);
}

/*
 * Writers need not write the zeros at the end of the last cluster.  In a table they may end with
 * any entry; a sector of guest data is not torn by that.
 */
static void cut_zeros(struct builder *b)
{
	struct sparse *file = b->file;
	uint64_t start = build_host_byte(b, b->next - 1);
	uint64_t l1_end = build_host_byte(b, b->l1_cluster) + b->l1_entries * 8;
	uint64_t end = file->size;
	uint8_t bytes[SECTOR_SIZE];

	while (end > start + SECTOR_SIZE) {
		sparse_read(file, end - SECTOR_SIZE, bytes, SECTOR_SIZE);
		if (bytes[0] || memcmp(bytes, bytes + 1, SECTOR_SIZE - 1))
			break;
		end -= SECTOR_SIZE;
	}
	sparse_resize(file, l1_end > start ? l1_end : end);
}

/* How the file ends: within a cluster, or with room on a device that is full of noise. */
static void make_end(struct builder *b, struct disk *disk)
{
	if (b->shape->device) {
		for (uint64_t i = 0; i < b->shape->slack_clusters; i++)
			build_put_noise(b, b->next++);
	} else if (b->shape->cut_tail) {
		cut_zeros(b);
	}
	if (b->shape->full_host)
		disk->limit = b->shape->device ?
				      b->file->size :
				      build_host_byte(b, b->next + b->shape->slack_clusters);
}

/* All of an image but its end. */
static void make_file(struct builder *b)
{
	const struct shape *shape = b->shape;

	b->cluster_bytes = UINT64_C(1) << shape->cluster_bits;
	b->l2_entries = shape_l2_entries(shape);
	b->sectors = shape->size_bytes / SECTOR_SIZE;
	make_room(b, 1);
	b->refcount[b->next++] = 1; /* the header */
	if (shape->early_refcounts) {
		b->table_cluster = build_take(b, 1, 1);
		b->table_clusters = 1;
		b->block = xmalloc(sizeof(*b->block));
		b->block[0] = build_take(b, 1, 1);
		b->blocks = 1;
	}
	make_luks(b);
	make_l1(b);
	for (uint64_t i = 0; shape->prefill != PREFILL_EMPTY && i < b->l1_entries; i++)
		if (build_table_is_wanted(b, i))
			build_fill_table(b, i);
	stuff(b);
	cram(b);
	make_refcounts(b);
	count_behind(b);
	write_l1(b);
	write_snapshot_table(b);
	write_refcounts(b);
	write_header(b);
	if (b->file->size < build_host_byte(b, b->next))
		sparse_resize(b->file, build_host_byte(b, b->next));
}

static void builder_free(struct builder *b)
{
	free(b->refcount);
	free(b->block);
	free(b->l1);
	free(b->snapshot_l1);
}

/* --- the chain -------------------------------------------------------------------------------------- */

/* Guest bytes as they are: some in the hot regions. */
static void make_raw(struct builder *b)
{
	uint64_t size = b->shape->size_bytes;
	uint64_t cluster = UINT64_C(1) << b->shape->cluster_bits;
	uint8_t bytes[SECTOR_SIZE];

	for (unsigned i = 0; i < b->shape->hots; i++) {
		uint64_t at = b->shape->hot[i].first_cluster * cluster;
		uint64_t end = min_u64(at + b->shape->hot[i].clusters * cluster, size);

		/* A last sector that is cut off is one of zeros. */
		for (; at + SECTOR_SIZE <= end; at += SECTOR_SIZE) {
			if (!rng_percent(b->rng, b->shape->data_percent))
				continue;
			pattern_fill(bytes, at / SECTOR_SIZE, b->active);
			sparse_write(b->file, at, bytes, SECTOR_SIZE);
			sparse_write(b->content, at, bytes, SECTOR_SIZE);
		}
	}
	sparse_resize(b->file, size);
}

static void make_layer(const struct shape *top, struct below *below, unsigned nth,
		       version_t version, struct rng *rng)
{
	struct shape shape = shape_of_layer(top, nth);
	struct builder b = {
		.shape = &shape,
		.file = &below->file[nth],
		.data = &below->data[nth],
		.data_name = below_data_name(nth),
		.content = &below->content,
		.rng = rng,
		.active = version,
	};

	if (nth + 1 < below->layers) {
		b.below = below_name(nth + 1);
		b.below_is_raw = top->layer[nth + 1].raw;
	}
	sparse_reset(b.file);
	sparse_reset(b.data);
	/* Nobody sees more of what lies below than this layer is long. */
	sparse_resize(b.content, round_up(shape.size_bytes, SECTOR_SIZE));
	if (top->layer[nth].raw)
		make_raw(&b);
	else
		make_file(&b);
	builder_free(&b);
}

static void make_chain(const struct shape *top, struct below *below, struct model *model,
		       struct rng *rng)
{
	below->layers = top->layers;
	sparse_reset(&below->content);
	for (unsigned i = top->layers; i > 0; i--)
		make_layer(top, below, i - 1, model_made(model), rng);
}

/* Where the image is silent, the layers below speak. */
static void tell_model(struct model *model, const struct sparse *content)
{
	for (uint64_t i = 0; i < content->nused; i++) {
		uint64_t page = content->used[i] << PAGE_SHIFT;

		for (uint64_t at = page; at < page + PAGE_BYTES; at += SECTOR_SIZE) {
			uint64_t sector = at / SECTOR_SIZE, whose;
			version_t version;

			if (sector < model->sectors &&
			    pattern_content(sparse_at(content, at), &whose, &version) ==
				    CONTENT_PATTERN)
				model_set(model, sector, version, version);
		}
	}
}

static void make_durable(struct disk *disk)
{
	for (uint64_t i = 0; i < disk->visible.nused; i++)
		sparse_copy_page(&disk->durable, &disk->visible, disk->visible.used[i]);
	disk->durable.size = disk->visible.size;
}

void make_image(const struct shape *shape, struct disk *disk, struct disk *data,
		struct below *below, struct model *model, struct rng *rng)
{
	struct builder b = {
		.shape = shape,
		.file = &disk->visible,
		.data = &data->visible,
		.data_name = below_data_name(MAX_LAYERS),
		.content = &below->content,
		.model = model,
		.rng = rng,
	};

	model_reset(model, shape->size_bytes / SECTOR_SIZE);
	make_chain(shape, below, model, rng);
	tell_model(model, &below->content);
	b.old = model_made(model);
	b.active = model_made(model);
	if (below->layers) {
		b.below = below_name(0);
		b.below_is_raw = shape->layer[0].raw;
	}
	make_file(&b);
	make_end(&b, disk);
	if (shape->data_raw)
		sparse_resize(&data->visible, shape->size_bytes);
	if (shape->data_apart && shape->full_host && !shape->device)
		data->limit = max_u64(data->visible.size, shape->size_bytes / 2);
	make_durable(disk);
	make_durable(data);
	builder_free(&b);
}
