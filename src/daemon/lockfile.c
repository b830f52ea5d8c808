/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Locks of open file descriptions, on whole files. */
#include "lockfile.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static struct flock whole_file(void)
{
	return (struct flock){ .l_type = F_WRLCK, .l_whence = SEEK_SET };
}

bool lockfile_is_locked(int fd)
{
	struct flock lock = whole_file();

	return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

static bool is_at(int fd, const char *path)
{
	struct stat have, there;

	return fstat(fd, &have) == 0 && lstat(path, &there) == 0 && have.st_dev == there.st_dev &&
	       have.st_ino == there.st_ino;
}

int lockfile_open(const char *path, int flags)
{
	for (;;) {
		struct flock lock = whole_file();
		int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | flags, 0600);
		int err;

		if (fd < 0)
			return -errno;
		err = fcntl(fd, F_OFD_SETLK, &lock) ? -errno : 0;
		if (!err && is_at(fd, path))
			return fd;
		close(fd);
		if (err)
			return err == -EACCES ? -EAGAIN : err;
	}
}

int lockfile_wait(const char *path)
{
	struct flock lock = whole_file();
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	int err;

	if (fd < 0)
		return -errno;
	if (fcntl(fd, F_OFD_SETLKW, &lock) == 0)
		return fd;
	err = -errno;
	close(fd);
	return err;
}

int lockfile_write(int fd, const char *text)
{
	size_t len = strlen(text) + 1;
	ssize_t n = pwrite(fd, text, len, 0);

	if (n < 0)
		return -errno;
	return (size_t)n == len ? 0 : -EIO;
}
