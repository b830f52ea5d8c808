/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A library to preload: the process ends at its pwrite() number CUT_WRITES, without writing, as if
 * it had been killed there.  For tests of what an interrupted repair leaves behind.  It ends with another
 * status when it would write before what others had written was synced and dropped from the page cache.
 * And with READ_AT, each pread() at that offset fails with the errno READ_ERROR, as of a bad file system.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

#define STATUS_CUT 99
#define STATUS_UNSETTLED 98

static int is_synced, is_dropped;

int fdatasync(int fd)
{
	int (*next)(int);

	*(void **)&next = dlsym(RTLD_NEXT, "fdatasync");
	is_synced = 1;
	return next(fd);
}

int posix_fadvise(int fd, off_t off, off_t len, int advice)
{
	int (*next)(int, off_t, off_t, int);

	*(void **)&next = dlsym(RTLD_NEXT, "posix_fadvise64");
	is_dropped |= is_synced && off == 0 && len == 0 && advice == POSIX_FADV_DONTNEED;
	return next(fd, off, len, advice);
}

static void count_down(void)
{
	static long left;
	const char *text = getenv("CUT_WRITES");

	if (!is_dropped)
		_exit(STATUS_UNSETTLED);
	if (left == 0)
		left = text ? strtol(text, NULL, 10) : 0;
	if (left > 0 && --left == 0)
		_exit(STATUS_CUT);
}

ssize_t pread(int fd, void *bytes, size_t len, off_t off)
{
	ssize_t (*next)(int, void *, size_t, off_t);
	const char *at = getenv("READ_AT"), *error = getenv("READ_ERROR");

	if (at && error && off == strtol(at, NULL, 0)) {
		errno = (int)strtol(error, NULL, 10);
		return -1;
	}
	*(void **)&next = dlsym(RTLD_NEXT, "pread64");
	return next(fd, bytes, len, off);
}

/* meson asks for offsets of 64 bits, so this is the symbol pwrite64. */
ssize_t pwrite(int fd, const void *bytes, size_t len, off_t off)
{
	ssize_t (*next)(int, const void *, size_t, off_t);

	*(void **)&next = dlsym(RTLD_NEXT, "pwrite64");
	count_down();
	return next(fd, bytes, len, off);
}
