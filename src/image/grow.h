/* SPDX-License-Identifier: GPL-2.0-or-later */
/* New refcount blocks, and a larger refcount table. */
#ifndef GROW_H
#define GROW_H

#include "engine.h"

/*
 * Make the refcount block that has the refcount of @cluster, and before that a larger table if
 * need be; a child of the allocator, which awaits it.  -ENOSPC when the format or the file has no
 * room; the image breaks when the header could not be written.
 */
void grow_start(struct image *image, uint64_t cluster);

#endif
