/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The life of a device, as seen by the thread that owns it. */
#include "device.h"
#include "ctrl.h"
#include "params.h"
#include "queue.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* udev may look at a new node for a moment, and an old server's end takes the kernel one. */
#define OPEN_SECONDS 10
#define NODE_SECONDS 10

/* After STOP is answered, the tags are already on their way back. */
#define DRAIN_MS 10000

/* How long a stop may go without a single request answered, before requests are given up. */
#define STOP_PATIENCE_S 600u
#define STOP_REPORT_S 10u

#define NAME_BYTES 32

struct device {
	struct device_options options;
	struct ctrl ctrl;
	bool ctrl_open;
	struct ublksrv_ctrl_dev_info info;
	bool added; /* to be deleted */
	bool silent; /* START was not answered: nor would STOP be */
	char name[NAME_BYTES]; /* /dev/ublkbN */
	struct disk disk;
	int *file; /* disk.file */
	unsigned lanes;
	struct queue *queue; /* lanes of them; the first info.nr_hw_queues have tags */
	cpu_set_t *cpus;
	size_t cpus_bytes;
};

/* --- prepare ------------------------------------------------------------------------------------ */

/* CPUs that the kernel has made room for: the highest number in a list like "0-3,8", plus 1. */
static unsigned possible_cpus(void)
{
	FILE *file = fopen("/sys/devices/system/cpu/possible", "re");
	unsigned cpu, most = 0;
	char separator;

	while (file && fscanf(file, "%u%c", &cpu, &separator) >= 1)
		most = cpu;
	if (file)
		fclose(file);
	return most + 1;
}

static int make_lanes(struct device *device)
{
	unsigned queues = (unsigned)min_u64(device->options.queues, possible_cpus());

	if (queues < device->options.queues)
		log_info("%u queues: one for each CPU", queues);
	device->queue = calloc(queues, sizeof(*device->queue));
	if (!device->queue)
		return -ENOMEM;
	for (; device->lanes < queues; device->lanes++) {
		struct queue *queue = &device->queue[device->lanes];
		int err = worker_prepare(&queue->worker, device->lanes);

		if (err)
			return err;
		queue->number = device->lanes;
	}
	return 0;
}

int device_prepare(struct device **out, const struct device_options *options, struct why *why)
{
	struct device *device = calloc(1, sizeof(*device));
	int err;

	if (!device)
		return why_set(why, -ENOMEM, "ublk: out of memory");
	device->options = *options;
	device->disk.fd = -1;
	device->disk.drained_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	err = device->disk.drained_fd < 0 ? -errno : make_lanes(device);
	if (err) {
		device_free(device);
		return why_set(why, err, "ublk: lanes of the queues: %s", strerror(-err));
	}
	*out = device;
	return 0;
}

unsigned device_lanes(const struct device *device)
{
	return device->lanes;
}

struct lane *device_lane(struct device *device, unsigned id)
{
	return &device->queue[id].worker.lane;
}

const char *device_name(const struct device *device)
{
	return device->name;
}

int device_drained_fd(const struct device *device)
{
	return device->disk.drained_fd;
}

void device_free(struct device *device)
{
	for (unsigned i = 0; i < device->lanes; i++)
		queue_free(&device->queue[i]);
	if (device->ctrl_open)
		ctrl_close(&device->ctrl);
	if (device->disk.drained_fd >= 0)
		close(device->disk.drained_fd);
	free(device->queue);
	free(device->file);
	free(device->cpus);
	free(device);
}

/* --- start --------------------------------------------------------------------------------------- */

/* Copy mode on an ordinary device needs nothing but this, which 6.12 and later always have. */
#define FEATURES_NEEDED UBLK_F_CMD_IOCTL_ENCODE

/* Each of these hands the bytes of requests around in another way than we do. */
#define FLAGS_FOREIGN \
	(UBLK_F_SUPPORT_ZERO_COPY | UBLK_F_NEED_GET_DATA | UBLK_F_USER_COPY | \
	 UBLK_F_AUTO_BUF_REG | UBLK_F_BATCH_IO | UBLK_F_UNPRIVILEGED_DEV)

