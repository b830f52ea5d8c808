/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Files that are locked as long as somebody lives.
 *
 * Who locks a file and then finds that it has another name by now, or none, has come too late and
 * begins anew: so a file is removed only by who has it locked.
 */
#ifndef LOCKFILE_H
#define LOCKFILE_H

#include "base.h"

/*
 * The file at @path, open for reading and writing and locked until it is closed, by everybody who
 * has it.  @flags: O_CREAT or 0.  -EAGAIN when another process has it locked, or -errno.
 */
int lockfile_open(const char *path, int flags);

/* The same for a file that is never removed: created if need be, and waited for. */
int lockfile_wait(const char *path);

/*
 * The file says @text from now on, in one write that is not cut in two by a kill, and takes no new memory
 * if there was a text before.  Up to a page; what is longer may be half old and half new after a
 * kill.  Text ends at the first '\0' for who reads it: what is behind it is of older, longer texts.
 * 0 or -errno.
 */
int lockfile_write(int fd, const char *text);

/* Has another process the file locked that is open at @fd? */
bool lockfile_is_locked(int fd);

#endif
