/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The end of the process when a condition that must hold does not. */
#include "base.h"

#include <stdlib.h>
#include <unistd.h>

void (*must_fail_hook)(void);

void must_fail(const char *cond, const char *file, int line)
{
	static atomic_flag taken = ATOMIC_FLAG_INIT;
	static _Thread_local bool failing;

	/* The hook itself may trip over what is broken. */
	if (failing)
		abort();
	failing = true;
	log_error("%s:%d: this must hold and does not: %s", file, line, cond);

	/* One report is enough: other threads wait here until the first has finished its own. */
	while (atomic_flag_test_and_set(&taken))
		pause();
	if (must_fail_hook)
		must_fail_hook();
	abort();
}
