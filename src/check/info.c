/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an image says about itself.  Everything is read and validated once before anything is
 * printed; lists are then read again while they are printed, since they can be long.
 */
#include "info.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>

#define LUKS_CIPHER_AT 8u
#define LUKS_MODE_AT 40u

int info_each_snapshot(const struct info *info, info_snapshot_fn *print, void *arg, struct why *why)
{
	struct snapshot_reader reader;
	int err = snapshot_reader_init(&reader, info->file, &info->g, info->header.snapshot_table,
				       why);

	for (unsigned i = 0; i < info->header.snapshots && !err; i++) {
		err = snapshot_reader_next(&reader, why);
		if (!err && reader.snapshot.faults & SNAPSHOT_EXTRA_TOO_LARGE)
			err = why_set(why, -EINVAL, "%s: snapshot %u has too much extra data",
				      info->file->name, i);
		if (!err && print)
			print(&reader, i, arg);
	}
	snapshot_reader_release(&reader);
	return err;
}

int info_each_bitmap(const struct info *info, info_bitmap_fn *print, void *arg, struct why *why)
{
	struct bitmap_reader reader = {
		.file = info->file,
		.g = &info->g,
		.directory = info->bitmaps,
	};
	int more = 0;

	while (info->bitmaps.bitmaps && (more = bitmap_reader_next(&reader, why)) > 0)
		if (print)
			print(&reader, reader.index - 1, arg);
	return more;
}

/* Text of a fixed field, which ends at its first NUL. */
static void copy_field(char text[static LUKS_NAME_BYTES + 1], const uint8_t *field)
{
	memcpy(text, field, LUKS_NAME_BYTES);
	text[LUKS_NAME_BYTES] = '\0';
}

static int read_luks(struct info *info, struct why *why)
{
	static const uint8_t magic[] = { 'L', 'U', 'K', 'S', 0xba, 0xbe, 0, 1 };
	uint8_t bytes[LUKS_MODE_AT + LUKS_NAME_BYTES];
	struct crypto_area area;
	int err;

	if (info->header.crypto.len == 0)
		return 0;
	area = crypto_area_decode(info->bytes + info->header.crypto.off);
	err = access_read(info->file, area.host.byte, bytes, sizeof(bytes), NULL, why);
	if (err || memcmp(bytes, magic, sizeof(magic)) != 0)
		return err;
	copy_field(info->luks_cipher, bytes + LUKS_CIPHER_AT);
	copy_field(info->luks_mode, bytes + LUKS_MODE_AT);
	return 0;
}

static int read_header(struct info *info, struct why *why)
{
	struct stat stat;
	uint64_t file_bytes;
	size_t len;
	int err = access_measure(info->file, &file_bytes, why);

	if (err)
		return err;
	if (fstat(info->file->fd, &stat))
		return why_set(why, -errno, "%s: %m", info->file->name);
	info->disk_bytes = (uint64_t)stat.st_blocks * SECTOR_SIZE;
	len = min_u64(file_bytes, QCOW2_HEADER_READ);
	info->bytes = malloc(len + 1);
	if (!info->bytes)
		return why_set(why, -ENOMEM, "%s: out of memory", info->file->name);
	err = access_read(info->file, 0, info->bytes, len, &len, why);
	return err ? err :
		     qcow2_header_decode(info->bytes, len, info->file->name, &info->header, why);
}

static int read_all(struct info *info, struct why *why)
{
	int err = read_header(info, why);

	if (err)
		return err;
	info->g = qcow2_geometry(&info->header);
	if (info->header.bitmaps.len && info->header.autoclear & QCOW2_BITMAPS)
		info->bitmaps = bitmap_directory_decode(info->bytes + info->header.bitmaps.off);
	err = read_luks(info, why);
	if (!err)
		err = info_each_snapshot(info, NULL, NULL, why);
	return err ? err : info_each_bitmap(info, NULL, NULL, why);
}

int image_info_print(struct check_file *file, bool json, FILE *out, struct why *why)
{
	struct info info = { .file = file };
	int err = read_all(&info, why);

	if (!err)
		err = json ? info_print_json(&info, out, why) : info_print_plain(&info, out, why);
	free(info.bytes);
	return err;
}
