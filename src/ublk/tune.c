/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writes to /sys/block/ublkbN/queue: each waits for the requests that are under way. */
#include "tune.h"
#include "helper.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define TIMEOUT_MS 2000

static int set(const struct ublksrv_ctrl_dev_info *info, const char *name, unsigned value)
{
	char path[96], text[16];
	int fd, err, len;

	snprintf(path, sizeof(path), "/sys/block/ublkb%d/queue/%s", info->dev_id, name);
	len = snprintf(text, sizeof(text), "%u", value);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = write(fd, text, (size_t)len) == len ? 0 : -errno;
	close(fd);
	return err;
}

void tune_device(int fd, const struct ublksrv_ctrl_dev_info *info)
{
	unsigned depth = info->queue_depth - TUNE_SPARE_TAGS;
	int err = set(info, "io_timeout", TIMEOUT_MS);

	if (!err && depth >= TUNE_LEAST_DEPTH)
		err = set(info, "nr_requests", depth);
	help_say(fd, err, err ? "settings of the request queue in /sys/block" : "");
}
