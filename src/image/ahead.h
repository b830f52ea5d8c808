/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Space of the host for what has been found, before it is given out.  The allocator's task only. */
#ifndef AHEAD_H
#define AHEAD_H

#include "engine.h"

/* Ask the host for it, where that may pay. */
void ahead_start(struct image *image);

/* What the host has answered.  False: what it has set aside all the same is to be given back. */
bool ahead_end(struct image *image);
void ahead_give_back(struct image *image);

#endif
