/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Will the next write be the only one before a flush?
 *
 * Databases and logs write once and flush, again and again.  Such a write is made durable by itself
 * (IO_DSYNC), which costs hardly more than the write; then the flush finds nothing to sync, for which
 * it would have needed a thread that may wait for the disk.  It is a guess, and costs one durable
 * write when it is wrong.
 */
#ifndef ALONE_H
#define ALONE_H

#include "engine.h"

/*
 * A flush found @owed changes that are not durable (sync_owed()).  When only one write came since
 * the last one, the next write is taken for alone, too.  Who runs the flush.
 */
void alone_learn(struct image *image, uint64_t owed);

/* Is it?  Any lane. */
static inline bool alone_next(const struct image *image)
{
	return atomic_load_explicit(&image->alone.next, memory_order_relaxed);
}

/* The same, of the write at hand: true once for each flush.  Any lane. */
bool alone_take(struct image *image);

#endif
