/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The driver allows the look (queue attribute "partscan", kernel docs: sysfs-block), and then looks
 * with the lock that each open of the disk takes too.
 */
#include "partitions.h"
#include "helper.h"
#include "users.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define LOOKS 1000
#define LOOK_MS 5

/* 0, -EAGAIN: not yet, or -errno. */
static int look(const char *path)
{
	char allowed = '0';
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, &allowed, 1);
	close(fd);
	return n == 1 && allowed != '0' ? 0 : -EAGAIN;
}

static int open_disk(const struct ublksrv_ctrl_dev_info *info)
{
	char node[32];
	int fd;

	snprintf(node, sizeof(node), "/dev/ublkb%u", info->dev_id);
	fd = open(node, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static void answer(int fd, int err)
{
	help_say(fd, err, err ? "the look for partitions" : "");
}

void await_partitions(int fd, const struct ublksrv_ctrl_dev_info *info)
{
	char attribute[64];
	int err = -EAGAIN;

	snprintf(attribute, sizeof(attribute), "/sys/block/ublkb%u/partscan", info->dev_id);
	for (int i = 0; i < LOOKS && (err = look(attribute)) == -EAGAIN; i++)
		sleep_ms(LOOK_MS);
	if (!err) {
		int disk = open_disk(info);

		err = disk < 0 ? disk : close(disk);
	}
	answer(fd, err);
}

void find_partitions(int fd, const struct ublksrv_ctrl_dev_info *info)
{
	static struct users_disk disk;
	int node, err = 0;

	if (users_disk(&disk, (int32_t)info->dev_id) && disk.own == 1) {
		node = open_disk(info);
		err = node < 0 ? node : ioctl(node, BLKRRPART) ? -errno : 0;
		if (node >= 0)
			close(node);
	}
	answer(fd, err == -EBUSY ? 0 : err);
}
