/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Built without libseccomp. */
#include "syscalls.h"

#include <errno.h>

int syscalls_confine(enum syscalls which)
{
	(void)which;
	return -EOPNOTSUPP;
}
