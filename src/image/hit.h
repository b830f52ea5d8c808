/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests that need nothing but one host I/O: most of them, on an image in use. */
#ifndef HIT_H
#define HIT_H

#include "engine.h"

/*
 * Serve @req if it lies in one mapped cluster of the top layer whose L2 slice is in memory: a read,
 * or a write in place that needs not be durable.  Else false, with nothing done, and the request
 * goes the way of all others, which leads to the same end.  On the lane's thread, no lock held.
 */
bool hit_start(struct image *image, struct lane *lane, struct req *req);

/* May this image's requests be hits at all?  Once, at open. */
bool hits_possible(const struct image *image);

#endif
