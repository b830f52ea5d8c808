/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is under way, as a line of the log. */
#ifndef SIGHT_H
#define SIGHT_H

#include "base.h"
#include "image.h"

#define SIGHT_SERVICE (-1)

struct sight_place {
	const char *device;
	int queue; /* or SIGHT_SERVICE */
};

#define SIGHT_BYTES 512u

/* Write @live into @text, as seen at @now (monotonic nanoseconds). */
void sight_text(char text[SIGHT_BYTES], const struct sight_place *place, const struct live *live,
		uint64_t now);

void sight_log(enum log_level level, const struct sight_place *place, const struct live *live,
	       uint64_t now);

/* The same of a lane that has not answered for @ns. */
void sight_log_silent(enum log_level level, const struct sight_place *place, uint64_t ns);

#endif
