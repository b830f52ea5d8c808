/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Processes that run seeds, and what one of them died of. */
#ifndef CREW_H
#define CREW_H

#include "life.h"

struct crew_options {
	const char *program; /* for the command that runs a seed again */
	const char *mutant; /* planted, for the same; or NULL */
	uint64_t first; /* seed */
	uint64_t seeds; /* how many */
	uint64_t seconds; /* budget; 0: none */
	unsigned jobs; /* 0: one for each processor */
	unsigned qemu_check_every;
	uint32_t aims; /* only seeds that aim at all of these */
	bool named; /* of the mutants, only those with a name */
	bool barriers; /* only those without */
	bool hinted; /* only those for which a seed is known */
	bool missing; /* only those for which none is */
	unsigned every; /* only every so many-th; 0: all */
	const char *hints; /* file of seeds that find mutants, tried first; or NULL */
	const char *save_hints; /* file for those that did; or NULL */
	const char *exceptions; /* file of those that nothing can find, and why; or NULL */
	bool keep_going;
	bool quiet; /* no last words on standard error */
};

struct finding {
	bool found;
	uint64_t seed; /* the first one found */
	uint64_t milliseconds;
	char message[200]; /* first line of its last words */
	struct {
		uint64_t seeds;
		uint64_t lives;
		uint64_t cuts;
		uint64_t kills;
		uint64_t requests;
		uint64_t qemu_checks;
	} tally;
};

/* Run seeds until the budget is used up or something is found. */
void crew_run(const struct crew_options *options, struct finding *finding);

#endif
