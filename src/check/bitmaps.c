/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading the bitmap directory: as many entries as the header says, in exactly as many bytes. */
#include "bitmaps.h"

#include <errno.h>

int bitmap_reader_next(struct bitmap_reader *reader, struct why *why)
{
	const struct bitmap_directory *directory = &reader->directory;
	uint64_t left = directory->bytes - reader->off, len;
	int err;

	if (reader->index == directory->bitmaps && left == 0)
		return 0;
	if (reader->index == directory->bitmaps || left < BITMAP_FIXED_BYTES)
		return why_set(why, -EINVAL,
			       "%s: the bitmap directory has another length than %u "
			       "bitmaps need",
			       reader->file->name, directory->bitmaps);
	len = min_u64(left, sizeof(reader->bytes));
	err = access_read(reader->file, directory->host.byte + reader->off, reader->bytes, len,
			  NULL, why);
	if (err)
		return err;
	if (bitmap_decode(reader->g, reader->bytes, len, &reader->bitmap) ||
	    reader->bitmap.entry_bytes > left)
		return why_set(why, -EINVAL, "%s: entry %u of the bitmap directory is damaged",
			       reader->file->name, reader->index);
	reader->off += reader->bitmap.entry_bytes;
	reader->index++;
	return 1;
}
