/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's side of a made image: L2 tables and what they point at. */
#include "builder.h"
#include "cipher.h"
#include "memory.h"

#include <stdlib.h>

#define MANY_CLUSTERS 400u /* beyond that, only the hot ones hold bytes */

static version_t version_below(const struct builder *b, uint64_t sector)
{
	uint8_t bytes[SECTOR_SIZE];
	uint64_t whose;
	version_t version;

	if (sparse_hole(b->content, sector * SECTOR_SIZE, SECTOR_SIZE))
		return 0;
	sparse_read(b->content, sector * SECTOR_SIZE, bytes, sizeof(bytes));
	must(pattern_content(bytes, &whose, &version) != CONTENT_GARBAGE);
	return version;
}

static version_t version_of(const struct builder *b, const struct reads *reads, uint64_t nth,
			    version_t below)
{
	uint64_t subcluster = nth * SECTOR_SIZE / shape_unit_bytes(b->shape);

	if (reads->by_bitmap && !(reads->bitmap >> subcluster & 1))
		return reads->bitmap >> (SUBCLUSTERS + subcluster) & 1 ? 0 : below;
	if (reads->below)
		return below;
	return nth < reads->sectors ? reads->version : 0;
}

/* The model learns what the image says, or the content what a layer says. */
static void tell(struct builder *b, uint64_t guest_cluster, const struct reads *active,
		 const struct reads *snapshot)
{
	uint64_t per_cluster = b->cluster_bytes / SECTOR_SIZE;
	uint64_t first = guest_cluster * per_cluster;
	uint8_t bytes[SECTOR_SIZE];

	for (uint64_t i = 0; i < per_cluster && first + i < b->sectors; i++) {
		uint64_t sector = first + i;
		version_t below = version_below(b, sector);
		version_t now = version_of(b, active, i, below);
		version_t old = version_of(b, snapshot, i, below);

		if (b->model && (now || old || below)) {
			model_set(b->model, sector, now, old);
		} else if (!b->model && now) {
			pattern_fill(bytes, sector, now);
			sparse_write(b->content, sector * SECTOR_SIZE, bytes, SECTOR_SIZE);
		} else if (!b->model && below) {
			sparse_punch(b->content, sector * SECTOR_SIZE, SECTOR_SIZE);
		}
	}
}

void build_put_data(struct builder *b, struct sparse *file, uint64_t host, uint64_t guest_cluster,
		    version_t version)
{
	uint64_t per_cluster = b->cluster_bytes / SECTOR_SIZE;
	uint64_t first = guest_cluster * per_cluster;
	uint64_t end = min_u64(first + per_cluster, b->sectors);
	uint8_t bytes[SECTOR_SIZE];

	for (uint64_t sector = first; sector < end; sector++) {
		pattern_fill(bytes, sector, version);
		sparse_write(file, host + (sector - first) * SECTOR_SIZE, bytes, SECTOR_SIZE);
	}
}

/* What was there once, and is not the guest's any more. */
static void put_noise_apart(struct builder *b, uint64_t guest_cluster)
{
	build_put_noise_at(b, b->data, build_host_byte(b, guest_cluster), b->cluster_bytes);
}

/* Data of one guest cluster; what lies beyond the end of the disk is noise. */
static uint64_t take_data(struct builder *b, uint64_t guest_cluster, version_t version,
			  uint64_t refcount)
{
	uint64_t cluster = build_take(b, 1, refcount);

	if ((guest_cluster + 1) * b->cluster_bytes > b->sectors * SECTOR_SIZE)
		build_put_noise(b, cluster);
	build_put_data(b, b->file, build_host_byte(b, cluster), guest_cluster, version);
	return cluster;
}

bool build_is_hot(const struct builder *b, uint64_t guest_cluster)
{
	for (unsigned i = 0; i < b->shape->hots; i++)
		if (guest_cluster - b->shape->hot[i].first_cluster < b->shape->hot[i].clusters)
			return true;
	return false;
}

/* A compressed cluster: full of data, partly zeros, or nothing but zeros. */
static uint64_t take_packed(struct builder *b, uint64_t guest_cluster, uint64_t refcount,
			    struct reads *reads)
{
	uint64_t per_cluster = b->cluster_bytes / SECTOR_SIZE;
	uint64_t first = guest_cluster * per_cluster;
	uint8_t *bytes = xmalloc(b->cluster_bytes);
	uint64_t entry;

