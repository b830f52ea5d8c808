/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Has a stretch of the disk anything in the image? */
#ifndef USED_H
#define USED_H

#include "engine.h"

/*
 * For a request of the engine's own: its range is on the top layer; nobody changes the mapping there, or
 * the answer is of no moment.  -EBUSY, with the first byte in resize->used, when something is there.
 */
extern const struct machine used_machine;

#endif
