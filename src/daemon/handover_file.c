/* SPDX-License-Identifier: GPL-2.0-or-later */
/* struct handover on files: one that was inherited, and one that takes its place. */
#include "handover_file.h"
#include "janitor.h"
#include "ownership.h"
#include "registry.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#define ENDING ".writes"
#define FRESH_ENDING ".writes.new"

/* --- whose it is ------------------------------------------------------------------------------------- */

/* The struct identity, where the file system lets us write that beside the file. */
#define WHOSE "user.qcow2-ublkd.image"

/*
 * Is it what a process has left for a file that is gone?  Nobody can want that, unless its device is
 * still there.  What is not signed, as by an earlier version, may be ours.
 */
static bool is_of_who_is_gone(const struct handover_file *file, int fd)
{
	struct identity left;

	return fgetxattr(fd, WHOSE, &left, sizeof(left)) == sizeof(left) &&
	       identity_has_replaced(&file->identity, &left) && !ownership_is_left(&left);
}

static int open_left(const struct handover_file *file)
{
	return open(file->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
}

bool handover_file_is_pending(const struct handover_file *file)
{
	int fd = open_left(file);
	bool gone;

	if (fd < 0)
		return errno != ENOENT && errno != ENOTDIR;
	gone = is_of_who_is_gone(file, fd);
	close(fd);
	return !gone;
}

bool handover_file_is_pending_for(int fd, const char *name)
{
	struct handover_file file;
	struct identity identity;

	if (identity_of(&identity, fd))
		return true;
	handover_file_init(&file, &identity, name);
	return handover_file_is_pending(&file);
}

/* --- struct handover --------------------------------------------------------------------------------- */

static int inherit(void *arg, void **memory, uint64_t *bytes, struct why *why)
{
	struct handover_file *file = arg;
	int fd = open_left(file);
	struct stat st;
	void *map;
	int err;

	*memory = NULL;
	*bytes = 0;
	if (fd < 0)
		return errno == ENOENT ? 0 : why_set(why, -errno, "%s: %m", file->path);
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size == 0) {
		close(fd);
		return why_set(why, -EINVAL,
			       "%s: is not what a killed process leaves; look at it, and use "
			       "--abandon to serve %s without",
			       file->path, file->image);
	}
	if (is_of_who_is_gone(file, fd)) {
		close(fd);
		log_info("%s: what a killed process has left was for a file that is gone, whose "
			 "number this one has; it counts no more",
			 file->image);
		return 0;
	}
	map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	err = map == MAP_FAILED ? -errno : 0;
	close(fd);
	if (err)
		return why_set(why, err, "%s: %s", file->path, strerror(-err));
	*memory = file->inherited = map;
	*bytes = file->inherited_bytes = (uint64_t)st.st_size;
	return 0;
}

static int allocate(int fd, uint64_t bytes)
{
	int err;

	do
		err = posix_fallocate(fd, 0, (off_t)bytes);
	while (err == EINTR);
	return -err;
}

static unsigned long long free_kib(void)
{
	struct statvfs fs;

	return statvfs(registry_folder, &fs) ? 0 : fs.f_bavail * (fs.f_frsize / 1024);
}

/* Who takes over has a cache as large as there was, whatever its options say. */
static int no_space(const struct handover_file *file, uint64_t bytes, int err, struct why *why)
{
	bool beside = access(file->path, F_OK) == 0;

	return why_set(
		why, err,
		"%s: takes %llu KiB%s, and %llu KiB are free: %s; make room there, or enlarge "
		"that file system (mount option size)%s",
		file->fresh, (unsigned long long)bytes / 1024,
		beside ? " beside what the process before has there" : "", free_kib(),
		strerror(-err), beside ? "" : ", or use a smaller --l2-cache");
}

static void drop_spare(struct handover_file *file)
{
	if (file->spare >= 0)
		close(file->spare);
	file->spare = -1;
}

