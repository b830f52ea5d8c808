/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Persistent bitmaps, which this writer does not keep up. */
#ifndef BITMAPS_H
#define BITMAPS_H

#include "engine.h"

/*
 * Mark all bitmaps of the node's image as in use, durably: nobody believes one that was never
 * closed, but its clusters stay referenced and its name is known (specification: "Bitmap
 * directory", flag in_use).  *@marked: false when the directory cannot be understood, and the
 * bitmaps must be disowned instead.  Before anything else is written; blocking.  -EIO, -ENOMEM
 * with the sentence in @why.
 */
int bitmaps_mark(const struct node *node, bool *marked, struct why *why);

#endif
