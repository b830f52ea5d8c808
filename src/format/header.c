/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The fixed fields of the header: decoded once, and judged so that nobody need ask again. */
#include "format.h"

#include "decoder.h"

#include <inttypes.h>

#define EXTENDED_L2_CLUSTER_BITS_MIN 14u /* 32 subclusters of at least a sector */

/* The header as it lies in the file (specification: "Header"). */
struct header_raw {
	struct be32 magic;
	struct be32 version;
	struct be64 backing_file_offset;
	struct be32 backing_file_size;
	struct be32 cluster_bits;
	struct be64 size;
	struct be32 crypt_method;
	struct be32 l1_size;
	struct be64 l1_table_offset;
	struct be64 refcount_table_offset;
	struct be32 refcount_table_clusters;
	struct be32 nb_snapshots;
	struct be64 snapshots_offset;
	/* version 3 */
	struct be64 incompatible_features;
	struct be64 compatible_features;
	struct be64 autoclear_features;
	struct be32 refcount_order;
	struct be32 header_length;
	/* only when header_length says so */
	uint8_t compression_type;
};

_Static_assert(offsetof(struct header_raw, size) == QCOW2_AT_SIZE, "layout");
_Static_assert(offsetof(struct header_raw, l1_size) == QCOW2_AT_L1, "layout");
_Static_assert(offsetof(struct header_raw, refcount_table_offset) == QCOW2_AT_REFCOUNT_TABLE,
	       "layout");
_Static_assert(offsetof(struct header_raw, nb_snapshots) == QCOW2_AT_SNAPSHOTS, "layout");
_Static_assert(offsetof(struct header_raw, incompatible_features) == QCOW2_AT_INCOMPATIBLE,
	       "layout");
_Static_assert(offsetof(struct header_raw, incompatible_features) == QCOW2_HEADER_V2_BYTES,
	       "layout");
_Static_assert(offsetof(struct header_raw, autoclear_features) == QCOW2_AT_AUTOCLEAR, "layout");
_Static_assert(offsetof(struct header_raw, compression_type) == QCOW2_HEADER_V3_BYTES, "layout");

static int decode_version(struct header_decoder *d, const struct header_raw *raw)
{
	struct qcow2_header *h = d->header;

	if (be32_get(raw->magic) != QCOW2_MAGIC)
		return why_set(d->why, -EINVAL,
			       "%s: not a qcow2 image: its first bytes are not \"QFI\\xfb\"; "
			       "check the file name",
			       d->name);
	h->version = be32_get(raw->version);
	if (h->version != 2 && h->version != 3)
		return why_set(d->why, -EINVAL,
			       "%s: qcow2 version %u is not supported, only 2 and 3 are; "
			       "convert the image with qemu-img",
			       d->name, h->version);
	if (h->version == 3 && d->len < QCOW2_HEADER_V3_BYTES)
		return damaged(d, "the file ends within the header, after %zu bytes", d->len);
	return 0;
}

static void decode_common_fields(struct header_decoder *d, const struct header_raw *raw)
{
	struct qcow2_header *h = d->header;

	d->backing_off = be64_get(raw->backing_file_offset);
	d->backing_len = be32_get(raw->backing_file_size);
	h->cluster_bits = be32_get(raw->cluster_bits);
	h->size_bytes = be64_get(raw->size);
	h->crypt_method = be32_get(raw->crypt_method);
	h->l1_entries = be32_get(raw->l1_size);
	h->l1.byte = be64_get(raw->l1_table_offset);
	h->refcount_table.byte = be64_get(raw->refcount_table_offset);
	h->refcount_table_clusters = be32_get(raw->refcount_table_clusters);
	h->snapshots = be32_get(raw->nb_snapshots);
	h->snapshot_table.byte = be64_get(raw->snapshots_offset);
}

/* In version 2 these bytes belong to somebody else. */
static void decode_version_3_fields(struct qcow2_header *h, const struct header_raw *raw)
{
	if (h->version == 2) {
		h->refcount_order = 4;
		h->header_bytes = QCOW2_HEADER_V2_BYTES;
		return;
	}
	h->incompatible = be64_get(raw->incompatible_features);
	h->compatible = be64_get(raw->compatible_features);
	h->autoclear = be64_get(raw->autoclear_features);
	h->refcount_order = be32_get(raw->refcount_order);
	h->header_bytes = be32_get(raw->header_length);
	if (h->header_bytes > QCOW2_HEADER_V3_BYTES)
		h->compression_type = raw->compression_type;
}

