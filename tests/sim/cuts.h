/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Every state that a power cut may leave at one moment. */
#ifndef CUTS_H
#define CUTS_H

#include "stage.h"

#define CUTS_LIMIT_MOST 20u

struct cuts {
	unsigned limit; /* all subsets of up to so many pieces, of more a sample; 0: all or nothing */
	uint64_t reopen_every; /* open every so many-th state, and go on; 0: never */
	uint64_t begun_leaks; /* before the history began */
	uint64_t states; /* looked at, ever */
	uint64_t reopened;
	uint64_t seen; /* what was there at the last look; 0: nothing */
};

/*
 * Look at what would be left if the power failed now: the writes that no sync covers, in pieces of a
 * sector, survive one by one or not.  Nothing when nothing has happened since the last call.
 */
void cuts_look(struct cuts *cuts, struct stage *stage, uint64_t max_leaks, const char *when);

#endif
