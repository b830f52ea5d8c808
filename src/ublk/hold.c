/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hold a device, write back what is dirty on it, and say who is in the way. */
#include "hold.h"
#include "helper.h"
#include "users.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define LOOK_AGAIN_MS 1000
#define DESCRIBE_EVERY 10 /* tries */
#define ABOVE_DEPTH 8 /* dm over dm over ...: more are the administrator's business */

#define TEXT_BYTES sizeof(((struct help_answer *)0)->text)

static int open_device(const char *name, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), "/dev/%.32s", name);
	return open(path, O_RDONLY | O_CLOEXEC | flags);
}

/* Write back what is dirty in a device's page cache. */
static int sync_device(const char *name)
{
	int fd = open_device(name, 0);
	int err;

	if (fd < 0)
		return -errno;
	err = fsync(fd) ? -errno : 0;
	close(fd);
	return err;
}

static int sync_disk(const struct users_disk *disk)
{
	int first = 0;

	for (unsigned i = disk->own; i-- > 0;) {
		int err = sync_device(disk->name[i]);

		first = first ? first : err;
	}
	return first;
}

/* What is above first, and with a device the file system that is mounted from it, wherever. */
static void flush_above(const char *name, unsigned depth)
{
	char above[ABOVE_MOST][ABOVE_NAME];
	unsigned n = depth ? above_find(name, above) : 0;
	int fd;

	for (unsigned i = 0; i < n; i++)
		flush_above(above[i], depth - 1);
	fd = open_device(name, 0);
	if (fd < 0)
		return;
	ioctl(fd, BLKFLSBUF, 0);
	close(fd);
}

static int force_out(const struct users_disk *disk)
{
	int first = users_sync(disk), err;

	flush_above(disk->name[0], ABOVE_DEPTH);
	err = sync_disk(disk);
	return first ? first : err;
}

/* False when the server has ended the job, or itself. */
static bool wait_a_little(int fd)
{
	struct pollfd hangup = { .fd = fd };

	return poll(&hangup, 1, LOOK_AGAIN_MS) == 0;
}

static void answer_synced(int fd, const struct users_disk *disk, enum hold_answer good, int err)
{
	char text[TEXT_BYTES];

	users_describe(disk, text, sizeof(text));
	if (err)
		help_say(fd, HOLD_DIRTY, strerror(-err));
	else
		help_say(fd, (int32_t)good, text);
	help_await_end(fd);
}

struct attempt {
	const struct ublksrv_ctrl_dev_info *info;
	bool force;
	unsigned times;
	bool answered;
	char said[TEXT_BYTES];
};

static void say_busy(int fd, struct attempt *attempt, const struct users_disk *disk)
{
	char text[TEXT_BYTES];

	/* To look through all processes costs more than to try. */
	if (attempt->times++ % DESCRIBE_EVERY != 0)
		return;
	users_describe(disk, text, sizeof(text));
	if (!attempt->answered || strcmp(text, attempt->said) != 0)
		help_say(fd, HOLD_BUSY, text);
	attempt->answered = true;
	memcpy(attempt->said, text, sizeof(attempt->said));
}

/* True when there is nothing left to do. */
static bool hold_once(int fd, struct attempt *attempt)
{
	struct users_disk disk;
	int dev;

	if (!users_disk(&disk, attempt->info->dev_id)) {
		help_say(fd, HOLD_FAILED, "there is no such disk");
		return true;
	}
	dev = open_device(disk.name[0], O_EXCL);
	if (dev < 0 && errno != EBUSY) {
		help_say(fd, HOLD_FAILED, strerror(errno));
		return true;
	}
	/* Loop devices keep nobody from holding what they lie on, so look for them. */
	if (dev >= 0 && disk.devices == disk.own) {
		help_say(fd, HOLD_WRITES, "");
		answer_synced(fd, &disk, HOLD_CLEAN, sync_disk(&disk));
		return true;
	}
	if (attempt->force && !users_swap(&disk)) {
		help_say(fd, HOLD_WRITES, "");
		answer_synced(fd, &disk, HOLD_FORCED, force_out(&disk));
		return true;
	}
	if (dev >= 0)
		close(dev);
	say_busy(fd, attempt, &disk);
	return false;
}

void hold_device(int fd, const struct ublksrv_ctrl_dev_info *info, bool force)
{
	struct attempt attempt = { .info = info, .force = force };

	while (!hold_once(fd, &attempt) && wait_a_little(fd))
		;
}
