/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The lives of an image: opened, used by a guest, and ended one way or another, again and again. */
#ifndef LIFE_H
#define LIFE_H

#include "base.h"

/* Shared between processes: what has been done so far. */
struct tally {
	_Atomic uint64_t seed; /* at hand */
	_Atomic uint64_t seeds;
	_Atomic uint64_t lives;
	_Atomic uint64_t cuts; /* states of the disk after a power cut that were judged */
	_Atomic uint64_t kills; /* of processes that another one took over from */
	_Atomic uint64_t requests;
	_Atomic uint64_t qemu_checks;
};

struct life_options {
	unsigned qemu_check_every; /* ask qemu-img about every so many durable images; 0: never */
	uint32_t aims; /* only seeds that aim at all of these (config.h) */
	struct tally *tally;
};

/* Once per process. */
void lives_init(const struct life_options *options);

/* All lives of one seed.  Does not return when a judge objects. */
void lives_run(uint64_t seed);

#endif
