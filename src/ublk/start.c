/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The start of a device, in the only order that works on all kernels: add, set parameters, open
 * the other end, fetch every tag, start, and see the node appear.  What a dead server has left is
 * there already, and goes on instead of being started.
 */
#include "affinity.h"
#include "chardev.h"
#include "first_start.h"
#include "messages.h"
#include "params.h"
#include "state.h"
#include "tune.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define NODE_SECONDS 10
#define TUNE_MS 30000
#define PARTITIONS_MS 10000

/* An ordinary device needs nothing but this, which 6.12 and later always have. */
#define FEATURES_NEEDED UBLK_F_CMD_IOCTL_ENCODE

/* Each of these hands requests or their bytes around in another way; as asked for, or not at all. */
#define FLAGS_OF_MODE \
	(UBLK_F_SUPPORT_ZERO_COPY | UBLK_F_NEED_GET_DATA | UBLK_F_USER_COPY | \
	 UBLK_F_AUTO_BUF_REG | UBLK_F_BATCH_IO | UBLK_F_UNPRIVILEGED_DEV | RECOVERY_FLAGS)

/*
 * What a dead server has not answered is given to the next one, even if it was done already: a
 * write may be done twice, with nothing between.
 */
#define RECOVERY_FLAGS (UBLK_F_USER_RECOVERY | UBLK_F_USER_RECOVERY_REISSUE)

/* --- a new device ---------------------------------------------------------------------------------- */

static uint64_t wanted_flags(const struct device *device, struct image *image)
{
	return buffers_flags(device->features, image_info(image).encrypted) |
	       (device->features & UBLK_F_UPDATE_SIZE) |
	       (device->options.recoverable ? RECOVERY_FLAGS : 0);
}

static int add(struct device *device, struct image *image, struct why *why)
{
	const struct device_options *options = &device->options;
	struct ublksrv_ctrl_dev_info *info = &device->info;
	uint64_t flags = wanted_flags(device, image);
	unsigned depth = device_depth(device);
	int err;

	if ((device->features & FEATURES_NEEDED) != FEATURES_NEEDED)
		return why_set(why, -EOPNOTSUPP,
			       "ublk: the kernel's driver is too old (features 0x%llx)",
			       (unsigned long long)device->features);
	*info = (struct ublksrv_ctrl_dev_info){
		.nr_hw_queues = (uint16_t)device->lanes,
		.queue_depth = (uint16_t)depth,
		.max_io_buf_bytes = options->max_io_bytes,
		.dev_id = options->id,
		.flags = flags,
		.ublksrv_flags = device->mark,
		.ublksrv_pid = -1,
	};
	err = ctrl_add(&device->ctrl, info, why);
	if (err)
		return err;
	device->added = true;
	device_set_name(device);
	if ((info->flags & FLAGS_OF_MODE) != (flags & FLAGS_OF_MODE) ||
	    info->nr_hw_queues > device->lanes || info->queue_depth != depth ||
	    info->max_io_buf_bytes < DEVICE_MAX_IO_LEAST)
		return why_set(why, -EPROTO, "%s: the driver made another device than asked for",
			       device->name);
	return options->host.added(options->host.arg, info->dev_id, why);
}

static void fill_disk(struct device *device, struct image *image)
{
	struct image_info facts = image_info(image);
	struct disk *disk = &device->disk;

	disk->image = image;
	disk->name = device->name;
	disk->depth = device->info.queue_depth;
	disk->data_mode = buffers_mode(device->info.flags);
	disk->limits = (struct request_limits){
		.sectors = facts.size_bytes >> SECTOR_SHIFT,
		.sectors_most = facts.size_bytes >> SECTOR_SHIFT,
		.max_io_bytes = device->info.max_io_buf_bytes,
		.read_only = facts.read_only,
	};
}

static int set_params(struct device *device, struct why *why)
{
	struct image_info facts = image_info(device->disk.image);
	struct ublk_params params;

	params_fill(&params, &facts, device->disk.limits.max_io_bytes, device->disk.data_mode);
	return ctrl_set_params(&device->ctrl, device->info.dev_id, &params, why);
}

/*
 * A driver that scans partitions during START_DEV is not to wait for this process, which may be
 * killed.  From the start on the device is one to be taken over, whoever dies.
 */
static int start_by_helper(struct device *device, struct why *why)
{
	struct why ignored;
	int err = ctrl_own(&device->ctrl, -1, why);

	if (err)
		return err;
	err = first_start(device, why);
	device->silent = err == -ETIME;
	if (!err)
		err = device_take(device, why);
	if (err)
		ctrl_own(&device->ctrl, device->info.dev_id, &ignored);
	return err;
}

