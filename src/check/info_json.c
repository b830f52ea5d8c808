/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What an image says about itself, as JSON with the keys of qemu-img info. */
#include "info.h"
#include "json.h"

#include <inttypes.h>

/* Text in the header's cluster, if there is any. */
static void print_range(const struct info *info, FILE *out, const char *indent, const char *key,
			struct header_range range)
{
	if (!range.len)
		return;
	fprintf(out, "%s\"%s\": ", indent, key);
	json_string(out, info->bytes + range.off, range.len);
	fprintf(out, ",\n");
}

static const char *truth(bool value)
{
	return value ? "true" : "false";
}

static void print_snapshot(const struct snapshot_reader *reader, unsigned index, void *arg)
{
	const struct snapshot *s = &reader->snapshot;
	FILE *out = arg;

	fprintf(out, "%s        { \"id\": ", index ? ",\n" : "");
	json_string(out, reader->bytes + s->id.off, s->id.len);
	fprintf(out, ", \"name\": ");
	json_string(out, reader->bytes + s->name.off, s->name.len);
	fprintf(out,
		", \"date-sec\": %" PRIu32 ", \"date-nsec\": %" PRIu32
		", \"vm-clock-sec\": %" PRIu64 ", \"vm-clock-nsec\": %" PRIu64
		", \"vm-state-size\": %" PRIu64 ", \"disk-size\": %" PRIu64 " }",
		s->date_sec, s->date_nsec, s->clock_nsec / 1000000000, s->clock_nsec % 1000000000,
		s->vm_state_bytes, s->disk_bytes);
}

static void print_bitmap(const struct bitmap_reader *reader, unsigned index, void *arg)
{
	const struct bitmap *b = &reader->bitmap;
	FILE *out = arg;

	fprintf(out, "%s                { \"name\": ", index ? ",\n" : "");
	json_string(out, reader->bytes + b->name.off, b->name.len);
	fprintf(out, ", \"granularity\": %" PRIu64 ", \"flags\": [%s%s%s] }",
		UINT64_C(1) << b->granularity_bits, b->flags & BITMAP_IN_USE ? "\"in-use\"" : "",
		(b->flags & BITMAP_IN_USE) && (b->flags & BITMAP_AUTO) ? ", " : "",
		b->flags & BITMAP_AUTO ? "\"auto\"" : "");
}

static void print_encryption(const struct info *info, FILE *out)
{
	if (info->header.crypt_method == 0)
		return;
	fprintf(out, "            \"encrypt\": { \"format\": \"%s\"",
		info->header.crypt_method == 2 ? "luks" : "aes");
	if (info->luks_cipher[0]) {
		fprintf(out, ", \"cipher\": ");
		json_string(out, info->luks_cipher, strlen(info->luks_cipher));
		fprintf(out, ", \"mode\": ");
		json_string(out, info->luks_mode, strlen(info->luks_mode));
	}
	fprintf(out, " },\n");
}

static int print_specific(const struct info *info, FILE *out, struct why *why)
{
	const struct qcow2_header *h = &info->header;
	const char *indent = "            ";
	int err = 0;

	fprintf(out, "    \"format-specific\": {\n        \"type\": \"qcow2\",\n"
		     "        \"data\": {\n");
	print_encryption(info, out);
	print_range(info, out, indent, "data-file", h->data_file_name);
	if (h->incompatible & QCOW2_DATA_FILE)
		fprintf(out, "%s\"data-file-raw\": %s,\n", indent,
			truth(h->autoclear & QCOW2_DATA_FILE_RAW));
	if (info->bitmaps.bitmaps) {
		fprintf(out, "%s\"bitmaps\": [\n", indent);
		err = info_each_bitmap(info, print_bitmap, out, why);
		fprintf(out, "\n%s],\n", indent);
	}
	fprintf(out,
		"%s\"compat\": \"%s\",\n%s\"compression-type\": \"%s\",\n"
		"%s\"lazy-refcounts\": %s,\n%s\"refcount-bits\": %u,\n"
		"%s\"corrupt\": %s,\n%s\"extended-l2\": %s\n        }\n    },\n",
		indent, h->version == 2 ? "0.10" : "1.1", indent,
		h->compression_type ? "zstd" : "zlib", indent,
		truth(h->compatible & QCOW2_LAZY_REFCOUNTS), indent, 1u << h->refcount_order,
		indent, truth(h->incompatible & QCOW2_CORRUPT), indent,
		truth(h->incompatible & QCOW2_EXTENDED_L2));
	return err;
}

int info_print_json(const struct info *info, FILE *out, struct why *why)
{
	const struct qcow2_header *h = &info->header;
	int err = 0;

	fprintf(out, "{\n    \"filename\": ");
	json_string(out, info->file->name, strlen(info->file->name));
	fprintf(out,
		",\n    \"format\": \"qcow2\",\n    \"virtual-size\": %" PRIu64
		",\n    \"actual-size\": %" PRIu64 ",\n    \"cluster-size\": %" PRIu32 ",\n",
		h->size_bytes, info->disk_bytes, info->g.cluster_bytes);
	if (h->crypt_method)
		fprintf(out, "    \"encrypted\": true,\n");
	print_range(info, out, "    ", "backing-filename", h->backing_name);
	print_range(info, out, "    ", "backing-filename-format", h->backing_format);
	if (h->snapshots) {
		fprintf(out, "    \"snapshots\": [\n");
		err = info_each_snapshot(info, print_snapshot, out, why);
		fprintf(out, "\n    ],\n");
	}
	if (!err)
		err = print_specific(info, out, why);
	fprintf(out, "    \"dirty-flag\": %s\n}\n", truth(h->incompatible & QCOW2_DIRTY));
	return err;
}
