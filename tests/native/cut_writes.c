/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A library to preload: the process ends at its pwrite() number CUT_WRITES, without writing, as if
 * it had been killed there.  For tests of what an interrupted repair leaves behind.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

#define STATUS_CUT 99

static void count_down(void)
{
	static long left;
	const char *text = getenv("CUT_WRITES");

	if (left == 0)
		left = text ? strtol(text, NULL, 10) : 0;
	if (left > 0 && --left == 0)
		_exit(STATUS_CUT);
}

/* meson asks for offsets of 64 bits, so this is the symbol pwrite64. */
ssize_t pwrite(int fd, const void *bytes, size_t len, off_t off)
{
	ssize_t (*next)(int, const void *, size_t, off_t);

	*(void **)&next = dlsym(RTLD_NEXT, "pwrite64");
	count_down();
	return next(fd, bytes, len, off);
}