/* --- a dead server's ------------------------------------------------------------------------------- */

/* A server that was killed while it resized both has left the image larger than the device. */
static int check_size(struct device *device, uint64_t device_sectors, struct why *why)
{
	uint64_t sectors = image_info(device->disk.image).size_bytes >> SECTOR_SHIFT;

	device->smaller = device_sectors < sectors && !device_can_resize(device, why);
	if (device_sectors == sectors || device->smaller)
		return 0;
	return why_set(why, -EINVAL,
		       "%s: has %llu sectors and the image has %llu by now; give the image its old "
		       "size, or remove the device with qcow2-ublkd stop %s",
		       device->name, (unsigned long long)device_sectors,
		       (unsigned long long)sectors, device->name);
}

/* The same device, for an image that has changed? */
static int check_params(struct device *device, struct why *why)
{
	struct image_info facts = image_info(device->disk.image);
	struct ublk_params params;
	int err = ctrl_params(&device->ctrl, device->info.dev_id, &params, why);

	if (!err)
		err = check_size(device, params.basic.dev_sectors, why);
	if (err)
		return err;
	if (!(params.basic.attrs & UBLK_ATTR_READ_ONLY) != !facts.read_only)
		return why_set(why, -EINVAL, "%s: the device is %s and the image is not",
			       device->name, facts.read_only ? "writable" : "read-only");
	if (facts.encrypted && device->disk.data_mode != DATA_COPY)
		return why_set(why, -EINVAL,
			       "%s: was made for an image that was not encrypted; remove it with "
			       "qcow2-ublkd stop %s",
			       device->name, device->name);
	return 0;
}

static void tell_differences(const struct device *device)
{
	const struct device_options *options = &device->options;
	const struct ublksrv_ctrl_dev_info *info = &device->info;
	struct device_facts facts = device_facts(device);

	log_event(MESSAGE_TAKEN_OVER, "%s: taken over from the process that served it before",
		  device->name);
	if (options->id >= 0 && options->id != info->dev_id)
		log_info("%s: keeps its number, instead of %d", device->name, options->id);
	if (options->queues != facts.queues || options->depth != facts.depth ||
	    options->max_io_bytes != info->max_io_buf_bytes)
		log_info("%s: keeps its %u queues of %u requests of up to %u KiB", device->name,
			 facts.queues, facts.depth, info->max_io_buf_bytes / 1024);
	if (!options->recoverable)
		log_info("%s: stays one that outlives its server", device->name);
}

/* --- both ------------------------------------------------------------------------------------------ */

static int open_node(struct device *device, const int *file, unsigned files, struct why *why)
{
	const struct device_host *host = &device->options.host;
	struct disk *disk = &device->disk;
	int fd = chardev_open(device->info.dev_id, why);

	if (fd < 0)
		return fd;
	disk->fd = fd;
	device->file = calloc(files + 1, sizeof(*file));
	if (!device->file)
		return why_set(why, -ENOMEM, "%s: out of memory", device->name);
	memcpy(device->file, file, files * sizeof(*file));
	device->file[files] = disk->fd;
	disk->file = device->file;
	disk->files = files + 1;
	return host->opened(host->arg, fd, why);
}

/* @cpus: memory for those of the queue. */
static int launch_queue(struct device *device, unsigned number, void *cpus, size_t cpus_bytes,
			struct why *why)
{
	struct queue *queue = &device->queue[number];
	int err;

	if (number >= device->info.nr_hw_queues)
		return queue_launch_idle(queue, &device->disk, why);
	err = ctrl_affinity(&device->ctrl, device->info.dev_id, number, cpus, cpus_bytes, why);
	return err ? err : queue_launch(queue, &device->disk, cpus, cpus_bytes, why);
}

/* Each is as good as started before the next one is waited for. */
static int run_queues(struct device *device, struct why *why)
{
	size_t bytes = max_u64(round_up(possible_cpus(), 64) / 8, sizeof(cpu_set_t));
	uint8_t *cpus = calloc(device->lanes, bytes);
	unsigned launched = 0;
	struct why other;
	int err = 0;

	if (!cpus)
		return why_set(why, -ENOMEM, "%s: out of memory", device->name);
	while (launched < device->lanes && !err) {
		err = launch_queue(device, launched, cpus + launched * bytes, bytes, why);
		launched += !err;
	}
	for (unsigned i = 0; i < launched; i++) {
		int failed = queue_await(&device->queue[i], err ? &other : why);

		if (!err)
			err = failed;
	}
	free(cpus);
	return err;
}

