/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Buffers for copy on write: a head and a tail of up to a cluster each. */
#ifndef COPIES_H
#define COPIES_H

#include "engine.h"

int copies_open(struct image *image);
void copies_free(struct image *image);

/* A free buffer, or -1: park on copies->waiters.  Under copies->lock. */
int copies_take(struct copies *copies);

/* Takes copies->lock. */
void copies_put(struct copies *copies, int buffer);

/* What belongs in front of, and behind, the guest's bytes. */
void *copies_head(struct image *image, int buffer);
void *copies_tail(struct image *image, int buffer);

#endif
