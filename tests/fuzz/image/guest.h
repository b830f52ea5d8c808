/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest that asks what the fuzzer says, and a scheduler. */
#ifndef GUEST_H
#define GUEST_H

#include "image.h"
#include "input.h"
#include "ring.h"

#define GUEST_DEPTH 8u
#define GUEST_BYTES (256 * KIB) /* the longest request with bytes */

struct guest_slot {
	struct req req;
	struct guest_side *guest;
	unsigned lane;
	bool busy;
};

struct guest_side {
	struct sim_host *host;
	struct rng *rng;
	struct image *image; /* NULL: none is open */
	struct image_info info;
	unsigned busy;
	bool closed;
	struct guest_slot slot[GUEST_DEPTH];
};

/* Once. */
void guest_init(struct guest_side *guest, struct sim_host *host, struct rng *rng);

/*
 * Requests of the open image, some steps and completions between them; then all end.
 *
 *	1 byte number; for each: 1 byte what, 2 bytes where, 1 byte how long, 1 byte how many moves
 */
void guest_live(struct guest_side *guest, struct input *in);

/* The close ends, well or not. */
void guest_close(struct guest_side *guest);

#endif
