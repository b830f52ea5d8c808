/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which promises of a file system may be relied on?  What is not known of one counts as not kept.
 *
 * @fd is of a regular file.  Any thread; may block.
 */
#ifndef PROMISE_H
#define PROMISE_H

#include <stdbool.h>

/* Is a direct write with RWF_DSYNC durable when it has ended? */
bool promise_dsync(int fd);

/* Through the page cache: does an fsync tell of each earlier write that was lost? */
bool promise_errors(int fd);

#endif
