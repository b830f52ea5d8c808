/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The start of a device, in the only order that works on all kernels: add, set parameters, open
 * the other end, fetch every tag, start, and see the node appear.
 */
#include "affinity.h"
#include "params.h"
#include "state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* udev may look at a new node for a moment, and an old server's end takes the kernel one. */
#define OPEN_SECONDS 10
#define NODE_SECONDS 10

/* An ordinary device needs nothing but this, which 6.12 and later always have. */
#define FEATURES_NEEDED UBLK_F_CMD_IOCTL_ENCODE

/* Each of these hands requests or their bytes around in another way; as asked for, or not at all. */
#define FLAGS_OF_MODE \
	(UBLK_F_SUPPORT_ZERO_COPY | UBLK_F_NEED_GET_DATA | UBLK_F_USER_COPY | \
	 UBLK_F_AUTO_BUF_REG | UBLK_F_BATCH_IO | UBLK_F_UNPRIVILEGED_DEV)

static int add(struct device *device, const struct image_info *facts, struct why *why)
{
	const struct device_options *options = &device->options;
	struct ublksrv_ctrl_dev_info *info = &device->info;
	uint64_t features = 0, flags;
	int err = ctrl_features(&device->ctrl, &features, why);

	if (err)
		return err;
	if ((features & FEATURES_NEEDED) != FEATURES_NEEDED)
		return why_set(why, -EOPNOTSUPP,
			       "ublk: the kernel's driver is too old (features 0x%llx)",
			       (unsigned long long)features);
	flags = buffers_flags(features, facts->encrypted);
	*info = (struct ublksrv_ctrl_dev_info){
		.nr_hw_queues = (uint16_t)device->lanes,
		.queue_depth = (uint16_t)options->depth,
		.max_io_buf_bytes = options->max_io_bytes,
		.dev_id = options->id,
		.flags = flags,
		.ublksrv_pid = -1,
	};
	err = ctrl_add(&device->ctrl, info, why);
	if (err)
		return err;
	device->added = true;
	snprintf(device->name, sizeof(device->name), "/dev/ublkb%d", info->dev_id);
	if ((info->flags & FLAGS_OF_MODE) != flags || info->nr_hw_queues > device->lanes ||
	    info->queue_depth != options->depth || info->max_io_buf_bytes < DEVICE_MAX_IO_LEAST)
		return why_set(why, -EPROTO, "%s: the driver made another device than asked for",
			       device->name);
	return 0;
}

static void fill_disk(struct device *device, struct image *image, const struct image_info *facts)
{
	struct disk *disk = &device->disk;

	disk->image = image;
	disk->name = device->name;
	disk->depth = device->info.queue_depth;
	disk->data_mode = buffers_mode(device->info.flags);
	disk->limits = (struct request_limits){
		.sectors = facts->size_bytes >> SECTOR_SHIFT,
		.max_io_bytes = device->info.max_io_buf_bytes,
		.read_only = facts->read_only,
	};
}

static int set_params(struct device *device, struct image *image, struct why *why)
{
	struct image_info facts = image_info(image);
	struct ublk_params params;

	fill_disk(device, image, &facts);
	params_fill(&params, &facts, device->disk.limits.max_io_bytes, device->disk.data_mode);
	return ctrl_set_params(&device->ctrl, device->info.dev_id, &params, why);
}

static void sleep_ms(long ms)
{
	nanosleep(&(struct timespec){ .tv_nsec = ms * 1000000 }, NULL);
}

static bool may_pass(int err)
{
	return err == EBUSY || err == ENOENT || err == EINTR;
}

static int open_node(struct device *device, const int *file, unsigned files, struct why *why)
{
	struct disk *disk = &device->disk;
	char path[NAME_BYTES];

	snprintf(path, sizeof(path), "/dev/ublkc%d", device->info.dev_id);
	for (int tries = 0; disk->fd < 0 && tries < OPEN_SECONDS * 100; tries++) {
		if (tries > 0)
			sleep_ms(10);
		disk->fd = open(path, O_RDWR | O_CLOEXEC);
		if (disk->fd < 0 && !may_pass(errno))
			break;
	}
	if (disk->fd < 0 && errno == ENOENT)
		return why_set(why, -ENOENT, "%s: not there; is /dev a devtmpfs?", path);
	if (disk->fd < 0)
		return why_set(why, -errno, "%s: %m", path);

	device->file = calloc(files + 1, sizeof(*file));
	if (!device->file)
		return why_set(why, -ENOMEM, "%s: out of memory", path);
	memcpy(device->file, file, files * sizeof(*file));
	device->file[files] = disk->fd;
	disk->file = device->file;
	disk->files = files + 1;
	return 0;
}

static int start_queues(struct device *device, struct why *why)
{
	device->cpus_bytes = max_u64(round_up(possible_cpus(), 64) / 8, sizeof(cpu_set_t));
	device->cpus = calloc(1, device->cpus_bytes);
	if (!device->cpus)
		return why_set(why, -ENOMEM, "%s: out of memory", device->name);
	for (unsigned i = 0; i < device->lanes; i++) {
		struct queue *queue = &device->queue[i];
		int err;

		if (i >= device->info.nr_hw_queues) {
			err = queue_start_idle(queue, &device->disk, why);
		} else {
			err = ctrl_affinity(&device->ctrl, device->info.dev_id, i, device->cpus,
					    device->cpus_bytes, why);
			affinity_widen(device->cpus, device->cpus_bytes);
			if (!err)
				err = queue_start(queue, &device->disk, device->cpus,
						  device->cpus_bytes, why);
		}
		if (err)
			return err;
	}
	return 0;
}

static int wait_for_node(const struct device *device, struct why *why)
{
	for (int tries = 0; tries < NODE_SECONDS * 100; tries++) {
		struct stat st;

		if (stat(device->name, &st) == 0 && S_ISBLK(st.st_mode))
			return 0;
		sleep_ms(10);
	}
	return why_set(why, -ENOENT, "%s: not there after the start; is /dev a devtmpfs?",
		       device->name);
}

int device_start(struct device *device, struct image *image, const int *file, unsigned files,
		 struct why *why)
{
	struct image_info facts = image_info(image);
	int err = add(device, &facts, why);

	if (!err)
		err = set_params(device, image, why);
	if (!err)
		err = open_node(device, file, files, why);
	if (!err)
		err = start_queues(device, why);
	if (!err) {
		err = ctrl_start(&device->ctrl, device->info.dev_id, why);
		device->silent = err == -ETIME;
	}
	if (!err)
		err = wait_for_node(device, why);
	return err;
}
