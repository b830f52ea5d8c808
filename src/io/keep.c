/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a process that was just forked has open of its parent's: nothing, but for what it needs. */
#include "keep.h"

#include <unistd.h>

int keep_only(int fd)
{
	const int kept = STDERR_FILENO + 1;

	if (fd != kept)
		dup2(fd, kept);
	close_range((unsigned)kept + 1, ~0u, 0);
	return kept;
}
