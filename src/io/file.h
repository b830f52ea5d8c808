/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Open a host file, a regular one or a block device, for the engine. */
#ifndef FILE_H
#define FILE_H

#include "base.h"
#include "io.h"

struct file_options {
	bool read_only;
	bool direct; /* bypass the host's page cache where the file allows it */
	uint16_t index; /* of the file in every ring's table */
};

struct file {
	struct host_file host; /* complete after file_measure() */
	int fd;
	void *bounce; /* FILE_BOUNCE bytes, for the blocking calls with direct I/O */
};

#define FILE_BOUNCE (256 * KIB)

/*
 * Open @path, which outlives @file.  Nothing is read yet, so that the caller can lock first.
 * -errno of open(2), or -EINVAL for what is neither a regular file nor a block device, with the
 * sentence in @why.
 */
int file_open(struct file *file, const char *path, const struct file_options *options,
	      struct why *why);

/*
 * Find out size and alignment and complete file->host.  Where direct I/O is asked for but not
 * possible in units of SECTOR_SIZE, the page cache is used and a message says so.
 * -errno with the sentence in @why.
 */
int file_measure(struct file *file, const struct file_options *options, struct why *why);

/* Close it, after either. */
void file_close(struct file *file);

#endif
