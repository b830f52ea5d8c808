/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Dropping references to host clusters.  The allocator's task only. */
#ifndef DROP_H
#define DROP_H

#include "refblock.h"

/* Drop what the release has in this piece, as far as ios for the punches go, which are the allocator's. */
void drop_in_piece(struct image *image, struct ref_piece *piece, struct release *release);

/* Start to punch clusters. */
void drop_punch(struct image *image, struct io *io, uint64_t cluster, uint64_t clusters);

#endif
