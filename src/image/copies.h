/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copy on write: buffers for a head and a tail of up to a cluster each, and what fills them. */
#ifndef COPIES_H
#define COPIES_H

#include "engine.h"

/* @buffers: 0: as many as are good.  0 or -ENOMEM. */
int copies_open(struct image *image, unsigned buffers);
void copies_free(struct image *image);

/* A free buffer, or -1: park on copies->waiters.  Under copies->lock. */
int copies_take(struct copies *copies);

/* Takes copies->lock. */
void copies_put(struct copies *copies, int buffer);

/*
 * Fill part->copy_buffer with what the guest reads in front of and behind part->extent, as children
 * of the part; zeros behind the end of the disk.  The part has claimed the clusters, so the mapping
 * stays as it is.
 */
void copies_read(struct part *part, uint32_t head_bytes, uint32_t tail_bytes);

/* What belongs in front of, and behind, the guest's bytes. */
void *copies_head(struct image *image, int buffer);
void *copies_tail(const struct part *part);

/* Is there room for the guest's bytes between these two? */
bool copies_whole(const struct part *part);

#endif
