/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Host files: what may be served, whether the page cache can be bypassed, and blocking calls for
 * the time before rings turn.
 */
#include "file.h"

#include "promise.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define BOUNCE_ALIGN 4096u

#define CLAIM_WAIT_MS 10

static struct file *file_of(struct host_file *host)
{
	return container_of(host, struct file, host);
}

/* --- blocking calls ---------------------------------------------------------------------------- */

/* Read up to @len bytes; less only at end of file. */
static int64_t read_range(const struct file *file, uint8_t *buf, size_t len, uint64_t off)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pread(file->fd, buf + done, len - done, (off_t)(off + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		done += (size_t)n;
		/* With direct I/O a read that ends within a sector has met the end of the file. */
		if (n == 0 || !is_aligned((uint64_t)n, file->host.align))
			break;
	}
	return (int64_t)done;
}

static int write_range(const struct file *file, const uint8_t *buf, size_t len, uint64_t off)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pwrite(file->fd, buf + done, len - done, (off_t)(off + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EIO;
		done += (size_t)n;
	}
	return 0;
}

/* Any buffer, offset and length, through the aligned buffer. */
static int64_t read_bounced(struct file *file, uint8_t *buf, size_t len, uint64_t off)
{
	size_t done = 0;

	while (done < len) {
		uint64_t start = round_down(off + done, BOUNCE_ALIGN);
		uint64_t skip = off + done - start;
		uint64_t want = min_u64(FILE_BOUNCE, round_up(skip + len - done, BOUNCE_ALIGN));
		int64_t n = read_range(file, file->bounce, want, start);

		if (n < 0)
			return n;
		if ((uint64_t)n <= skip)
			break;

		uint64_t got = min_u64((uint64_t)n - skip, len - done);

		memcpy(buf + done, (uint8_t *)file->bounce + skip, got);
		done += got;
		if ((uint64_t)n < want)
			break;
	}
	return (int64_t)done;
}

static int64_t file_read(struct host_file *host, void *buf, size_t len, uint64_t off)
{
	struct file *file = file_of(host);

	return file->bounce ? read_bounced(file, buf, len, off) : read_range(file, buf, len, off);
}

static int file_write(struct host_file *host, const void *buf, size_t len, uint64_t off)
{
	struct file *file = file_of(host);
	const uint8_t *from = buf;

	if (!file->bounce)
		return write_range(file, from, len, off);
	if (!is_aligned(off, host->align) || !is_aligned(len, host->align))
		return -EINVAL;
	while (len > 0) {
		size_t n = min_u64(len, FILE_BOUNCE);
		int err;

		memcpy(file->bounce, from, n);
		err = write_range(file, file->bounce, n, off);
		if (err)
			return err;
		from += n;
		off += n;
		len -= n;
	}
	return 0;
}

static int file_sync(struct host_file *host)
{
	int err;

	/* Through the page cache that may be the error of a write that was lost, which is told once. */
	do
		err = fdatasync(file_of(host)->fd);
	while (err && errno == EINTR && host->direct);
	return err ? -errno : 0;
}

/* --- open ---------------------------------------------------------------------------------------- */

static int refuse_open(const char *path, bool read_only, int err, struct why *why)
{
	if (err == -ENOENT)
		return why_set(why, err, "%s: cannot be opened by /proc/self/fd; is /proc mounted?",
			       path);
	if (!read_only && (err == -EACCES || err == -EPERM || err == -EROFS || err == -ETXTBSY))
		return why_set(why, err, "%s: not writable: %s; --read-only serves it as it is",
			       path, strerror(-err));
	return why_set(why, err, "%s: %s", path, strerror(-err));
}

static int check_kind(struct file *file, struct why *why)
{
	struct stat st;

	if (fstat(file->fd, &st))
		return why_set(why, -errno, "%s: fstat: %m", file->host.name);
	file->host.fixed_size = S_ISBLK(st.st_mode);
	if (S_ISDIR(st.st_mode))
		return why_set(why, -EISDIR, "%s: is a directory, not an image", file->host.name);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return why_set(why, -EINVAL, "%s: neither a regular file nor a block device",
			       file->host.name);
	return 0;
}

int file_find(struct file *file, const char *path, const struct file_options *options,
	      struct why *why)
{
	int err;

	memset(file, 0, sizeof(*file));
	file->host = (struct host_file){
		.name = path,
		.index = options->index,
		.read_only = options->read_only,
		.align = 1,
		.read = file_read,
		.write = file_write,
		.sync = file_sync,
	};
	file->fd = open(path, O_PATH | O_CLOEXEC);
	if (file->fd < 0)
		return why_set(why, -errno, "%s: %m", path);
	err = check_kind(file, why);
	if (err)
		file_close(file);
	return err;
}

int file_again(int fd, int flags)
{
	char path[32];
	int again;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	return again < 0 ? -errno : again;
}

