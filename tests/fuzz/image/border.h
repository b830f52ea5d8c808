/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The watch at the ring: whatever an image says, some bytes are not to be written. */
#ifndef BORDER_H
#define BORDER_H

#include "ring.h"

/*
 * The image is open for writing, and what it holds was looked at before: from here on the guest's
 * bytes must not get to metadata, nor holes, and what this engine never changes (snapshots,
 * bitmaps) nothing at all.  @image: as it was before it was opened; NULL:
 * for reading only.
 */
void border_watch(struct sim_host *host, const struct sparse *image);

/* What of the header may have changed: marks and the place of the refcount table. */
void border_check_header(const uint8_t *before, const uint8_t *after);

#endif
