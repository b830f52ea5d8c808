/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where an image that will be written keeps its metadata. */
#ifndef METADATA_H
#define METADATA_H

#include "engine.h"

/*
 * Fill image->overlap with all clusters that hold metadata of the top layer, and make room for
 * what may be added later.  After header, L1 and refcount table are read, before anything is
 * written; blocking.
 *
 * -EINVAL when two kinds of metadata lie in one cluster, or an L2 table or refcount block behind
 * the end of the file: who writes to such an image would destroy it.  -EIO, -ENOMEM.  The sentence
 * is in @why.
 */
int metadata_find(struct image *image, struct why *why);

#endif
