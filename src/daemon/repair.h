/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Images that were not closed in order. */
#ifndef REPAIR_H
#define REPAIR_H

#include "base.h"

/*
 * When the image open for reading and writing at @fd is marked dirty (its refcounts may be behind,
 * specification: "lazy refcounts"), repair it as qcow2-ublkd check --repair all would.  The caller
 * has it locked, and has not read anything of it yet.  Blocking; time is proportional to the image's
 * metadata, and so is memory, up to a limit above which it is refused.  -errno with the sentence in
 * @why when that was not possible, or not all of it; where that can be known before, the image is not
 * written to.  -ECANCELED when @cancelled(@arg), unless it is NULL, has said so meanwhile.  0 also for an
 * image that somebody else must refuse.
 */
int repair_dirty(int fd, const char *name, bool (*cancelled)(void *arg), void *arg,
		 struct why *why);

#endif