/* Everything that the walk over the extensions relies on. */
static int check_layout(const struct header_decoder *d)
{
	const struct qcow2_header *h = d->header;
	uint64_t cluster_bytes;

	if (h->cluster_bits < LIMIT_CLUSTER_BITS_MIN || h->cluster_bits > LIMIT_CLUSTER_BITS_MAX)
		return damaged(d, "cluster size 2^%u is outside 2^%u..2^%u", h->cluster_bits,
			       LIMIT_CLUSTER_BITS_MIN, LIMIT_CLUSTER_BITS_MAX);
	cluster_bytes = UINT64_C(1) << h->cluster_bits;
	if (h->version == 3 && h->header_bytes < QCOW2_HEADER_V3_BYTES)
		return damaged(d, "header length %u is less than %u", h->header_bytes,
			       QCOW2_HEADER_V3_BYTES);
	if (h->header_bytes > cluster_bytes)
		return damaged(d, "header length %u exceeds the cluster size %" PRIu64,
			       h->header_bytes, cluster_bytes);
	if (h->header_bytes > d->len)
		return damaged(d, "the file ends within the header, after %zu of %u bytes", d->len,
			       h->header_bytes);
	if (d->backing_off > cluster_bytes)
		return damaged(d, "the backing file's name at %#" PRIx64 " is not in cluster 0",
			       d->backing_off);
	return 0;
}

static int check_features(const struct header_decoder *d)
{
	const struct qcow2_header *h = d->header;
	uint64_t unknown = h->incompatible & ~(uint64_t)QCOW2_INCOMPATIBLE_KNOWN;
	bool typed = h->incompatible & QCOW2_COMPRESSION_TYPE;

	if (unknown) {
		char names[256];

		header_feature_names(d, unknown, names, sizeof(names));
		return why_set(d->why, -EINVAL,
			       "%s: uses features that this program does not know: %s; convert the "
			       "image with the program that made it",
			       d->name, names);
	}
	if ((h->incompatible & QCOW2_EXTENDED_L2) && h->cluster_bits < EXTENDED_L2_CLUSTER_BITS_MIN)
		return damaged(d, "extended L2 entries need clusters of 2^%u bytes, not 2^%u",
			       EXTENDED_L2_CLUSTER_BITS_MIN, h->cluster_bits);
	if (h->compression_type > 1)
		return why_set(d->why, -EINVAL,
			       "%s: unknown compression type %u; convert the image with the "
			       "program that made it",
			       d->name, h->compression_type);
	if (typed != (h->compression_type != 0))
		return damaged(d, "compression type %u and the feature bit for it disagree",
			       h->compression_type);
	if (h->refcount_order > 6)
		return damaged(d, "refcounts of 2^%u bits are wider than 64 bits",
			       h->refcount_order);
	if (h->crypt_method > 2)
		return damaged(d, "unknown encryption method %u", h->crypt_method);
	if ((h->autoclear & QCOW2_DATA_FILE_RAW) && !(h->incompatible & QCOW2_DATA_FILE))
		return damaged(d, "the data file is said to be raw, but there is no data file");
	return 0;
}

/* Would a table of @bytes at @off end beyond what file offsets can express? */
static bool table_wraps(uint64_t off, uint64_t bytes)
{
	return off > (uint64_t)INT64_MAX || bytes > (uint64_t)INT64_MAX - off;
}

/* Tables are not required to lie inside the file: what is beyond its end reads as zeros. */
static int check_table(const struct header_decoder *d, const char *table, uint64_t off,
		       uint64_t bytes)
{
	uint64_t cluster_bytes = UINT64_C(1) << d->header->cluster_bits;

	if (!is_aligned(off, cluster_bytes))
		return damaged(d, "the %s at %#" PRIx64 " is not aligned to a cluster", table, off);
	if (table_wraps(off, bytes))
		return damaged(d, "the %s at %#" PRIx64 " is out of range", table, off);
	return 0;
}

static int check_refcount_table(const struct header_decoder *d)
{
	const struct qcow2_header *h = d->header;
	uint64_t bytes = (uint64_t)h->refcount_table_clusters << h->cluster_bits;
	int err;

	if (bytes == 0 && !d->to_repair)
		return why_set(d->why, -EINVAL,
			       "%s: there is no refcount table; repair the image with qemu-img "
			       "check -r all",
			       d->name);
	if (bytes > LIMIT_REFCOUNT_TABLE_BYTES)
		return damaged(d, "refcount table too large: %" PRIu64 " bytes", bytes);
	err = check_table(d, "refcount table", h->refcount_table.byte, bytes);
	if (err)
		return err;
	/* Each refcount would look like 0, and the header would be given to the first write. */
	if (h->refcount_table.byte == 0 && !d->to_repair)
		return damaged(d, "refcount table at offset 0");
	return 0;
}