/* The same file by another description, which has none of the locks of the one before. */
static int exchange(struct file *file, int flags)
{
	int fd = file_again(file->fd, flags | (file->host.read_only ? O_RDONLY : O_RDWR));

	if (fd < 0)
		return fd;
	close(file->fd);
	file->fd = fd;
	return 0;
}

int file_open_found(struct file *file, struct why *why)
{
	int err = exchange(file, 0);

	if (!err)
		return 0;
	file_close(file);
	return refuse_open(file->host.name, file->host.read_only, err, why);
}

int file_open(struct file *file, const char *path, const struct file_options *options,
	      struct why *why)
{
	int err = file_find(file, path, options, why);

	return err ? err : file_open_found(file, why);
}

int file_claim(struct file *file, long patience_ms, struct why *why)
{
	int err;

	if (file->host.read_only || !file->host.fixed_size)
		return 0;
	for (long waited = 0;; waited += CLAIM_WAIT_MS) {
		err = exchange(file, O_EXCL);
		if (err != -EBUSY || waited >= patience_ms)
			break;
		sleep_ms(CLAIM_WAIT_MS);
	}
	if (err == -EBUSY)
		return why_set(
			why, err,
			"%s: somebody else has this block device for himself: it is served by "
			"another process, mounted, or part of another device",
			file->host.name);
	return err ? refuse_open(file->host.name, false, err, why) : 0;
}

void file_close(struct file *file)
{
	if (file->fd >= 0)
		close(file->fd);
	file->fd = -1;
	free(file->bounce);
	file->bounce = NULL;
}

/* --- measure ------------------------------------------------------------------------------------- */

/* For file systems that do not tell: a read of a sector that is aligned to no more than that. */
static bool probe_direct(int fd, uint8_t *buf)
{
	ssize_t n;

	do
		n = pread(fd, buf + SECTOR_SIZE, SECTOR_SIZE, SECTOR_SIZE);
	while (n < 0 && errno == EINTR);
	return n >= 0;
}

/* Does the file take direct I/O in units of SECTOR_SIZE? O_DIRECT is set. */
static bool direct_works(const struct file *file)
{
	struct statx stx;

	if (statx(file->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) == 0 &&
	    stx.stx_mask & STATX_DIOALIGN)
		return stx.stx_dio_offset_align > 0 && stx.stx_dio_offset_align <= SECTOR_SIZE &&
		       stx.stx_dio_mem_align <= SECTOR_SIZE;
	return probe_direct(file->fd, file->bounce);
}

static int set_flags(const struct file *file, int flags)
{
	return fcntl(file->fd, F_SETFL, flags);
}

/* As long as there is a page of the file in the page cache, each direct write looks whether it is its own. */
static void drop_cached(const struct file *file)
{
	posix_fadvise(file->fd, 0, 0, POSIX_FADV_DONTNEED);
}

/* Past the page cache where a flush could not rely on it, whatever was asked for. */
static bool goes_direct(const struct file *file, bool asked)
{
	if (asked || file->host.fixed_size || file->host.read_only || promise_errors(file->fd))
		return asked;
	log_warn("%s: here a flush may not hear of a write that the page cache has lost; using "
		 "direct I/O",
		 file->host.name);
	return true;
}

static int choose_cache(struct file *file, bool direct, struct why *why)
{
	if (direct) {
		file->bounce = aligned_alloc(BOUNCE_ALIGN, FILE_BOUNCE);
		if (!file->bounce)
			return why_set(why, -ENOMEM, "%s: out of memory", file->host.name);
		if (set_flags(file, O_DIRECT) == 0 && direct_works(file)) {
			file->host.align = SECTOR_SIZE;
			file->host.direct = true;
			if (!file->host.read_only)
				drop_cached(file);
			return 0;
		}
		log_warn("%s: no direct I/O in sectors of %u bytes here; using the page cache",
			 file->host.name, SECTOR_SIZE);
		free(file->bounce);
		file->bounce = NULL;
	}
	/* Also takes O_NONBLOCK away, with which io_uring would not wait for anything. */
	if (set_flags(file, 0))
		return why_set(why, -errno, "%s: fcntl: %m", file->host.name);
	return 0;
}

int file_measure(struct file *file, const struct file_options *options, struct why *why)
{
	struct stat st;

	if (file->host.fixed_size) {
		if (ioctl(file->fd, BLKGETSIZE64, &file->host.size))
			return why_set(why, -errno, "%s: size of the block device: %m",
				       file->host.name);
	} else {
		if (fstat(file->fd, &st))
			return why_set(why, -errno, "%s: fstat: %m", file->host.name);
		file->host.size = (uint64_t)st.st_size;
	}
	file->host.dsync = file->host.fixed_size || promise_dsync(file->fd);
	return choose_cache(file, goes_direct(file, options->direct), why);
}
