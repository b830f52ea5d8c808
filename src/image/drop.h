/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Dropping references to host clusters.  The allocator's task only. */
#ifndef DROP_H
#define DROP_H

#include "refblock.h"

/* Not in a corrupt image: its refcounts may be what is wrong, and nothing is freed by them. */
bool drop_is_safe(const struct image *image);

/* Drop what the release has in this piece, as far as ios for the punches go, which are the allocator's. */
void drop_in_piece(struct image *image, struct ref_piece *piece, struct release *release);

/*
 * Are references that were dropped on their way here?  With the next run of a flush, which is asked for, or
 * when their epoch has ended.  Both wake the allocator, and so does a run that fails: nobody relies on the
 * next.  Under alloc->lock.
 */
bool drop_is_near(struct image *image);

/* At the end: the next run of anybody's stock as a release, in alloc->work; false when all are empty. */
bool drop_next_returned(struct image *image);

/* Start to punch clusters. */
void drop_punch(struct image *image, struct io *io, uint64_t cluster, uint64_t clusters);

#endif
