/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writes to /sys/block/ublkbN/queue: each waits for the requests that are under way. */
#include "tune.h"
#include "helper.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define TIMEOUT_MS 2000

/* A device that is taken over has the value already: there is nothing to wait for. */
static bool is_set(int fd, const char *text, size_t len)
{
	char now[16];

	return pread(fd, now, sizeof(now), 0) == (ssize_t)len && memcmp(now, text, len) == 0;
}

static int set(const struct ublksrv_ctrl_dev_info *info, const char *name, unsigned value)
{
	char path[96], text[16];
	int fd, err = 0, len;

	snprintf(path, sizeof(path), "/sys/block/ublkb%d/queue/%s", info->dev_id, name);
	len = snprintf(text, sizeof(text), "%u\n", value);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (!is_set(fd, text, (size_t)len) && pwrite(fd, text, (size_t)len, 0) != len)
		err = -errno;
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
