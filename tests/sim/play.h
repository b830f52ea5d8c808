/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A short history is played: with looks at what power cuts would leave, or with one io that fails. */
#ifndef PLAY_H
#define PLAY_H

#include "cuts.h"
#include "histories.h"

struct play {
	struct history history;
	struct strike strike; /* .kind and .nth: what goes wrong */
	uint64_t seed; /* of the image's content */
	bool struck; /* did it? */
};

/*
 * From the making of the image to its end.  @cuts looks after each host I/O; when something is to go
 * wrong, only from then on.  Does not return when a judge objects.
 */
void play_history(struct stage *stage, struct play *play, struct cuts *cuts);

#endif
