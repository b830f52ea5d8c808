/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The file below: whole reads and writes at offsets, with a sentence when they fail. */
#ifndef CHECK_ACCESS_H
#define CHECK_ACCESS_H

#include "checker.h"

/* The size of a regular file or block device, in bytes.  0, or -errno with the sentence. */
int access_measure(const struct check_file *file, uint64_t *bytes, struct why *why);

/*
 * Read @len bytes at @off; what is beyond the end of the file reads as zeros.  @present, unless
 * NULL, gets the number of bytes that the file has there.  0, or -errno with the sentence.
 */
int access_read(const struct check_file *file, uint64_t off, void *bytes, size_t len,
		size_t *present, struct why *why);

/* Large tables are read in pieces of this size. */
#define ACCESS_PIECE 65536u

/*
 * For a walk over a table of @bytes at @host: the first piece at or behind @off that is more than
 * a hole in the file, or @bytes.  A hostile file can have huge tables that are holes.
 */
uint64_t access_next_piece(const struct check_file *file, uint64_t host, uint64_t off,
			   uint64_t bytes);

/* Most of a large table is; this is much faster than to look at every entry. */
static inline bool all_zero(const void *bytes, size_t len)
{
	const uint8_t *first = bytes;

	return len == 0 || (first[0] == 0 && memcmp(first, first + 1, len - 1) == 0);
}

/* Write all of it, or -errno with the sentence. */
int access_write(const struct check_file *file, uint64_t off, const void *bytes, size_t len,
		 struct why *why);

/*
 * Before anything is decided: what the file says from here on is what the disk says, as far as the
 * kernel gives pages up (posix_fadvise).  A process that failed or was killed may have left changes that
 * only the page cache has; after a failed sync they stay there and pass for written.  0, or -errno with
 * the sentence.
 */
int access_settle(const struct check_file *file, struct why *why);

/* What was written before is durable before what is written after.  0, or -errno with the sentence. */
int access_sync(const struct check_file *file, struct why *why);

#endif
