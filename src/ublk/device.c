/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The life of a device, as seen by the thread that owns it. */
#include "device.h"
#include "affinity.h"
#include "state.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* After STOP is answered, the tags are already on their way back. */
#define DRAIN_MS 10000

/* How long a stop may go without a single request answered, before requests are given up. */
#define STOP_PATIENCE_S 600u
#define STOP_REPORT_S 10u

/* --- prepare ------------------------------------------------------------------------------------ */

static int make_lanes(struct device *device)
{
	unsigned queues = (unsigned)min_u64(device->options.queues, possible_cpus());

	if (queues < device->options.queues)
		log_info("%u queues: one for each CPU", queues);
	device->queue = aligned_alloc(QUEUE_ALIGN, queues * sizeof(*device->queue));
	if (!device->queue)
		return -ENOMEM;
	memset(device->queue, 0, queues * sizeof(*device->queue));
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
	*out = device;
	device->options = *options;
	device->ctrl.fd = -1;
	device->disk.fd = -1;
	device->disk.drained_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (device->disk.drained_fd < 0)
		return why_set(why, -errno, "eventfd: %m");
	err = ctrl_spawn(&device->ctrl, options->confine, why);
	if (err)
		return err;
	err = make_lanes(device);
	return err ? why_set(why, err, "ublk: lanes of the queues: %s", strerror(-err)) : 0;
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

int device_ready(struct device *device, struct why *why)
{
	return ctrl_ready(&device->ctrl, why);
}

bool device_lost_control(struct device *device)
{
	return ctrl_lost(&device->ctrl);
}

int device_drained_fd(const struct device *device)
{
	return device->disk.drained_fd;
}

void device_free(struct device *device)
{
	for (unsigned i = 0; i < device->lanes; i++)
		queue_free(&device->queue[i]);
	ctrl_close(&device->ctrl);
	if (device->disk.drained_fd >= 0)
		close(device->disk.drained_fd);
	free(device->queue);
	free(device->file);
	free(device->cpus);
	free(device);
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

struct device_facts device_facts(struct device *device)
{
	return (struct device_facts){
		.queues = device->info.nr_hw_queues,
		.depth = device->info.queue_depth,
		.zero_copy = device->disk.data_mode == DATA_ZERO_COPY,
		.requests = total_served(device),
	};
}

static int wait_stopped(struct device *device, void (*tick)(void *arg), void *arg, struct why *why)
{
	uint64_t served = total_served(device);
	unsigned quiet = 0;
	int err;

	for (unsigned seconds = 1;; seconds++) {
		err = ctrl_stop_wait(&device->ctrl, 1000);
		if (err != -ETIME)
			break;
		tick(arg);
		if (seconds % STOP_REPORT_S == 0)
			log_info("%s: still writing back, %llu requests since the start",
				 device->name, (unsigned long long)total_served(device));
		quiet = served == total_served(device) ? quiet + 1 : 0;
		served = total_served(device);
		if (quiet == STOP_PATIENCE_S)
			return why_set(why, err,
				       "%s: no request finished for %u s; giving up on them",
				       device->name, quiet);
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
	int err;

	if (!device->added)
		return 0;
	if (device->silent)
		return why_set(why, -ETIME, "%s: requests are unanswered", device->name);
	err = ctrl_stop_begin(&device->ctrl, device->info.dev_id, why);
	if (!err)
		err = wait_stopped(device, tick, arg, why);
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
	return err == -ENODEV ? 0 : err; /* somebody else was faster */
}
