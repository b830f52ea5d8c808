/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The snapshot table: read entry by entry, since nothing says how long it is. */
#ifndef CHECK_SNAPSHOTS_H
#define CHECK_SNAPSHOTS_H

#include "access.h"
#include "format.h"

/* Walks the table. */
struct snapshot_reader {
	const struct check_file *file;
	const struct geometry *g;
	struct host table;
	uint64_t off; /* of the entry, from the start of the table */
	uint64_t end; /* behind it, without padding */
	uint8_t *bytes; /* the entry; room for SNAPSHOT_ENTRY_MOST */
	struct snapshot snapshot;
};

/* Fixed part, extra data, and two strings whose lengths have 16 bits. */
#define SNAPSHOT_ENTRY_MOST (SNAPSHOT_FIXED_BYTES + LIMIT_SNAPSHOT_EXTRA + 2 * 65535u)

/* 0, or -ENOMEM with the sentence; then to be released as well. */
int snapshot_reader_init(struct snapshot_reader *reader, const struct check_file *file,
			 const struct geometry *g, struct host table, struct why *why);
void snapshot_reader_release(struct snapshot_reader *reader);

/*
 * Read the first entry, or the one behind.  0; -EFBIG when the table exceeds
 * LIMIT_SNAPSHOT_TABLE_BYTES, or -errno of the file, with the sentence.  Of an entry whose extra
 * data is too large, the part that is allowed is in bytes, followed by id and name.
 */
int snapshot_reader_next(struct snapshot_reader *reader, struct why *why);

#endif
