/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A seed may live where the barrier is that is besieged: all else is as few lives have it. */
#ifndef NARROW_H
#define NARROW_H

#include "config.h"

/* For the barrier of this kind at "file/STATE"; false: there is none for it, nothing has changed. */
bool narrow_draw(struct config *config, const char *kind, const char *where, uint64_t seed);

#endif
