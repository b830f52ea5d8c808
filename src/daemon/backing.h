/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The files of a chain: the image, and what lies below it. */
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

struct backing {
	struct file *top; /* already open, with index 0 */
	const struct allow_paths *allow;
	bool lock; /* as a reader */
	struct file file[LIMIT_CHAIN]; /* below the top, in order; indices from 1 */
	char *name[LIMIT_CHAIN];
	unsigned files;
	int fd[LIMIT_CHAIN]; /* of all, by index, the top's too; see backing_fds() */
};

void backing_init(struct backing *backing, struct file *top, const struct allow_paths *allow,
		  bool lock);

/* For image_files.open_below; @arg is the struct backing. */
int backing_open(void *arg, const struct host_file *above, const char *name,
		 struct host_file **file, struct why *why);

/* All file descriptors by index; *@files says how many. */
const int *backing_fds(struct backing *backing, unsigned *files);

/* Close what backing_open() has opened. */
void backing_close(struct backing *backing);

#endif
