/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Every state that a power cut may leave at one moment. */
#ifndef CUTS_H
#define CUTS_H

#include "memo.h"
#include "stage.h"

#define CUTS_LIMIT_MOST 20u

struct cuts {
	unsigned limit; /* all subsets of up to so many pieces, of more a sample; 0: all or nothing */
	uint64_t reopen_every; /* open every so many-th state, and go on; 0: never */
	struct memo *
		memo; /* moments that have been looked at, also by others; NULL: look at each state by itself */
	uint64_t image; /* what is there besides the bytes of disks, in short */

	/* what has been done, ever */
	uint64_t states; /* looked at */
	uint64_t subsets; /* of up to @limit pieces: what has been looked at, or is the same as what was */
	uint64_t reopened;
	uint64_t unopened; /* states since then */
	uint64_t moments;
	uint64_t known; /* of them were the same as one before */
	uint64_t wide; /* of those looked at have more pieces than @limit, ... */
	uint64_t sampled; /* ... and of so many of these not all has been looked at */

	uint64_t seen; /* what was there at the last look; 0: nothing */
};

/*
 * Look at what would be left if the power failed now: the writes that no sync covers, in pieces of a
 * sector, survive one by one or not.  Nothing when the same has been looked at before.
 */
void cuts_look(struct cuts *cuts, struct stage *stage, uint64_t max_leaks, const char *when);

#endif
