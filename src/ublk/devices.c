/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ublk devices of this machine: sysfs names them, and the driver says what state they are in.
 *
 * Of the driver's commands only GET_DEV_INFO is sent: it takes no lock that a device can hold
 * which hangs.
 */
#include "devices.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <liburing.h>
#include <linux/ublk_cmd.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CONTROL_PATH "/dev/ublk-control"
#define CLASS_FOLDER "/sys/class/ublk-char"

/* --- sysfs --------------------------------------------------------------------------------------- */

static uint64_t read_number(int32_t id, const char *file)
{
	char path[64];
	uint64_t number = 0;
	FILE *in;

	snprintf(path, sizeof(path), "/sys/block/ublkb%d/%s", id, file);
	in = fopen(path, "re");
	if (!in)
		return 0;
	if (fscanf(in, "%" SCNu64, &number) != 1)
		number = 0;
	fclose(in);
	return number;
}

static int by_number(const void *a, const void *b)
{
	int32_t first = ((const struct ublk_device *)a)->id;
	int32_t second = ((const struct ublk_device *)b)->id;

	return (first > second) - (first < second);
}

static int add(struct ublk_device **devices, size_t *count, int32_t id)
{
	struct ublk_device *more = realloc(*devices, (*count + 1) * sizeof(**devices));

	if (!more)
		return -ENOMEM;
	*devices = more;
	more[(*count)++] = (struct ublk_device){ .id = id, .state = UBLK_UNKNOWN, .server = -1 };
	return 0;
}

static int find_all(struct ublk_device **devices, size_t *count)
{
	DIR *folder = opendir(CLASS_FOLDER);
	struct dirent *file;
	int err = 0;

	if (!folder)
		return errno == ENOENT ? -ENODEV : -errno;
	while (!err && (file = readdir(folder))) {
		int32_t id;
		char end;

		if (sscanf(file->d_name, "ublkc%" SCNd32 "%c", &id, &end) == 1)
			err = add(devices, count, id);
	}
	closedir(folder);
	return err;
}

/* --- the driver ---------------------------------------------------------------------------------- */

static int command(struct io_uring *ring, int fd, struct ublksrv_ctrl_dev_info *info, int32_t id)
{
	struct ublksrv_ctrl_cmd payload = {
		.dev_id = (uint32_t)id,
		.queue_id = UINT16_MAX,
		.len = sizeof(*info),
		.addr = (uintptr_t)info,
	};
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
	struct io_uring_cqe *cqe;
	int err;

	if (!sqe)
		return -EBUSY;
	memset(sqe, 0, 2 * sizeof(*sqe));
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = fd;
	sqe->cmd_op = UBLK_U_CMD_GET_DEV_INFO;
	memcpy(sqe->cmd, &payload, sizeof(payload));
	err = io_uring_submit(ring);
	if (err < 0)
		return err;
	do
		err = io_uring_wait_cqe(ring, &cqe);
	while (err == -EINTR);
	if (err)
		return err;
	err = cqe->res;
	io_uring_cqe_seen(ring, cqe);
	return err;
}

static enum ublk_state state_of(const struct ublksrv_ctrl_dev_info *info)
{
	switch (info->state) {
	case UBLK_S_DEV_DEAD:
		return UBLK_DEAD;
	case UBLK_S_DEV_LIVE:
		return UBLK_LIVE;
	default:
		return UBLK_WAITING;
	}
}

static void ask(struct io_uring *ring, int fd, struct ublk_device *device)
{
	struct ublksrv_ctrl_dev_info info = { 0 };

	device->err = command(ring, fd, &info, device->id);
	if (device->err < 0)
		return;
	device->err = 0;
	device->state = state_of(&info);
	device->server = info.ublksrv_pid;
	device->queues = info.nr_hw_queues;
	device->depth = info.queue_depth;
}

static void fail_all(struct ublk_device *devices, size_t count, int err)
{
	for (size_t i = 0; i < count; i++)
		devices[i].err = err;
}

static void ask_all(struct ublk_device *devices, size_t count)
{
	struct io_uring_params params = { .flags = IORING_SETUP_SQE128 };
	int fd = open(CONTROL_PATH, O_RDWR | O_CLOEXEC);
	struct io_uring ring;
	int err = fd < 0 ? -errno : io_uring_queue_init_params(4, &ring, &params);

	if (err) {
		fail_all(devices, count, err);
	} else {
		for (size_t i = 0; i < count; i++)
			ask(&ring, fd, &devices[i]);
		io_uring_queue_exit(&ring);
	}
	if (fd >= 0)
		close(fd);
}

int devices_find(struct ublk_device **devices, size_t *count, struct why *why)
{
	int err;

	*devices = NULL;
	*count = 0;
	err = find_all(devices, count);
	if (err) {
		free(*devices);
		*devices = NULL;
		*count = 0;
		return why_set(why, err, CLASS_FOLDER ": %s%s", strerror(-err),
			       err == -ENODEV ? "; is sysfs mounted on /sys?" : "");
	}
	if (*count)
		qsort(*devices, *count, sizeof(**devices), by_number);
	return 0;
}

int devices_list(struct ublk_device **devices, size_t *count, struct why *why)
{
	int err = devices_find(devices, count, why);

	if (err == -ENODEV)
		return 0;
	for (size_t i = 0; i < *count; i++) {
		struct ublk_device *device = &(*devices)[i];

		device->size_bytes = read_number(device->id, "size") << SECTOR_SHIFT;
		device->read_only = read_number(device->id, "ro") != 0;
	}
	if (*count)
		ask_all(*devices, *count);
	return err;
}

const struct ublk_device *devices_named(const struct ublk_device *devices, size_t count,
					const char *name)
{
	int32_t id;

	if (sscanf(name, "/dev/ublkb%" SCNd32, &id) != 1)
		return NULL;
	for (size_t i = 0; i < count; i++)
		if (devices[i].id == id)
			return &devices[i];
	return NULL;
}
