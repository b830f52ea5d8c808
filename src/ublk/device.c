/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The life of a device, as seen by the thread that owns it. */
#include "device.h"
#include "affinity.h"
#include "state.h"
#include "tune.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

/* After STOP is answered, the tags are already on their way back. */
#define DRAIN_MS 10000

/* How long a stop may go without a single request answered, before requests are given up. */
#define STOP_PATIENCE_S 600u
#define STOP_REPORT_S 10u

#define GIVE_UP_MS 5000

/* --- prepare ------------------------------------------------------------------------------------ */

int device_prepare(struct device **out, const struct device_options *options, struct why *why)
{
	struct device *device = calloc(1, sizeof(*device));
	int err;

	if (!device)
		return why_set(why, -ENOMEM, "ublk: out of memory");
	*out = device;
	device->options = *options;
	device->ctrl.fd = -1;
	device->helper.fd = -1;
	device->hold_fd = -1;
	device->disk.fd = -1;
	device->disk.drained_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (device->disk.drained_fd < 0)
		return why_set(why, -errno, "eventfd: %m");
	err = helper_spawn(&device->helper, options->confine_helper, why);
	return err ? err : ctrl_spawn(&device->ctrl, options->confine, why);
}

int device_ready(struct device *device, struct why *why)
{
	int err = ctrl_ready(&device->ctrl, why);

	return err ? err : ctrl_features(&device->ctrl, &device->features, why);
}

static unsigned spare_tags(const struct device *device)
{
	bool recoverable = device->info.flags ? device_is_recoverable(device) :
						device->options.recoverable;

	return device_is_old(device) && recoverable ? TUNE_SPARE_TAGS : 0;
}

/* --- lanes --------------------------------------------------------------------------------------- */

static unsigned wanted_queues(const struct device *device)
{
	unsigned cpus = possible_cpus();

	if (device->found)
		return device->info.nr_hw_queues;
	if (cpus >= device->options.queues)
		return device->options.queues;
	log_info("%u queues: one for each CPU", cpus);
	return cpus;
}