/* What the other process had is as much as this one needs, unless the disk has got another size. */
static bool fit_spare(const struct handover_file *file, uint64_t bytes)
{
	if (file->spare < 0)
		return false;
	if (file->spare_bytes < bytes)
		return allocate(file->spare, bytes) == 0;
	return file->spare_bytes == bytes || ftruncate(file->spare, (off_t)bytes) == 0;
}

/* Give the spare file its name.  Its descriptor, or -1: it will not do. */
static int use_spare(struct handover_file *file, uint64_t bytes)
{
	char link[64];
	int fd = file->spare;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	if (!fit_spare(file, bytes) ||
	    linkat(AT_FDCWD, link, AT_FDCWD, file->fresh, AT_SYMLINK_FOLLOW)) {
		drop_spare(file);
		return -1;
	}
	file->spare = -1;
	return fd;
}

static int make_file(const struct handover_file *file, uint64_t bytes, int *err)
{
	int fd = open(file->fresh, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

	*err = fd < 0 ? -errno : allocate(fd, bytes);
	return fd;
}

/* All of it is allocated now: a page that could not be had later would end the process. */
static int make(void *arg, uint64_t bytes, void **memory, struct why *why)
{
	struct handover_file *file = arg;
	void *map;
	int fd, err = 0;

	unlink(file->fresh);
	fd = use_spare(file, bytes);
	if (fd < 0)
		fd = make_file(file, bytes, &err);
	if (fd < 0)
		return why_set(why, err, "%s: %s", file->fresh, strerror(-err));
	map = err ? NULL : mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		err = -errno;
	/* Without that, whoever gets the image's number is refused, as long as this is there. */
	if (!err && fsetxattr(fd, WHOSE, &file->identity, sizeof(file->identity), 0))
		log_debug("%s: %m", file->fresh);
	close(fd);
	if (err) {
		unlink(file->fresh);
		return no_space(file, bytes, err, why);
	}
	/* The device may carry swap.  Without the right to lock this is as good as all other memory. */
	mlock2(map, bytes, MLOCK_ONFAULT);
	*memory = file->made = map;
	file->made_bytes = bytes;
	return 0;
}

static int keep(void *arg, struct why *why)
{
	struct handover_file *file = arg;

	if (rename(file->fresh, file->path))
		return why_set(why, -errno, "%s: %m", file->path);
	file->kept = true;
	if (file->inherited)
		munmap(file->inherited, file->inherited_bytes);
	file->inherited = NULL;
	return 0;
}

/* --- the files --------------------------------------------------------------------------------------- */

void handover_file_init(struct handover_file *file, const struct identity *identity,
			const char *image)
{
	*file = (struct handover_file){
		.handover = { .inherit = inherit, .make = make, .keep = keep, .arg = file },
		.identity = *identity,
		.image = image,
		.spare = -1,
	};
	memcpy(file->handover.identity, identity->bytes, sizeof(file->handover.identity));
	snprintf(file->path, sizeof(file->path), "%s/%s" ENDING, registry_folder, identity->name);
	snprintf(file->fresh, sizeof(file->fresh), "%s/%s" FRESH_ENDING, registry_folder,
		 identity->name);
}

int handover_file_prepare(struct handover_file *file, struct why *why)
{
	struct stat st;
	int err;

	if (stat(file->path, &st))
		return 0;
	file->spare_bytes = (uint64_t)st.st_size;
	file->spare = open(registry_folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	/* Where there are no such files, that time is taken later. */
	err = file->spare < 0 ? 0 : allocate(file->spare, file->spare_bytes);
	if (!err)
		return 0;
	drop_spare(file);
	return no_space(file, file->spare_bytes, err, why);
}

int handover_file_abandon(const struct handover_file *file)
{
	return unlink(file->path) && errno != ENOENT ? -errno : 0;
}

void handover_file_done(struct handover_file *file)
{
	/* What we have not made another process of the same image may be making. */
	if (file->made && !file->kept)
		unlink(file->fresh);
	if (file->kept && janitor_unlink(file->path))
		log_warn("%s: %m", file->path);
	file->kept = false;
}
