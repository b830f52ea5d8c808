/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A look at every L2 table at open.
 *
 * No bit of the header says that an image has zlib-compressed clusters, and an image that cannot
 * be served whole must be refused before a client relies on it.
 */
#include "survey.h"

#include <errno.h>
#include <stdlib.h>

#define SURVEY_BYTES (64 * KIB)

static int survey_table(struct image *image, struct host table, struct be64 *buf, struct why *why)
{
	uint64_t bytes = image->geo.cluster_bytes;

	for (uint64_t off = 0; off < bytes; off += SURVEY_BYTES) {
		uint64_t len = min_u64(SURVEY_BYTES, bytes - off);
		int64_t got = image->file->read(image->file, buf, len, table.byte + off);

		if (got < 0)
			return why_set(why, (int)got, "%s: cannot read an L2 table: %s",
				       image->file->name, strerror((int)-got));
		for (uint64_t i = 0; i < (uint64_t)got / sizeof(*buf); i++)
			if (be64_get(buf[i]) & ENTRY_COMPRESSED)
				return why_set(why, -ENOTSUP,
					       "%s: has compressed clusters, which are not "
					       "supported; convert it with qemu-img convert",
					       image->file->name);
	}
	return 0;
}

int survey_l2_tables(struct image *image, struct why *why)
{
	struct be64 *buf = malloc(SURVEY_BYTES);
	int err = 0;

	if (!buf)
		return why_set(why, -ENOMEM, "%s: not enough memory", image->file->name);
	for (uint32_t i = 0; !err && i < image->l1_entries; i++) {
		struct l1_entry table = l1_decode(&image->geo, be64_load(&image->l1[i]));

		if (table.kind == L1_TABLE)
			err = survey_table(image, table.host, buf, why);
	}
	free(buf);
	return err;
}
