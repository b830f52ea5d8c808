/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which snapshot is meant, and what it needs to be read like an image. */
#ifndef SNAPSHOT_H
#define SNAPSHOT_H

#include "engine.h"

/*
 * Make @node, whose header has been read, show the snapshot with the id or else the name @wanted
 * instead of the present content: header and geometry get its L1 table and its size.  Before the
 * L1 table is read; blocking.  -ENOENT when there is none, -EINVAL when it is damaged, -EIO,
 * -ENOMEM; the sentence is in @why.
 */
int snapshot_choose(struct node *node, const char *wanted, struct why *why);

#endif
