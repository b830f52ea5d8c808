/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Flushes that no guest asked for. */
#ifndef WRITEBACK_H
#define WRITEBACK_H

#include "engine.h"

void writeback_open(struct image *image);

/* Somebody waits for slices or releases: flush now.  Takes flush->lock. */
void writeback_want(struct image *image);
/* The same under flush->lock. */
void writeback_want_locked(struct image *image);

/*
 * Space was dropped, or memory taken for a flush: within WRITEBACK_LAZY_NS look whether to flush, so
 * that the one is given back, and whether there was no flush for so long that the other can be.
 * Under flush->lock.
 */
void writeback_lazily_locked(struct image *image);

/*
 * No flush is begun any more: the image is being closed.  False: one is still under way, so park on
 * writeback->quiet and ask again.  Under flush->lock.
 */
bool writeback_end_locked(struct image *image);

#define WRITEBACK_LAZY_NS UINT64_C(1000000000)

#endif
