/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which promises of a file system may be relied on?
 *
 * @fd is of a regular file.  Any thread; may block.
 */
#ifndef PROMISE_H
#define PROMISE_H

#include <stdbool.h>

/* Is a direct write with RWF_DSYNC durable when it has ended?  What is not known to be counts as not durable. */
bool promise_dsync(int fd);

/* Through the page cache: does an fsync tell of each earlier write that was lost?  Only NFS is known not to. */
bool promise_errors(int fd);

#endif
