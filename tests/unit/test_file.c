/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is believed of a file system, and of an fsync that was interrupted.  Its answers are made here. */
#include "file.h"

#include "check.h"

#include <errno.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/statfs.h>
#include <unistd.h>

static char path[64];
static uint32_t type;
static unsigned interrupted, syncs;

int fstatfs(int fd, struct statfs *fs)
{
	(void)fd;
	memset(fs, 0, sizeof(*fs));
	fs->f_type = type;
	return 0;
}

int fdatasync(int fd)
{
	(void)fd;
	syncs++;
	if (!interrupted)
		return 0;
	interrupted--;
	errno = EINTR;
	return -1;
}

static void open_on(struct file *file, uint32_t file_system, bool read_only, bool direct)
{
	struct file_options options = { .read_only = read_only, .direct = direct };
	struct why why;

	type = file_system;
	CHECK_EQ(file_open(file, path, &options, &why), 0);
	CHECK_EQ(file_measure(file, &options, &why), 0);
}

static struct host_file host_on(uint32_t file_system, bool read_only, bool direct)
{
	struct file file;

	open_on(&file, file_system, read_only, direct);
	file_close(&file);
	return file.host;
}

static void test_promises(void)
{
	/* Where the test runs, it may not be possible at all. */
	bool can_be_direct = host_on(XFS_SUPER_MAGIC, false, true).direct;

	check_case("a durable write is trusted where it is known to be one");
	CHECK(host_on(XFS_SUPER_MAGIC, false, true).dsync);
	CHECK(!host_on(FUSE_SUPER_MAGIC, false, true).dsync);
	CHECK(!host_on(NFS_SUPER_MAGIC, false, true).dsync);

	check_case("NFS goes past the page cache, unless it is only read");
	CHECK_EQ(host_on(NFS_SUPER_MAGIC, false, false).direct, can_be_direct);
	CHECK(!host_on(NFS_SUPER_MAGIC, true, false).direct);
	CHECK(!host_on(XFS_SUPER_MAGIC, false, false).direct);
}

static void test_sync(bool direct)
{
	struct file file;

	check_case("an fsync that is interrupted%s", direct ? "" : ", through the page cache");
	open_on(&file, XFS_SUPER_MAGIC, false, direct);
	interrupted = 1;
	syncs = 0;
	if (file.host.direct) {
		CHECK_EQ(file.host.sync(&file.host), 0);
		CHECK_EQ(syncs, 2);
	} else {
		CHECK_EQ(file.host.sync(&file.host), -EINTR);
		CHECK_EQ(syncs, 1);
	}
	interrupted = 0;
	file_close(&file);
}

int main(void)
{
	const char *folder = getenv("TMPDIR");
	int fd;

	snprintf(path, sizeof(path), "%s/test-file.XXXXXX", folder ? folder : "/var/tmp");
	fd = mkstemp(path);
	must(fd >= 0 && ftruncate(fd, MIB) == 0);
	close(fd);
	test_promises();
	test_sync(true);
	test_sync(false);
	unlink(path);
	return check_end();
}
