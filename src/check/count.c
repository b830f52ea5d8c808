/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Findings and references: how everything else counts them. */
#include "state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

void found(struct check *check, uint64_t *counter, uint64_t times, const char *fmt, ...)
{
	const struct check_options *options = check->options;
	char text[256];
	va_list args;

	*counter += times;
	if (!options->finding)
		return;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	options->finding(options->arg, text);
}

void progress(const struct check *check, uint64_t reads)
{
	const struct check_options *options = check->options;

	if (options->progress)
		options->progress(options->arg, reads, 2 * (uint64_t)check->tables.tables);
}

/* The last cluster of a file may be cut off; what begins behind it, or goes on, is not there. */
static bool is_beyond_end(const struct check *check, uint64_t off, uint64_t len)
{
	uint64_t end = off + len;

	return end < off ||
	       (end > check->file_bytes && end - check->file_bytes >= check->g.cluster_bytes);
}

/* So that a repair does not put a table where somebody takes it for something else. */
static void keep_away(struct check *check, uint64_t off, uint64_t len)
{
	uint64_t end = off + len;

	if (end >= off && (off < check->file_bytes || off - check->file_bytes < LIMIT_CHECK_HOLE))
		check->avoid_end = max_u64(check->avoid_end, end);
}

/* How many of the @len bytes the file has, which is a finding when some are missing. */
static uint64_t present_bytes(struct check *check, uint64_t off, uint64_t len, uint32_t times)
{
	if (len == 0 || !is_beyond_end(check, off, len))
		return len;
	found_corruption(check, times,
			 "ERROR %#" PRIx64 " bytes at %#" PRIx64
			 " are in use, but the file ends before them",
			 len, off);
	keep_away(check, off, len);
	return check->file_bytes - min_u64(check->file_bytes, off);
}

uint64_t check_memory(const struct check *check)
{
	return check->options->memory_bytes ? check->options->memory_bytes : LIMIT_CHECK_BYTES;
}

int count_no_memory(const struct check *check)
{
	return why_set(check->why, -ENOMEM,
		       "%s: out of memory, or more than the limit of %" PRIu64 " MiB is needed",
		       check->file->name, check_memory(check) / MIB);
}

static int count(struct check *check, uint64_t off, uint64_t len, uint32_t times,
		 int (*add)(struct refs *refs, uint64_t host_cluster, uint32_t times))
{
	unsigned bits = check->g.cluster_bits;

	if (times)
		len = present_bytes(check, off, len, times);
	if (len == 0 || times == 0)
		return 0;
	for (uint64_t cluster = off >> bits; cluster <= (off + len - 1) >> bits; cluster++)
		if (add(&check->refs, cluster, times))
			return count_no_memory(check);
	return 0;
}

int count_range(struct check *check, uint64_t off, uint64_t len, uint32_t times)
{
	return count(check, off, len, times, refs_add);
}

int count_table(struct check *check, uint64_t off, uint64_t len, uint32_t times)
{
	return count(check, off, len, times, refs_add_metadata);
}

int collect_table(struct check *check, struct ranges *tables, uint64_t off, uint64_t len)
{
	len = present_bytes(check, off, len, 1);
	return ranges_add(tables, off, len) ? count_no_memory(check) : 0;
}

/* In two goes, when it is more than one table, so that they are seen to lie in each other. */
static int count_stretch(void *arg, uint64_t off, uint64_t len, uint32_t times)
{
	struct check *check = arg;
	int err = count(check, off, len, 1, refs_add_metadata);

	return err ? err : count(check, off, len, times - 1, refs_add_metadata);
}

int count_collected(struct check *check, const struct ranges *tables)
{
	int err = ranges_walk(tables, check->g.cluster_bytes, count_stretch, check);

	return err ? count_no_memory(check) : 0;
}

bool table_is_own(struct check *check, uint64_t off, uint64_t len)
{
	unsigned bits = check->g.cluster_bits;

	if (len == 0 || !is_aligned(off, check->g.cluster_bytes) || is_beyond_end(check, off, len))
		return false;
	for (uint64_t cluster = off >> bits; cluster <= (off + len - 1) >> bits; cluster++)
		if (!refs_is_own(&check->refs, cluster))
			return false;
	return true;
}