static int check_l1(const struct header_decoder *d)
{
	const struct qcow2_header *h = d->header;
	unsigned entry_shift = h->incompatible & QCOW2_EXTENDED_L2 ? 4 : 3;
	uint64_t covered_by_entry = UINT64_C(1) << (2 * h->cluster_bits - entry_shift);
	uint64_t bytes = (uint64_t)h->l1_entries * 8;
	uint64_t needed = div_round_up(h->size_bytes, covered_by_entry);
	int err;

	if (bytes > LIMIT_L1_BYTES)
		return damaged(d, "L1 table too large: %u entries", h->l1_entries);
	if (h->l1_entries < needed)
		return damaged(d, "L1 table is too small: %u of %" PRIu64 " entries", h->l1_entries,
			       needed);
	err = check_table(d, "L1 table", h->l1.byte, bytes);
	if (err)
		return err;
	if (h->l1.byte == 0 && h->l1_entries != 0 && !d->to_repair)
		return damaged(d, "L1 table at offset 0");
	return 0;
}

static int check_snapshot_table(const struct header_decoder *d)
{
	const struct qcow2_header *h = d->header;

	if (d->to_repair)
		return 0;
	if (h->snapshots > LIMIT_SNAPSHOTS)
		return damaged(d, "snapshot table too large: %u snapshots", h->snapshots);
	return check_table(d, "snapshot table", h->snapshot_table.byte,
			   (uint64_t)h->snapshots * SNAPSHOT_FIXED_BYTES);
}

static int decode_backing_name(struct header_decoder *d)
{
	uint64_t cluster_bytes = UINT64_C(1) << d->header->cluster_bits;

	if (d->backing_off == 0)
		return 0;
	if (d->backing_len > min_u64(LIMIT_BACKING_NAME, cluster_bytes - d->backing_off))
		return damaged(d, "the backing file's name is too long: %u bytes", d->backing_len);
	if (d->backing_off + d->backing_len > d->len)
		return damaged(d, "the file ends within the name of the backing file");
	d->header->has_backing = true;
	d->header->backing_name = (struct header_range){ (uint32_t)d->backing_off, d->backing_len };
	return 0;
}

static int decode(struct header_decoder *d)
{
	static int (*const checks[])(const struct header_decoder *d) = {
		check_layout, check_features, check_refcount_table, check_l1, check_snapshot_table,
	};
	struct header_raw raw = { 0 };
	int err;

	*d->header = (struct qcow2_header){ 0 };
	if (d->len < QCOW2_HEADER_V2_BYTES)
		return why_set(d->why, -EINVAL,
			       "%s: %zu bytes are too few for a qcow2 image; check the file name",
			       d->name, d->len);
	memcpy(&raw, d->bytes, min_u64(d->len, sizeof(raw)));
	err = decode_version(d, &raw);
	if (err)
		return err;
	decode_common_fields(d, &raw);
	decode_version_3_fields(d->header, &raw);
	for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
		err = checks[i](d);
		if (err)
			return err;
	}
	err = header_extensions_decode(d);
	if (err)
		return err;
	err = decode_backing_name(d);
	if (err)
		return err;
	d->header->size_bytes = round_down(d->header->size_bytes, SECTOR_SIZE);
	return 0;
}

size_t qcow2_header_most(const void *start)
{
	struct be32 raw;
	uint32_t bits;

	memcpy(&raw, (const uint8_t *)start + offsetof(struct header_raw, cluster_bits),
	       sizeof(raw));
	bits = be32_get(raw);
	if (bits < LIMIT_CLUSTER_BITS_MIN || bits > LIMIT_CLUSTER_BITS_MAX)
		return QCOW2_HEADER_START;
	return (size_t)1 << bits;
}

int qcow2_header_decode(const void *bytes, size_t len, const char *name,
			struct qcow2_header *header, struct why *why)
{
	struct header_decoder d = {
		.bytes = bytes, .len = len, .name = name, .header = header, .why = why
	};

	return decode(&d);
}

int qcow2_header_decode_damaged(const void *bytes, size_t len, const char *name,
				struct qcow2_header *header, struct why *why)
{
	struct header_decoder d = {
		.bytes = bytes,
		.len = len,
		.name = name,
		.header = header,
		.why = why,
		.to_repair = true,
	};

	return decode(&d);
}
