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
 * Find @path, which outlives @file, without opening it: of some devices that would be an act
 * already.  The file is known from here on, whatever happens to its name; file->fd can be looked at
 * and closed (open(2), O_PATH).  -errno of open(2), or -EINVAL for what is neither a regular file
 * nor a block device, with the sentence in @why.
 */
int file_find(struct file *file, const char *path, const struct file_options *options,
	      struct why *why);

/*
 * Open what was found.  Nothing is read yet, so that the caller can lock first.  -errno with the
 * sentence in @why; then it is closed.
 */
int file_open_found(struct file *file, struct why *why);

/* Both. */
int file_open(struct file *file, const char *path, const struct file_options *options,
	      struct why *why);

/*
 * Have a block device that is to be written for ourselves (open(2), O_EXCL), whatever its node is
 * called and wherever that lies: locks belong to a node, and each container may have its own.  A
 * no-op for other files.  Before locks, as it opens the device again.  Waits up to @patience_ms for
 * who has it, as a process that was killed does until the kernel has ended its rings.  -EBUSY, or
 * -errno of open(2), with the sentence in @why.
 */
int file_claim(struct file *file, long patience_ms, struct why *why);

/* Open the file of @fd once more, with @flags of open(2): the new number, or -errno. */
int file_again(int fd, int flags);

/*
 * Find out size and alignment and complete file->host.  Where direct I/O is asked for but not
 * possible in units of SECTOR_SIZE, the page cache is used and a message says so.
 * -errno with the sentence in @why.
 */
int file_measure(struct file *file, const struct file_options *options, struct why *why);

/* Close it, after either. */
void file_close(struct file *file);

#endif
