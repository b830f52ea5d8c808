/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The bitmap directory is changed in place, one flag for each bitmap. */
#include "bitmaps.h"

#include <errno.h>
#include <stdlib.h>

#define FLAGS_AT 12u /* in an entry: be32 */

/* Set the flag in each entry; false when one of them is not as it must be. */
static bool mark(const struct geometry *geo, const struct bitmap_directory *directory,
		 uint8_t *bytes)
{
	uint64_t at = 0;

	for (uint32_t i = 0; i < directory->bitmaps; i++) {
		struct bitmap bitmap;
		struct be32 flags;

		if (bitmap_decode(geo, bytes + at, directory->bytes - at, &bitmap) ||
		    bitmap.entry_bytes > directory->bytes - at)
			return false;
		flags = be32_make(bitmap.flags | BITMAP_IN_USE);
		memcpy(bytes + at + FLAGS_AT, &flags, sizeof(flags));
		at += bitmap.entry_bytes;
	}
	return true;
}

/* The directory, and what else is in its last sector. */
static int change(const struct node *node, uint8_t *bytes, size_t len, bool *marked,
		  struct why *why)
{
	const struct bitmap_directory *directory = &node->bitmaps;
	struct host_file *file = node->file;
	int64_t got = file->read(file, bytes, len, directory->host.byte);
	int err;

	if (got < 0)
		return why_set(why, (int)got, "%s: cannot read the bitmap directory: %s",
			       file->name, strerror((int)-got));
	if ((uint64_t)got < directory->bytes || !mark(&node->geo, directory, bytes))
		return 0;
	err = file->write(file, bytes, len, directory->host.byte);
	if (!err)
		err = file->sync(file);
	if (err)
		return why_set(why, err, "%s: cannot mark its bitmaps as in use: %s", file->name,
			       strerror(-err));
	*marked = true;
	return 0;
}

int bitmaps_mark(const struct node *node, bool *marked, struct why *why)
{
	const struct bitmap_directory *directory = &node->bitmaps;
	size_t len = round_up(directory->bytes, SECTOR_SIZE);
	uint8_t *bytes;
	int err;

	*marked = false;
	if (!directory->bitmaps || directory->bytes > LIMIT_BITMAP_DIRECTORY_BYTES)
		return 0;
	bytes = calloc(1, len);
	if (!bytes)
		return why_set(why, -ENOMEM, "%s: not enough memory", node->file->name);
	err = change(node, bytes, len, marked, why);
	free(bytes);
	return err;
}