	if (rng_one_in(b->rng, 2))
		reads->sectors = rng_below_u64(b->rng, per_cluster + 1);
	memset(bytes, 0, b->cluster_bytes);
	for (uint64_t i = 0; i < per_cluster; i++) {
		if (first + i >= b->sectors)
			memset(bytes + i * SECTOR_SIZE, 0xa5, SECTOR_SIZE);
		else if (i < reads->sectors)
			pattern_fill(bytes + i * SECTOR_SIZE, first + i, reads->version);
	}
	entry = build_take_packed(b, bytes, refcount);
	free(bytes);
	return entry;
}

/* The same for an image with a data file: the entry, with COPIED. */
static uint64_t draw_entry_apart(struct builder *b, uint64_t guest_cluster, unsigned kind,
				 version_t data, struct reads *reads)
{
	uint64_t entry = build_host_byte(b, guest_cluster) | ENTRY_COPIED;

	*reads = (struct reads){ 0 };
	if (b->shape->data_raw && kind > 1)
		kind = 1;
	if (kind == 0) {
		*reads = (struct reads){ .version = data, .sectors = UINT64_MAX };
		build_put_data(b, b->data, build_host_byte(b, guest_cluster), guest_cluster, data);
		return entry;
	}
	if (kind == 1)
		return entry;
	if (rng_one_in(b->rng, 2) && build_is_hot(b, guest_cluster))
		put_noise_apart(b, guest_cluster);
	if (kind == 2)
		return ENTRY_ZERO;
	if (kind == 3)
		return entry | ENTRY_ZERO;
	reads->below = true;
	return 0;
}

/* A standard entry for one guest cluster, without COPIED; and what it reads as. */
static uint64_t draw_standard_entry(struct builder *b, uint64_t guest_cluster, uint64_t refcount,
				    version_t data, struct reads *reads)
{
	bool zeros_exist = b->shape->version > 2;
	unsigned kind = rng_percent(b->rng, b->shape->data_percent) ? 0 : rng_range(b->rng, 1, 4);
	uint64_t cluster;

	if (!build_is_hot(b, guest_cluster) && kind != 2 && b->shape->clusters > MANY_CLUSTERS)
		kind = 1;

	if (b->shape->data_apart)
		return draw_entry_apart(b, guest_cluster, kind, data, reads);
	*reads = (struct reads){ 0 };
	if (kind == 0) {
		*reads = (struct reads){ .version = data, .sectors = UINT64_MAX };
		if (rng_percent(b->rng, b->shape->packed_percent)) {
			uint64_t entry = take_packed(b, guest_cluster, refcount, reads);

			if (entry)
				return entry;
			reads->sectors = UINT64_MAX;
		}
		return build_host_byte(b, take_data(b, guest_cluster, data, refcount));
	}
	if (kind == 1)
		return build_host_byte(b, build_take(b, 1, refcount)); /* a hole in the file */
	if (kind == 2 && zeros_exist)
		return ENTRY_ZERO;
	if (kind == 3 && zeros_exist) {
		cluster = build_take(b, 1, refcount);
		build_put_noise(b, cluster);
		return build_host_byte(b, cluster) | ENTRY_ZERO;
	}
	reads->below = true;
	return 0;
}

static struct l2_word draw_entry(struct builder *b, uint64_t guest_cluster, uint64_t refcount,
				 version_t data, struct reads *reads)
{
	bool packed = rng_percent(b->rng, b->shape->packed_percent);
	struct l2_word word = { 0 };

	if (b->shape->extended && !packed)
		return build_draw_subclusters(b, guest_cluster, refcount, data, reads);
	if (b->shape->extended) {
		*reads = (struct reads){ .version = data, .sectors = UINT64_MAX };
		word.entry = take_packed(b, guest_cluster, refcount, reads);
		if (word.entry)
			return word;
		return build_draw_subclusters(b, guest_cluster, refcount, data, reads);
	}
	word.entry = draw_standard_entry(b, guest_cluster, refcount, data, reads);
	return word;
}

/* Whatever lies in the cluster of this entry is encrypted, also what is not the guest's. */
static void encrypt(struct builder *b, struct l2_word word)
{
	struct sparse *file = b->shape->data_apart ? b->data : b->file;
	uint64_t at = word.entry & ENTRY_HOST_MASK, end = at + b->cluster_bytes;
	uint8_t bytes[SECTOR_SIZE];

	if (!b->shape->encrypted || word.entry & ENTRY_COMPRESSED ||
	    !(word.entry & (ENTRY_HOST_MASK | ENTRY_COPIED)))
		return;
	if (b->shape->data_apart)
		end = min_u64(end, b->sectors * SECTOR_SIZE);
	for (; at < end; at += SECTOR_SIZE) {
		sparse_read(file, at, bytes, SECTOR_SIZE);
		sim_cipher(b->key, at / SECTOR_SIZE, bytes, bytes, SECTOR_SIZE);
		sparse_write(file, at, bytes, SECTOR_SIZE);
	}
}

