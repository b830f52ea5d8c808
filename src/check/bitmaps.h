/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The directory of persistent bitmaps, read entry by entry. */
#ifndef CHECK_BITMAPS_H
#define CHECK_BITMAPS_H

#include "access.h"
#include "format.h"

struct bitmap_reader {
	const struct check_file *file;
	const struct geometry *g;
	struct bitmap_directory directory;
	uint32_t index; /* of the entry that comes next */
	uint64_t off; /* where it is in the directory */
	uint8_t bytes[BITMAP_FIXED_BYTES + LIMIT_BITMAP_NAME]; /* the entry at hand */
	struct bitmap bitmap;
};

/*
 * Read the next entry: 1; 0 behind the last one; -EINVAL when the directory is not as QEMU takes
 * it, or -errno of the file, with the sentence.
 */
int bitmap_reader_next(struct bitmap_reader *reader, struct why *why);

#endif
