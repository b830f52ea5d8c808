/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A disk that becomes larger now and then, or smaller; chance of its own, so that other seeds deal what they dealt. */
#ifndef RESIZING_H
#define RESIZING_H

#include "rng.h"

#include <stdbool.h>
#include <stdint.h>

struct stage;

#define HEADER_WATCHED 24u /* bytes: the size, and where L1 is */

struct resizing {
	struct rng rng;
	bool possible;
	uint64_t most; /* bytes */
	unsigned one_in; /* moves */
	bool busy;
	bool unsure; /* one has failed: the image has its size, or that of target */
	uint8_t header[HEADER_WATCHED]; /* what the file had there at the last look */
	unsigned fresh; /* moves during which that is news */
	uint64_t target; /* while busy, or unsure */
	bool asks; /* it is only asked whether anything is behind that */
	uint64_t done; /* ever */
};

/* Does this seed do it?  May change the shape that was drawn. */
void resizing_draw(struct stage *stage, uint64_t seed);

/* Between two moves: perhaps begin. */
void resizing_may_begin(struct stage *stage);

/* Is it a good moment for a kill? */
bool resizing_is_worth_a_kill(struct stage *stage);

/*
 * The image says that it is as large as this.  @last: whatever was under way is not any more.  Fails when
 * it cannot be.
 */
void resizing_found(struct stage *stage, uint64_t bytes, bool last);

#endif
