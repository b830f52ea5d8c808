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

int go_on(const struct check *check)
{
	const struct check_options *options = check->options;

	if (!options->cancelled || !options->cancelled(options->arg))
		return 0;
	return why_set(check->why, -ECANCELED, "%s: the check was told to stop", check->file->name);
}

/* The last cluster of a file may be cut off; what begins behind it, or goes on, is not there. */
static bool is_beyond_end(const struct check *check, uint64_t off, uint64_t len)
{
	uint64_t end = off + len;

	return end < off ||
	       (end > check->file_bytes && end - check->file_bytes >= check->g.cluster_bytes);
}

/*
 * How many of the @len bytes are counted; that some are not in the file is a finding.  Also what is
 * missing counts: it may have been cut off, and nobody else is to get its place.
 */
static uint64_t counted_bytes(struct check *check, uint64_t off, uint64_t len, uint32_t times)
{
	unsigned bits = check->g.cluster_bits;
	uint64_t end = (file_clusters(check) << bits) +
		       min_u64(LIMIT_CHECK_BEHIND, LIMIT_CHECK_BEHIND_CLUSTERS << bits);
	uint64_t room = end - min_u64(end, off);

	if (len == 0 || !is_beyond_end(check, off, len))
		return len;
	found_lasting(check, times,
		      "ERROR %#" PRIx64 " bytes at %#" PRIx64
		      " are in use, but the file ends before them",
		      len, off);
	if (len > room)
		check->uncounted_byte = min_u64(check->uncounted_byte, max_u64(off, end));
	return min_u64(len, room);
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

typedef int add_fn(struct refs *refs, uint64_t host_cluster, uint32_t times);

static int add_clusters(struct check *check, uint64_t off, uint64_t len, uint32_t times,
			add_fn *add)
{
	unsigned bits = check->g.cluster_bits;

	if (len == 0 || times == 0)
		return 0;
	for (uint64_t cluster = off >> bits; cluster <= (off + len - 1) >> bits; cluster++)
		if (add(&check->refs, cluster, times))
			return count_no_memory(check);
	return 0;
}

static int count(struct check *check, uint64_t off, uint64_t len, uint32_t times, add_fn *add)
{
	if (times)
		len = counted_bytes(check, off, len, times);
	return add_clusters(check, off, len, times, add);
}

int count_range(struct check *check, uint64_t off, uint64_t len, uint32_t times)
{
	return count(check, off, len, times, refs_add);
}

int count_table(struct check *check, uint64_t off, uint64_t len, uint32_t times)
{
	return count(check, off, len, times, refs_add_metadata);
}

int count_movable_table(struct check *check, uint64_t off, uint64_t len)
{
	uint64_t lasting = check->result->lasting;
	int err = count_table(check, off, len, 1);

	check->result->lasting = lasting;
	return err;
}

void note_reach(struct check *check, uint64_t off, uint64_t len)
{
	check->out_of_reach |= len && is_beyond_end(check, off, len);
}

int collect_table(struct check *check, struct ranges *tables, uint64_t off, uint64_t len)
{
	note_reach(check, off, len);
	len = counted_bytes(check, off, len, 1);
	return ranges_add(tables, off, len) ? count_no_memory(check) : 0;
}

/* In two goes, when it is more than one table, so that they are seen to lie in each other. */
static int count_stretch(void *arg, uint64_t off, uint64_t len, uint32_t times)
{
	struct check *check = arg;
	int err = add_clusters(check, off, len, 1, refs_add_metadata);

	return err ? err : add_clusters(check, off, len, times - 1, refs_add_metadata);
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