static struct l2_word with_copied(struct l2_word word)
{
	if (!(word.entry & ENTRY_COMPRESSED) && word.entry & ENTRY_HOST_MASK)
		word.entry |= ENTRY_COPIED;
	return word;
}

static void put_entry(struct builder *b, uint64_t table, uint64_t i, struct l2_word word)
{
	uint64_t at = build_host_byte(b, table) + i * (b->shape->extended ? 16 : 8);

	if (word.entry)
		build_put_be64(b, at, word.entry);
	if (word.bitmap)
		build_put_be64(b, at + 8, word.bitmap);
}

static bool is_filled(const struct builder *b, uint64_t guest_cluster)
{
	return guest_cluster < b->shape->clusters &&
	       (b->shape->prefill == PREFILL_ALL || build_is_hot(b, guest_cluster));
}

bool build_table_is_wanted(const struct builder *b, uint64_t l1_index)
{
	for (uint64_t i = 0; i < b->l2_entries; i++)
		if (is_filled(b, l1_index * b->l2_entries + i))
			return true;
	return false;
}

/* How an L1 index of the active disk and one of the snapshot are related. */
enum sharing { SHARE_TABLE, SHARE_CLUSTERS, ACTIVE_ONLY, SNAPSHOT_ONLY };

static void fill_entry(struct builder *b, uint64_t table, uint64_t old_table, uint64_t l1_index,
		       uint64_t i, enum sharing sharing)
{
	uint64_t guest_cluster = l1_index * b->l2_entries + i;
	bool share = sharing == SHARE_TABLE || (sharing == SHARE_CLUSTERS && rng_one_in(b->rng, 2));
	struct reads active = { .below = true }, old = { .below = true };
	struct l2_word entry = { 0 }, old_entry = { 0 };

	if (sharing != SNAPSHOT_ONLY) {
		entry = draw_entry(b, guest_cluster, share ? 2 : 1, b->active, &active);
		encrypt(b, entry);
		if (!share)
			entry = with_copied(entry);
	}
	if (share) {
		old_entry = entry;
		old = active;
	} else if (sharing != ACTIVE_ONLY) {
		/* The snapshot's flags mean nothing: leave them as they may have been. */
		old_entry = draw_entry(b, guest_cluster, 1, b->old, &old);
		encrypt(b, old_entry);
		old_entry = with_copied(old_entry);
	}
	put_entry(b, table, i, entry);
	if (sharing != SHARE_TABLE)
		put_entry(b, old_table, i, old_entry);
	tell(b, guest_cluster, &active, &old);
}

static enum sharing draw_sharing(const struct builder *b)
{
	if (!b->shape->snapshot)
		return ACTIVE_ONLY;
	/* Large tables are few: most of them shall be of interest. */
	if (b->shape->extended && rng_one_in(b->rng, 2))
		return rng_below(b->rng, 2) ? SHARE_TABLE : SHARE_CLUSTERS;
	return rng_below(b->rng, 4);
}

void build_fill_table(struct builder *b, uint64_t l1_index)
{
	enum sharing sharing = draw_sharing(b);
	uint64_t table = 0, old_table = 0;

	if (sharing != SNAPSHOT_ONLY)
		table = build_take(b, 1, sharing == SHARE_TABLE ? 2 : 1);
	if (sharing == SHARE_TABLE)
		old_table = table;
	else if (sharing != ACTIVE_ONLY)
		old_table = build_take(b, 1, 1);
	for (uint64_t i = 0; i < b->l2_entries; i++)
		if (is_filled(b, l1_index * b->l2_entries + i) &&
		    (b->shape->prefill == PREFILL_ALL || rng_percent(b->rng, 90)))
			fill_entry(b, table, old_table, l1_index, i, sharing);
	if (table)
		b->l1[l1_index] = build_host_byte(b, table);
	if (table && sharing != SHARE_TABLE)
		b->l1[l1_index] |= ENTRY_COPIED;
	if (old_table)
		b->snapshot_l1[l1_index] = build_host_byte(b, old_table) |
					   (rng_one_in(b->rng, 2) ? ENTRY_COPIED : 0);
}
