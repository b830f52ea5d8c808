/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * More time than the service manager gives a stop: while it writes back, and the storage answers.
 *
 * Killed before that ends, at a shutdown, it would lose what only memory has.  To wait for users is
 * not worth more than the administrator has said: a kill leaves them the device.  Nor is to wait for
 * storage that hangs, which might be for ever.
 */
#ifndef EXTENSION_H
#define EXTENSION_H

#include "base.h"
#include "image.h"

struct extension {
	uint64_t done; /* bytes and I/Os, when it was looked last */
	int64_t due_ms; /* of the next look; 0: none has been */
};

/* In each turn, of a stop that writes back: ask for more time, if it is time and something was done. */
void extension_turn(struct extension *extension, const struct image *image, unsigned lanes);

/* For poll(2): lower @timeout_ms to when extension_turn() is to be called. */
void extension_watch(const struct extension *extension, int *timeout_ms);

/* Is more time to be asked for, with @done until @now_ms? */
bool extension_is_due(struct extension *extension, uint64_t done, int64_t now_ms);

#endif
