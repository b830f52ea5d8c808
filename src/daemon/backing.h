/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The files of a chain: the image, what lies below it, and external data files. */
#ifndef BACKING_H
#define BACKING_H

#include "base.h"
#include "file.h"
#include "format.h"

#define ALLOW_PATHS_MAX 64

/* The folders that a chain may name files of. */
struct allow_paths {
	const char *path[ALLOW_PATHS_MAX];
	unsigned count; /* 0: whatever the user can open */
};

/* Each layer may have a data file. */
#define CHAIN_FILES (2 * LIMIT_CHAIN)

struct backing {
	struct file *top; /* already open, with index 0 */
	const struct allow_paths *allow;
	bool lock; /* in QEMU's way */
	/* Has a killed process left writes that are not in the file yet?  NULL: nobody can have. */
	bool (*lacks_writes)(int fd, const char *name);
	bool direct; /* the top's data file is to bypass the page cache, as the top does */
	struct file file[CHAIN_FILES]; /* all others, as they were opened; indices from 1 */
	char *name[CHAIN_FILES];
	unsigned files;
	int fd[CHAIN_FILES]; /* of all, by index, the top's too; see backing_fds() */
};

void backing_init(struct backing *backing, struct file *top, const struct allow_paths *allow,
		  bool lock, bool direct);

/* For image_files.open_below; @arg is the struct backing. */
int backing_open(void *arg, const struct host_file *above, const char *name,
		 struct host_file **file, struct why *why);

/* For image_files.open_data: the top's is opened as the top is, others for reading only. */
int backing_open_data(void *arg, const struct host_file *image, const char *name,
		      struct host_file **file, struct why *why);

/* All file descriptors by index; *@files says how many. */
const int *backing_fds(struct backing *backing, unsigned *files);

/* Close what backing_open() has opened. */
void backing_close(struct backing *backing);

#endif