int device_make_lanes(struct device *device, struct why *why)
{
	unsigned queues = wanted_queues(device);

	device->queue = aligned_alloc(QUEUE_ALIGN, queues * sizeof(*device->queue));
	if (!device->queue)
		return why_set(why, -ENOMEM, "ublk: out of memory");
	memset(device->queue, 0, queues * sizeof(*device->queue));
	for (; device->lanes < queues; device->lanes++) {
		struct queue *queue = &device->queue[device->lanes];
		int err = worker_prepare(&queue->worker, device->lanes);

		if (err)
			return why_set(why, err, "ublk: lanes of the queues: %s", strerror(-err));
		queue->number = device->lanes;
	}
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

unsigned device_depth(const struct device *device)
{
	if (device->found)
		return device->info.queue_depth;
	return (unsigned)min_u64(device->options.depth + spare_tags(device), UBLK_MAX_QUEUE_DEPTH);
}

const char *device_name(const struct device *device)
{
	return device->name;
}

bool device_lost_control(struct device *device)
{
	return ctrl_lost(&device->ctrl);
}

bool device_lost_helper(struct device *device)
{
	return helper_lost(&device->helper);
}

int device_drained_fd(const struct device *device)
{
	return device->disk.drained_fd;
}

void device_free(struct device *device)
{
	for (unsigned i = 0; i < device->lanes; i++)
		queue_free(&device->queue[i]);
	device_hold_end(device);
	helper_close(&device->helper);
	ctrl_close(&device->ctrl);
	if (device->disk.drained_fd >= 0)
		close(device->disk.drained_fd);
	free(device->queue);
	free(device->file);
	free(device);
}

bool device_runs(const struct device *device)
{
	for (unsigned i = 0; i < device->lanes; i++)
		if (!device->queue[i].worker.running)
			return false;
	return device->lanes > 0;
}

int device_run_idle(struct device *device, const int *file, unsigned files, struct why *why)
{
	struct disk disk = device->disk;

	disk.file = file;
	disk.files = files;
	for (unsigned i = 0; i < device->lanes; i++) {
		struct queue *queue = &device->queue[i];
		int err = queue->worker.running ? 0 : queue_launch_idle(queue, &disk, why);

		if (!err && !queue->worker.running)
			err = queue_await(queue, why);
		queue->disk = &device->disk;
		if (err)
			return err;
	}
	return 0;
}

bool device_is_left(const struct device *device)
{
	return device->found;
}

bool device_is_taken_over(const struct device *device)
{
	return device->found && (device->added || device->silent);
}

void device_on_each_thread(struct device *device, void (*run)(void *arg), void *arg)
{
	for (unsigned i = 0; i < device->lanes; i++) {
		struct queue *queue = &device->queue[i];

		worker_call_begin(&queue->worker, &queue->errand, run, arg);
	}
	for (unsigned i = 0; i < device->lanes; i++)
		worker_call_end(&device->queue[i].errand);
}

void device_ask_pulse(struct device *device)
{
	for (unsigned i = 0; i < device->lanes; i++)
		worker_ask_pulse(&device->queue[i].worker);
}

int device_still_queue(const struct device *device)
{
	for (unsigned i = 0; i < device->lanes; i++)
		if (!worker_has_pulse(&device->queue[i].worker))
			return (int)i;
	return -1;
}

void device_post(struct device *device, unsigned id, struct worker_call *call)
{
	worker_post(&device->queue[id].worker, call);
}

void device_look(struct device *device, unsigned id, struct live_list *look)
{
	queue_look(&device->queue[id], look);
}

/* --- hold ----------------------------------------------------------------------------------------- */

int device_hold(struct device *device, bool force, struct why *why)
{
	struct help_job job = { .help = HELP_HOLD, .info = device->info, .force = force };

	/* It may be writing back, with the device open: another one would find it in use. */
	if (device->hold_fd >= 0 && (device->hold_unheard || device->hold_writes) &&
	    (device->hold_by_force || !force))
		return 0;
	device_hold_end(device);
	device->hold_unheard = true;
	device->hold_by_force = force;
	return helper_begin(&device->helper, &job, &device->hold_fd, why);
}

int device_hold_fd(const struct device *device)
{
	return device->hold_fd;
}

enum hold_answer device_hold_answer(struct device *device, struct why *text)
{
	struct help_answer answer;

	device->hold_unheard = device->hold_writes = false;
	if (recv(device->hold_fd, &answer, sizeof(answer), 0) != sizeof(answer)) {
		why_set(text, 0, "the process that was to look has ended");
		return HOLD_FAILED;
	}
	why_set(text, 0, "%s", answer.text);
	device->hold_writes = answer.res == HOLD_WRITES;
	return (enum hold_answer)answer.res;
}

bool device_hold_writes(const struct device *device)
{
	return device->hold_writes;
}

void device_hold_end(struct device *device)
{
	if (device->hold_fd >= 0)
		close(device->hold_fd);
	device->hold_fd = -1;
	device->hold_writes = false;
}

/* --- stop ----------------------------------------------------------------------------------------- */

void device_traffic(const struct device *device, unsigned queue, struct device_traffic *sum)
{
	const struct queue_counters *counters = &device->queue[queue].counters;

	for (unsigned op = 0; op < REQ_OPS; op++) {
		sum->requests[op] += stats_get(&counters->requests[op]);
		sum->bytes[op] += stats_get(&counters->bytes[op]);
	}
	sum->failed += stats_get(&counters->failed);
}

static uint64_t total_served(const struct device *device)
{
	struct device_traffic traffic = { 0 };
	uint64_t served = 0;

	for (unsigned i = 0; i < device->lanes; i++)
		device_traffic(device, i, &traffic);
	for (unsigned op = 0; op < REQ_OPS; op++)
		served += traffic.requests[op];
	return served;
}

struct device_facts device_facts(const struct device *device)
{
	return (struct device_facts){
		.queues = device->info.nr_hw_queues,
		.depth = device->info.queue_depth - spare_tags(device),
		.zero_copy = device->disk.data_mode == DATA_ZERO_COPY,
		.recoverable = device_is_recoverable(device),
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

/* Queues that have not come so far have no tags to lose. */
static unsigned queues_with_tags(const struct device *device)
{
	unsigned n = 0;

	for (unsigned i = 0; i < device->info.nr_hw_queues; i++)
		n += device->queue[i].worker.running && device->queue[i].fetched;
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

	if (device->silent)
		return why_set(why, -ETIME, "%s: requests are unanswered", device->name);
	if (!device->added)
		return 0;
	err = ctrl_own(&device->ctrl, device->info.dev_id, why);
	if (!err)
		err = ctrl_stop_begin(&device->ctrl, device->info.dev_id, why);
	if (!err)
		err = wait_stopped(device, tick, arg, why);
	return err ? err : wait_drained(device, why);
}

void device_give_up(struct device *device)
{
	struct why why;
	int err;

	if (!device->added)
		return;
	err = ctrl_own(&device->ctrl, device->info.dev_id, &why);
	if (err) {
		/* It is left as after a kill, and the next process answers what is under way. */
		log_error("%s", why.text);
		return;
	}
	for (unsigned i = 0; i < device->info.nr_hw_queues; i++)
		queue_abort(&device->queue[i]);
	if (!ctrl_stop_begin(&device->ctrl, device->info.dev_id, &why) &&
	    ctrl_stop_wait(&device->ctrl, GIVE_UP_MS))
		log_warn("%s: requests to it go on hanging until the storage answers",
			 device->name);
}

int device_delete(struct device *device, struct why *why)
{
	int err;

	for (unsigned i = 0; i < device->lanes; i++)
		queue_stop(&device->queue[i]);
	if (device->disk.fd >= 0)
		close(device->disk.fd);
	device->disk.fd = -1;
	device_hold_end(device);
	if (!device->added)
		return 0;
	device->added = false;
	device->found = false;
	err = device_delete_stopped(device, why);
	if (err == -ETIME) {
		ctrl_say_undeleted(device->info.dev_id);
		return 0;
	}
	return err == -ENODEV ? 0 : err; /* somebody else was faster */
}
