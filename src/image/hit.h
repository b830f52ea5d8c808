/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests that need nothing but one host I/O: most of them, on an image in use. */
#ifndef HIT_H
#define HIT_H

#include "engine.h"

extern const struct machine hit_machine;

/*
 * Serve @req if it lies in one mapped cluster of the top layer whose L2 slice is in memory: a read,
 * or a write in place that needs not be durable; and return 0.  Else nothing is done, and the request
 * goes the way of all others, which leads to the same end: so do some hits, because there they are
 * timed.  Then the return value is how many requests this one stands for in statistics.  On the
 * lane's thread, no lock held.
 */
uint32_t hit_start(struct image *image, struct lane *lane, struct req *req);

/* At the end of the open: may this image's requests be hits at all? */
void hits_open(struct image *image);

#endif