/* All queues are ready before the first is fetched: a kill between two of them is unlikely. */
static int fetch_queues(struct device *device, struct why *why)
{
	unsigned queues = device->info.nr_hw_queues;
	struct why other;
	int err = 0;

	for (unsigned i = 0; i < queues; i++)
		queue_fetch_begin(&device->queue[i]);
	for (unsigned i = 0; i < queues; i++) {
		int failed = queue_fetch_end(&device->queue[i], err ? &other : why);

		if (!err)
			err = failed;
	}
	return err;
}

static int start_queues(struct device *device, struct why *why)
{
	int err = run_queues(device, why);

	return err ? err : fetch_queues(device, why);
}

static bool node_is_there(const struct device *device)
{
	struct stat st;

	return stat(device->name, &st) == 0 && S_ISBLK(st.st_mode);
}

/* What was taken over has users, who need no name. */
static int wait_for_node(const struct device *device, struct why *why)
{
	if (device->found && !node_is_there(device))
		log_warn("%s: not there any more; is /dev a devtmpfs?  Who uses it is served",
			 device->name);
	if (device->found)
		return 0;
	for (int tries = 0; tries < NODE_SECONDS * 100; tries++) {
		if (node_is_there(device))
			return 0;
		sleep_ms(10);
	}
	return why_set(why, -ENOENT, "%s: not there after the start; is /dev a devtmpfs?",
		       device->name);
}

/* The device without which nothing can be lost any more: a kill leaves it to the next server. */
static int let_go(struct device *device, struct why *why)
{
	struct help_job job = { .help = HELP_TUNE, .info = device->info };
	int err;

	if (!device_is_recoverable(device))
		return 0;
	err = ctrl_own(&device->ctrl, -1, why);
	if (err || !device_is_old(device))
		return err;
	/* Without it, the next server may have to wait for 30 seconds, and that is all. */
	err = helper_run(&device->helper, &job, TUNE_MS, why);
	if (err)
		log_warn("%s: %s: %s", device->name, why->text, strerror(-err));
	return 0;
}

/* What a dead server had begun; it is served all the same if not. */
static void follow_image(struct device *device)
{
	uint64_t bytes = image_info(device->disk.image).size_bytes;
	struct why why;

	if (device_resize(device, bytes, &why))
		log_warn("%s: smaller than its image: %s", device->name, why.text);
	else
		log_info("%s: resized to %llu bytes, as its image was", device->name,
			 (unsigned long long)bytes);
}

static void get_partitions(struct device *device, enum help help)
{
	struct help_job job = { .help = help, .info = device->info };
	struct why why;
	int err = helper_run(&device->helper, &job, PARTITIONS_MS, &why);

	if (err)
		log_warn("%s: %s: %s; it may have none yet", device->name, why.text,
			 strerror(-err));
}

/* Who is told that the device is there looks for its partitions too. */
static void wait_for_partitions(struct device *device)
{
	if (!device->found && !device_scans_in_start(device))
		get_partitions(device, HELP_PARTITIONS);
}

void device_find_partitions(struct device *device)
{
	if (device->found && device_scans_in_start(device))
		get_partitions(device, HELP_FIND_PARTITIONS);
}

int device_start(struct device *device, struct image *image, const int *file, unsigned files,
		 struct why *why)
{
	bool by_helper = !device->found && device->options.recoverable &&
			 device_scans_in_start(device);
	int err = device->found ? 0 : add(device, image, why);

	if (!err) {
		fill_disk(device, image);
		err = device->found ? check_params(device, why) : set_params(device, why);
	}
	if (!err && by_helper)
		err = start_by_helper(device, why);
	if (!err)
		err = open_node(device, file, files, why);
	if (!err)
		err = start_queues(device, why);
	if (err)
		return err;
	if (device->found || by_helper)
		err = ctrl_resume(&device->ctrl, device->info.dev_id, why);
	else
		err = ctrl_start(&device->ctrl, device->info.dev_id, why);
	device->silent = err == -ETIME || (device->found && err == -EPIPE);
	if (err)
		return err;
	device->added = true;
	if (device->found)
		tell_differences(device);
	if (device->smaller)
		follow_image(device);
	err = let_go(device, why);
	if (!err)
		err = wait_for_node(device, why);
	if (!err)
		wait_for_partitions(device);
	return err;
}
