/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A library to preload: each time that somebody looks at the clock, a second has passed. */
#include <time.h>

int clock_gettime(clockid_t clock, struct timespec *now)
{
	static time_t seconds = 1000;

	(void)clock;
	now->tv_sec = seconds++;
	now->tv_nsec = 0;
	return 0;
}
