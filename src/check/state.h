/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A check under way: what is known of the image so far.  One round of the check, survey(), fills it
 * from the file; repairs change the file and begin another round.
 */
#ifndef CHECK_STATE_H
#define CHECK_STATE_H

#include "access.h"
#include "checker.h"
#include "format.h"
#include "ranges.h"
#include "refs.h"

/* An L2 table, and how many entries of L1 tables lead to it. */
struct l2_table {
	struct host host; /* even if misaligned */
	uint32_t paths;
	bool active; /* one of them is of the active L1 table */
	bool damaged; /* there are findings about its entries */
	bool mendable; /* entry_mend() would change some of them */
};

/* The L2 tables in the order in which they were found: the active ones first, as the guest has them. */
struct l2_tables {
	struct l2_table *table;
	uint32_t tables;
	uint32_t room;
	uint32_t *index; /* hash table of indices + 1 */
	uint32_t index_mask;
	uint64_t multiplier; /* of the hash */
};

struct check {
	const struct check_file *file;
	const struct check_options *options;
	struct check_result *result;
	struct why *why;

	uint64_t file_bytes;
	struct qcow2_header header;
	struct bitmap_directory bitmaps; /* of which there are 0 without the extension */
	struct crypto_area crypto;
	struct geometry g;

	struct refs refs;
	uint64_t first_free; /* no host cluster before it is free; 0: not looked for yet */
	uint64_t uncounted_byte; /* the first that is in use, and lies too far behind the end */
	uint64_t exposed_byte; /* the same, without the refcount table */
	struct l2_tables tables;
	uint64_t misaligned_bytes; /* of L2 tables that are not aligned to a cluster */
	uint64_t snapshot_table_bytes;
	bool out_of_reach; /* an L1 table or one of a bitmap, and so what only that refers to */
	unsigned bad_snapshots; /* entries that a new table would mend */
	uint64_t mendable; /* L2 entries that entry_mend() would change */
	uint64_t wrong_flags; /* findings about COPIED flags */

	uint64_t *block; /* entries of the refcount table */
	uint64_t blocks;
	bool zero_refcounts; /* clusters are referred to whose refcount is 0 */
	bool rebuild; /* the refcount blocks cannot be put right one by one */
	bool rebuild_all; /* they could, but would still lie in the wrong place, or cover too little */

	uint8_t *buffer; /* of a cluster, at least BUFFER_LEAST; for whoever is at work */
};

#define BUFFER_LEAST ACCESS_PIECE

/* --- how findings are counted: each is one line for whoever listens ---------------------------- */

void found(struct check *check, uint64_t *counter, uint64_t times, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

#define found_corruption(c, times, ...) found(c, &(c)->result->corruptions, times, __VA_ARGS__)

/* The same for what no repair puts right. */
#define found_lasting(c, times, ...) \
	((c)->result->lasting += (times), found_corruption(c, times, __VA_ARGS__))

/* Within whatever can take long: 0, or -ECANCELED with the sentence. */
int go_on(const struct check *check);

/* Each L2 table is read twice in a look; @reads of these are done. */
void progress(const struct check *check, uint64_t reads);

/* --- how references are counted ---------------------------------------------------------------- */

/*
 * The bytes from @off on are referred to @times; a range that ends a cluster or more behind the
 * end of the file is a lasting corruption, and counts as far as LIMIT_CHECK_BEHIND and
 * LIMIT_CHECK_BEHIND_CLUSTERS go.  0, or -ENOMEM with the sentence.
 */
int count_range(struct check *check, uint64_t off, uint64_t len, uint32_t times);

/* The same for a table, which is to lie alone. */
int count_table(struct check *check, uint64_t off, uint64_t len, uint32_t times);

/* The same for one that a repair can put elsewhere: that it is behind the end does not last. */
int count_movable_table(struct check *check, uint64_t off, uint64_t len);

/*
 * The same for many tables, which may lie in each other: put each into @tables, and count them
 * together.
 */
int collect_table(struct check *check, struct ranges *tables, uint64_t off, uint64_t len);
int count_collected(struct check *check, const struct ranges *tables);

/* What the options allow. */
uint64_t check_memory(const struct check *check);

/* The sentence for -ENOMEM, which is returned. */
int count_no_memory(const struct check *check);

/* A table that refers to others: if not all of it is in the file, what only that refers to stays theirs. */
void note_reach(struct check *check, uint64_t off, uint64_t len);

/* Can the table at @off be written: in the file, and no other table in its place? */
bool table_is_own(struct check *check, uint64_t off, uint64_t len);

/* Host clusters that the file has; the last one may be cut off. */
static inline uint64_t file_clusters(const struct check *check)
{
	return div_round_up(check->file_bytes, check->g.cluster_bytes);
}

static inline bool has_data_file(const struct check *check)
{
	return check->header.incompatible & QCOW2_DATA_FILE;
}

#endif
