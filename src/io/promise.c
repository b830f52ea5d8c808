/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which promises of a file system may be relied on? */
#include "promise.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/*
 * ext4 has the number of the thread that writes its journal in sysfs, or "<none>".  Without one, and with the
 * driver of ext2, the file's own blocks become durable by fsync alone: a write to a block that is new may be
 * lost with it, durable or not.
 */
static bool has_journal(int fd)
{
	char link[64], device[PATH_MAX], path[128], task[16] = "";
	const char *slash;
	struct stat st;
	ssize_t length;
	int attribute;

	if (fstat(fd, &st))
		return false;
	snprintf(link, sizeof(link), "/sys/dev/block/%u:%u", major(st.st_dev), minor(st.st_dev));
	length = readlink(link, device, sizeof(device) - 1);
	if (length < 0)
		return false;
	device[length] = '\0';
	slash = strrchr(device, '/');
	snprintf(path, sizeof(path), "/sys/fs/ext4/%.64s/journal_task", slash ? slash + 1 : device);
	attribute = open(path, O_RDONLY | O_CLOEXEC);
	if (attribute < 0)
		return false;
	length = read(attribute, task, sizeof(task) - 1);
	close(attribute);
	return length > 0 && task[0] >= '0' && task[0] <= '9';
}

bool promise_dsync(int fd)
{
	struct statfs fs;

	if (fstatfs(fd, &fs))
		return false;
	switch (fs.f_type) {
	case XFS_SUPER_MAGIC:
		return true;
	case EXT4_SUPER_MAGIC:
		return has_journal(fd);
	default: /* FUSE, virtiofs, 9p and SMB take it, sync nothing, and do not tell */
		return false;
	}
}

/*
 * NFS tells of a lost write whoever writes next, as if that write had no space (since Linux 5.19), and then
 * no fsync hears of it.
 */
bool promise_errors(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 && fs.f_type != NFS_SUPER_MAGIC;
}