static int add(struct device *device, struct why *why)
{
	const struct device_options *options = &device->options;
	struct ublksrv_ctrl_dev_info *info = &device->info;
	uint64_t features = 0;
	int err = ctrl_features(&device->ctrl, &features, why);

	if (err)
		return err;
	if ((features & FEATURES_NEEDED) != FEATURES_NEEDED)
		return why_set(why, -EOPNOTSUPP, "ublk: the kernel's driver is too old (features 0x%llx)",
			       (unsigned long long)features);
	*info = (struct ublksrv_ctrl_dev_info){
		.nr_hw_queues = (uint16_t)device->lanes,
		.queue_depth = (uint16_t)options->depth,
		.max_io_buf_bytes = options->max_io_bytes,
		.dev_id = options->id,
		.ublksrv_pid = -1,
	};
	err = ctrl_add(&device->ctrl, info, why);
	if (err)
		return err;
	device->added = true;
	snprintf(device->name, sizeof(device->name), "/dev/ublkb%d", info->dev_id);
	if (info->flags & FLAGS_FOREIGN || info->nr_hw_queues > device->lanes ||
	    info->queue_depth != options->depth || info->max_io_buf_bytes < PARAMS_MAX_IO_LEAST)
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
	params_fill(&params, &facts, device->disk.limits.max_io_bytes);
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
	int err = ctrl_open(&device->ctrl, why);

	if (err)
		return err;
	device->ctrl_open = true;
	err = add(device, why);
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

bool device_runs(const struct device *device)
{
	for (unsigned i = 0; i < device->lanes; i++)
		if (!device->queue[i].worker.running)
			return false;
	return true;
}

void device_on_each_thread(struct device *device, void (*run)(void *arg), void *arg)
{
	for (unsigned i = 0; i < device->lanes; i++)
		worker_call(&device->queue[i].worker, run, arg);
}

/* --- stop ----------------------------------------------------------------------------------------- */

static uint64_t total_served(struct device *device)
{
	uint64_t served = 0;

	for (unsigned i = 0; i < device->lanes; i++)
		served += atomic_load_explicit(&device->queue[i].served, memory_order_relaxed);
	return served;
}

static int wait_stopped(struct device *device, int ticket, void (*tick)(void *arg), void *arg,
			struct why *why)
{
	uint64_t served = total_served(device);
	unsigned quiet = 0;
	int err;

	for (unsigned seconds = 1;; seconds++) {
		err = ctrl_wait(&device->ctrl, ticket, 1000);
		if (err != -ETIME)
			break;
		tick(arg);
		if (seconds % STOP_REPORT_S == 0)
			log_info("%s: still writing back, %llu requests since the start", device->name,
				 (unsigned long long)total_served(device));
		quiet = served == total_served(device) ? quiet + 1 : 0;
		served = total_served(device);
		if (quiet == STOP_PATIENCE_S) {
			ctrl_abandon(&device->ctrl, ticket);
			return why_set(why, err, "%s: no request finished for %u s; giving up on them",
				       device->name, quiet);
		}
	}
	return err ? why_set(why, err, "%s: STOP_DEV: %s", device->name, strerror(-err)) : 0;
}

/* Queues that have not started have no tags to lose. */
static unsigned queues_with_tags(const struct device *device)
{
	unsigned n = 0;

	for (unsigned i = 0; i < device->info.nr_hw_queues; i++)
		n += device->queue[i].worker.running;
	return n;
}

static int wait_drained(struct device *device, struct why *why)
{
	struct pollfd poll_fd = { .fd = device->disk.drained_fd, .events = POLLIN };
	uint64_t drained = 0, n;

	while (drained < queues_with_tags(device)) {
		if (poll(&poll_fd, 1, DRAIN_MS) == 0)
			return why_set(why, -ETIME, "%s: the kernel keeps requests after STOP_DEV",
				       device->name);
		if (read(poll_fd.fd, &n, sizeof(n)) == sizeof(n))
			drained += n;
	}
	return 0;
}

int device_stop(struct device *device, void (*tick)(void *arg), void *arg, struct why *why)
{
	int ticket, err;

	if (!device->added)
		return 0;
	if (device->silent)
		return why_set(why, -ETIME, "%s: requests are unanswered", device->name);
	ticket = ctrl_stop_begin(&device->ctrl, device->info.dev_id, why);
	if (ticket < 0)
		return ticket;
	err = wait_stopped(device, ticket, tick, arg, why);
	return err ? err : wait_drained(device, why);
}

int device_delete(struct device *device, struct why *why)
{
	int err;

	for (unsigned i = 0; i < device->lanes; i++)
		queue_stop(&device->queue[i]);
	if (device->disk.fd >= 0)
		close(device->disk.fd);
	device->disk.fd = -1;
	if (!device->added)
		return 0;
	device->added = false;
	err = ctrl_delete(&device->ctrl, device->info.dev_id, why);
	if (err == -ETIME) {
		log_info("%s: still open somewhere; it goes when it is closed", device->name);
		return 0;
	}
	return err;
}
