/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The file below, on pread and pwrite. */
#include "access.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

int access_measure(const struct check_file *file, uint64_t *bytes, struct why *why)
{
	off_t end = lseek(file->fd, 0, SEEK_END);

	if (end < 0)
		return why_set(why, -errno, "%s: size: %m", file->name);
	*bytes = (uint64_t)end;
	return 0;
}

int access_read(const struct check_file *file, uint64_t off, void *bytes, size_t len,
		size_t *present, struct why *why)
{
	size_t done = 0;

	while (done < len && off + done <= (uint64_t)INT64_MAX) {
		ssize_t got =
			pread(file->fd, (char *)bytes + done, len - done, (off_t)(off + done));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return why_set(why, -errno, "%s: read of %zu bytes at %#" PRIx64 ": %m",
				       file->name, len - done, off + done);
		if (got == 0)
			break;
		done += (size_t)got;
	}
	memset((char *)bytes + done, 0, len - done);
	if (present)
		*present = done;
	return 0;
}

uint64_t access_next_piece(const struct check_file *file, uint64_t host, uint64_t off,
			   uint64_t bytes)
{
	off_t data;

	if (off >= bytes || host + off > (uint64_t)INT64_MAX)
		return bytes;
	data = lseek(file->fd, (off_t)(host + off), SEEK_DATA);
	if (data < 0)
		return errno == ENXIO ? bytes : off;
	return min_u64(bytes, off + round_down((uint64_t)data - host - off, ACCESS_PIECE));
}

int access_write(const struct check_file *file, uint64_t off, const void *bytes, size_t len,
		 struct why *why)
{
	size_t done = 0;

	while (done < len) {
		ssize_t put = pwrite(file->fd, (const char *)bytes + done, len - done,
				     (off_t)(off + done));

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return why_set(why, put ? -errno : -ENOSPC,
				       "%s: write of %zu bytes at %#" PRIx64 ": %s", file->name,
				       len - done, off + done,
				       put ? strerror(errno) : "no space left");
		done += (size_t)put;
	}
	return 0;
}

int access_settle(const struct check_file *file, struct why *why)
{
	int err = access_sync(file, why);

	if (err)
		return err;
	err = posix_fadvise(file->fd, 0, 0, POSIX_FADV_DONTNEED);
	return err ? why_set(why, -err, "%s: page cache: %s", file->name, strerror(err)) : 0;
}

int access_sync(const struct check_file *file, struct why *why)
{
	return fdatasync(file->fd) ? why_set(why, -errno, "%s: fdatasync: %m", file->name) : 0;
}
