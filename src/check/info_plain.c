/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What an image says about itself, for humans. */
#include "info.h"
#include "json.h"

#include <inttypes.h>
#include <time.h>

/* Text in the header's cluster, if there is any. */
static void print_range(const struct info *info, FILE *out, const char *label,
			struct header_range range)
{
	if (!range.len)
		return;
	fprintf(out, "%s: ", label);
	plain_string(out, info->bytes + range.off, range.len);
	fputc('\n', out);
}

static void print_size(FILE *out, const char *label, uint64_t bytes)
{
	static const char *const unit[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double value = (double)bytes;
	unsigned i = 0;

	for (; value >= 1024 && i + 1 < ARRAY_SIZE(unit); i++)
		value /= 1024;
	fprintf(out, "%s: %.4g %s (%" PRIu64 " bytes)\n", label, value, unit[i], bytes);
}

static void print_snapshot(const struct snapshot_reader *reader, unsigned index, void *arg)
{
	const struct snapshot *s = &reader->snapshot;
	time_t date = s->date_sec;
	char text[32] = "?";
	struct tm local;
	FILE *out = arg;

	(void)index;
	if (localtime_r(&date, &local))
		strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &local);
	fputs("    id ", out);
	plain_string(out, reader->bytes + s->id.off, s->id.len);
	fputs(", name ", out);
	plain_string(out, reader->bytes + s->name.off, s->name.len);
	fprintf(out, ", %s, VM state %" PRIu64 " bytes, disk %" PRIu64 " bytes\n", text,
		s->vm_state_bytes, s->disk_bytes);
}

static void print_bitmap(const struct bitmap_reader *reader, unsigned index, void *arg)
{
	const struct bitmap *b = &reader->bitmap;
	FILE *out = arg;

	(void)index;
	fputs("    name ", out);
	plain_string(out, reader->bytes + b->name.off, b->name.len);
	fprintf(out, ", granularity %" PRIu64 " bytes%s%s\n", UINT64_C(1) << b->granularity_bits,
		b->flags & BITMAP_AUTO ? ", auto" : "", b->flags & BITMAP_IN_USE ? ", in use" : "");
}

static void print_encryption(const struct info *info, FILE *out)
{
	static const char *const method[] = { "none", "AES", "LUKS" };

	fprintf(out, "encryption: %s", method[info->header.crypt_method]);
	if (info->luks_cipher[0]) {
		fputs(", ", out);
		plain_string(out, info->luks_cipher, strlen(info->luks_cipher));
		fputc('-', out);
		plain_string(out, info->luks_mode, strlen(info->luks_mode));
	}
	fputc('\n', out);
}

static const char *yes_no(bool value)
{
	return value ? "yes" : "no";
}

static void print_features(const struct info *info, FILE *out)
{
	const struct qcow2_header *h = &info->header;

	fprintf(out,
		"version: %u (compat %s)\ncluster size: %" PRIu32 " bytes\nrefcount bits: %u\n"
		"compression type: %s\n",
		h->version, h->version == 2 ? "0.10" : "1.1", info->g.cluster_bytes,
		1u << h->refcount_order, h->compression_type ? "zstd" : "zlib");
	fprintf(out, "lazy refcounts: %s\nextended L2: %s\ndirty: %s\ncorrupt: %s\n",
		yes_no(h->compatible & QCOW2_LAZY_REFCOUNTS),
		yes_no(h->incompatible & QCOW2_EXTENDED_L2), yes_no(h->incompatible & QCOW2_DIRTY),
		yes_no(h->incompatible & QCOW2_CORRUPT));
	print_encryption(info, out);
}

int info_print_plain(const struct info *info, FILE *out, struct why *why)
{
	const struct qcow2_header *h = &info->header;
	int err = 0;

	fputs("image: ", out);
	plain_string(out, info->file->name, strlen(info->file->name));
	fputs("\nfile format: qcow2\n", out);
	print_size(out, "virtual size", h->size_bytes);
	print_size(out, "disk size", info->disk_bytes);
	print_features(info, out);
	print_range(info, out, "backing file", h->backing_name);
	print_range(info, out, "backing file format", h->backing_format);
	if (h->incompatible & QCOW2_DATA_FILE)
		fprintf(out, "external data file: %s\n",
			h->autoclear & QCOW2_DATA_FILE_RAW ? "raw" : "yes");
	print_range(info, out, "data file", h->data_file_name);
	if (h->snapshots) {
		fprintf(out, "snapshots: %u\n", h->snapshots);
		err = info_each_snapshot(info, print_snapshot, out, why);
	}
	if (!err && info->bitmaps.bitmaps) {
		fprintf(out, "bitmaps: %u\n", info->bitmaps.bitmaps);
		err = info_each_bitmap(info, print_bitmap, out, why);
	}
	return err;
}
