/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading the snapshot table. */
#include "snapshots.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

int snapshot_reader_init(struct snapshot_reader *reader, const struct check_file *file,
			 const struct geometry *g, struct host table, struct why *why)
{
	*reader = (struct snapshot_reader){
		.file = file,
		.g = g,
		.table = table,
		.bytes = malloc(SNAPSHOT_ENTRY_MOST),
	};
	return reader->bytes ? 0 : why_set(why, -ENOMEM, "%s: out of memory", file->name);
}

void snapshot_reader_release(struct snapshot_reader *reader)
{
	free(reader->bytes);
}

/* What may stay of an entry with too much extra data: all but the end of that data. */
static int read_strings_behind(struct snapshot_reader *reader, uint64_t host, struct why *why)
{
	uint64_t strings = SNAPSHOT_FIXED_BYTES + (uint64_t)reader->snapshot.extra_bytes;

	return access_read(reader->file, host + strings,
			   reader->bytes + SNAPSHOT_FIXED_BYTES + LIMIT_SNAPSHOT_EXTRA,
			   reader->snapshot.entry_bytes - strings, NULL, why);
}

int snapshot_reader_next(struct snapshot_reader *reader, struct why *why)
{
	const struct check_file *file = reader->file;
	uint64_t off = round_up(reader->end, 8), host = reader->table.byte + off, bytes;
	int err = access_read(file, host, reader->bytes, SNAPSHOT_FIXED_BYTES, NULL, why);

	if (err)
		return err;
	bytes = snapshot_entry_bytes(reader->bytes);
	if (bytes > LIMIT_SNAPSHOT_TABLE_BYTES - off)
		return why_set(why, -EFBIG, "%s: the snapshot table is larger than %" PRIu64 " MiB",
			       file->name, (uint64_t)(LIMIT_SNAPSHOT_TABLE_BYTES / MIB));
	reader->off = off;
	reader->end = off + bytes;
	bytes = min_u64(bytes, SNAPSHOT_ENTRY_MOST);
	err = access_read(file, host, reader->bytes, bytes, NULL, why);
	if (!err && snapshot_decode(reader->g, reader->bytes, bytes, &reader->snapshot))
		err = why_set(why, -EINVAL, "%s: the snapshot table cannot be read", file->name);
	if (!err && reader->snapshot.faults & SNAPSHOT_EXTRA_TOO_LARGE)
		err = read_strings_behind(reader, host, why);
	return err;
}
