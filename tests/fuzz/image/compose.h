/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From the fuzzer's bytes to the files of an image. */
#ifndef COMPOSE_H
#define COMPOSE_H

#include "input.h"
#include "model.h"
#include "ring.h"

/*
 * Either an image that the simulator makes, of all kinds, layers below it included, with places
 * poked; or the files as they are, in pieces.  Durable.
 *
 *	shape:	1 byte 0, 4 bytes seed, 1 byte number of pokes, the pokes
 *	poke:	1 byte what, and see poke_one()
 *	pieces:	1 byte 1, 1 byte number of files less 1; for each:
 *		8 bytes size, 1 byte number of pieces; for each:
 *		8 bytes offset, 2 bytes length, the bytes
 */
void compose(struct input *in, struct sim_host *host, struct model *model, struct rng *rng);

#endif
