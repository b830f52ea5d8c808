/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How far does the file reach: from where on is it certain that nothing was ever written? */
#ifndef REACH_H
#define REACH_H

#include "engine.h"

/*
 * Set alloc->tail, alloc->limit, for a disk that may grow to @size_most, and overlap->end.  When the
 * refcount table has been read; blocking.
 * -EIO or -ENOMEM with the sentence in @why.
 */
int reach_find(struct image *image, uint64_t size_most, struct why *why);

#endif
