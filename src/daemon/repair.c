/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The dirty mark: whether it is there, and what is done about it. */
#include "repair.h"
#include "checker.h"
#include "file.h"
#include "format.h"
#include "messages.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/*
 * For the refcounts of 8 TiB of data in clusters of 64 KiB.  Whoever makes an image may not have what
 * the host has: the service manager keeps this process from being ended for lack of memory.
 */
#define MEMORY_BYTES (640 * MIB)

/* Marked dirty, and nothing worse.  What cannot be understood is refused by who opens it. */
static bool is_dirty(int fd, const char *name)
{
	uint8_t *bytes = malloc(QCOW2_HEADER_READ);
	struct qcow2_header header;
	struct why ignored;
	bool dirty = false;
	ssize_t got;

	if (!bytes)
		return false;
	got = pread(fd, bytes, QCOW2_HEADER_READ, 0);
	if (got > 0 && qcow2_header_decode(bytes, (size_t)got, name, &header, &ignored) == 0)
		dirty = header.incompatible & QCOW2_DIRTY && !(header.incompatible & QCOW2_CORRUPT);
	free(bytes);
	return dirty;
}

static int refuse(uint64_t errors, const char *name, const char *what_is_done, struct why *why)
{
	return why_set(why, -EUCLEAN,
		       "%s: was not closed in order, and %" PRIu64
		       " errors in it cannot be repaired%s; see qcow2-ublkd check, or use "
		       "--read-only",
		       name, errors, what_is_done);
}

static int verdict(const struct check_result *result, const char *name, struct why *why)
{
	if (result->corruptions || result->check_errors)
		return refuse(result->corruptions + result->check_errors, name, "", why);
	log_event(MESSAGE_REPAIRED,
		  "%s: was not closed in order; its refcounts are repaired (%" PRIu64
		  " errors, %" PRIu64 " leaked clusters)",
		  name, result->corruptions_fixed, result->leaks_fixed);
	return 0;
}

/* A file system has the same errnos for what it cannot read: only what is known here is ours to explain. */
static int explain(int err, bool stopped, const struct check_result *result, const char *name,
		   const struct why *cause, struct why *why)
{
	if (err == -ENOMEM)
		return why_set(why, err,
			       "%.300s; a start takes no more than %llu MiB for a repair: use "
			       "qcow2-ublkd check --repair all",
			       cause->text, (unsigned long long)(MEMORY_BYTES / MIB));
	if (err == -EUCLEAN && result->lasting)
		return refuse(result->lasting, name, ", so nothing was", why);
	if (err == -ECANCELED && stopped)
		return why_set(why, err,
			       "%s: told to stop while it was repaired, as it was not closed in "
			       "order; it is no worse than before, and the next start repairs it",
			       name);
	*why = *cause;
	return err;
}

int repair_dirty(int fd, const char *name, bool (*cancelled)(void *arg), void *arg, struct why *why)
{
	struct check_options options = {
		.repair = CHECK_REPAIR_ALL,
		.memory_bytes = MEMORY_BYTES,
		.all_or_nothing = true,
		.arg = arg,
		.cancelled = cancelled,
	};
	struct check_file file = { .name = name };
	struct check_result result;
	struct why cause;
	bool stopped;
	int err;

	if (!is_dirty(fd, name))
		return 0;
	/* A description of its own: checks want the page cache, serving may not. */
	file.fd = file_again(fd, O_RDWR);
	if (file.fd < 0)
		return why_set(why, file.fd, "%s: cannot open it to repair it: %s", name,
			       strerror(-file.fd));
	err = check_image(&file, &options, &result, &cause);
	close(file.fd);
	stopped = cancelled && cancelled(arg);
	return err ? explain(err, stopped, &result, name, &cause, why) :
		     verdict(&result, name, why);
}
