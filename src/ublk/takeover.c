/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A dead server's device: find it, and wait until the kernel has ended and forgotten that server.
 *
 * START_USER_RECOVERY is refused as long as anything refers to the dead server's /dev/ublkcN.  Its
 * rings do, and a ring lives as long as an I/O that it was given: so no write of the dead server
 * can reach the image when this has succeeded (kernel docs: ublk, "user recovery").
 */
#include "bind.h"
#include "chardev.h"
#include "devices.h"
#include "state.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* The end of a process is mostly a matter of milliseconds; else there is no hurry. */
#define HURRY_MS 500
#define HURRIED_LOOK_MS 1
#define LOOK_MS 20
#define FIRST_REPORT_MS 2000
#define REPORT_MS 10000

/* A living server is given this long to turn out to be a dying one. */
#define LIVING_MS 3000

/* The kernel needs up to 30 seconds for a server that nothing refers to, and no longer. */
#define UNOWNED_MS 60000

#define BIND_MS 10000
#define STOP_MS 10000

/* How long the end of a dead server's device may be held by others: udev looks at it for a moment. */
#define OPEN_MS 10000

/* See await_worker(). */
#define SETTLE_MS 100

struct patience {
	int64_t begin_ms;
	int64_t next_report_ms; /* after the beginning */
};

static struct patience begin_to_wait(void)
{
	return (struct patience){ .begin_ms = monotonic_ms(), .next_report_ms = FIRST_REPORT_MS };
}

static int64_t waited_ms(const struct patience *patience)
{
	return monotonic_ms() - patience->begin_ms;
}

/* Is it time to say again what we are waiting for? */
static bool is_time_to_report(struct patience *patience)
{
	if (waited_ms(patience) < patience->next_report_ms)
		return false;
	patience->next_report_ms = waited_ms(patience) + REPORT_MS;
	return true;
}

static void report_storage(const struct device *device, struct patience *patience)
{
	if (is_time_to_report(patience))
		log_info("%s: waiting for the storage below the image to finish what the killed "
			 "process had under way",
			 device->name);
}

static int wait_a_little(const struct device *device, const struct patience *patience,
			 struct why *why)
{
	const struct device_host *host = &device->options.host;

	sleep_ms(waited_ms(patience) < HURRY_MS ? HURRIED_LOOK_MS : LOOK_MS);
	if (!host->cancelled(host->arg))
		return 0;
	return why_set(why, -EINTR, "%s: told to stop while waiting for it; it is left as it was",
		       device->name);
}

/* --- find ------------------------------------------------------------------------------------------ */

/* What there is by the device's number; -ENODEV: nothing, or nothing with our mark. */
static int ask(struct device *device, struct ublksrv_ctrl_dev_info *info, struct why *why)
{
	int err;

	*info = (struct ublksrv_ctrl_dev_info){ .dev_id = device->info.dev_id };
	err = ctrl_info(&device->ctrl, info, why);
	if (!err && info->ublksrv_flags != device->mark)
		return why_set(why, -ENODEV, "%s: is another device by now", device->name);
	return err;
}

int device_delete_stopped(struct device *device, struct why *why)
{
	struct ublksrv_ctrl_dev_info info;
	int err = ask(device, &info, why);

	if (!err && info.state != UBLK_S_DEV_DEAD)
		err = why_set(why, -ENODEV, "%s: is another device by now", device->name);
	return err ? err : ctrl_delete(&device->ctrl, info.dev_id, why);
}

/* It is none of ours any more. */
static void part_with(struct device *device)
{
	device->found = false;
	device->info = (struct ublksrv_ctrl_dev_info){ 0 };
	device->name[0] = '\0';
}

/* Has somebody the other end open?  -EBUSY then; -ENODEV when there is none; 0, or an error. */
static int look_at_other_end(const struct device *device, struct why *why)
{
	int fd = chardev_try(device->info.dev_id);

	if (fd == -EBUSY || fd == -EINTR)
		return -EBUSY;
	if (fd == -ENOENT || fd == -ENXIO)
		return -ENODEV;
	if (fd < 0)
		return why_set(why, fd, "%s: its other end: %s", device->name, strerror(-fd));
	close(fd);
	return 0;
}

/* Wait until nobody has the other end open.  -ENODEV when there is none; -errno, but not -EBUSY. */
static int await_free(struct device *device, struct why *why)
{
	struct patience patience = begin_to_wait();
	int err;

	while ((err = look_at_other_end(device, why)) == -EBUSY) {
		if (waited_ms(&patience) >= OPEN_MS)
			return why_set(why, -ETIMEDOUT,
				       "%s: was never started, or has been stopped, and "
				       "somebody has the other end of it open",
				       device->name);
		err = wait_a_little(device, &patience, why);
		if (err)
			return err;
	}
	return err;
}

/* STOP_DEV, which does not wait for long where nobody has the other end open. */
static int stop(struct device *device, struct why *why)
{
	struct ublksrv_ctrl_dev_info info;
	int err = ask(device, &info, why);

	if (!err)
		err = ctrl_stop_begin(&device->ctrl, info.dev_id, why);
	if (err)
		return err;
	err = ctrl_stop_wait(&device->ctrl, STOP_MS);
	return err ? why_set(why, err, "%s: STOP_DEV: %s", device->name, strerror(-err)) : 0;
}

/*
 * What was never started, or has been stopped: nobody can be using it.  Its dead server's controller
 * may be deleting it too, and then the number may be that of a stranger's.
 */
static int delete_remains(struct device *device, struct why *why)
{
	int err = await_free(device, why); /* whoever was about to start it has ended */

	if (!err)
		err = stop(device, why);
	if (!err)
		err = device_delete_stopped(device, why);
	return err == -ETIME || err == -ENODEV ? 0 : err;
}

/*
 * What the driver says when it does not tell us about a stranger's device, as of one that was made without
 * privileges.  No answer, however, may hide what is ours: a second device for its image would be a
 * second writer.
 */
static bool is_not_ours(int err)
{
	return err == -ENODEV || err == -EINVAL || err == -EPERM || err == -EACCES;
}

/*
 * One device: -ENOENT when it is not what we look for, -EEXIST when it is and cannot be claimed,
 * else as device_host.claim, or an error.
 */
static int look_at(struct device *device, int32_t id, struct why *why)
{
	const struct device_host *host = &device->options.host;
	struct ublksrv_ctrl_dev_info info = { .dev_id = id };
	int err = ctrl_info(&device->ctrl, &info, why);

	if (err && !is_not_ours(err))
		return err;
	if (err || info.ublksrv_flags != device->mark)
		return -ENOENT;
	err = host->claim(host->arg, id);
	/* What is dead for good is nobody's, or is about to be started by who knows it. */
	if (err == -ENOENT && info.state == UBLK_S_DEV_DEAD)
		return err;
	if (err == -ENOENT)
		return -EEXIST;
	if (err)
		return why_set(why, err, "/dev/ublkb%d: cannot be claimed: %s", id, strerror(-err));
	device->info = info;
	device_set_name(device);
	/* Before it was ours, a stop may have come to its end that its server had begun. */
	err = ask(device, &device->info, why);
	if (!err && device->info.state != UBLK_S_DEV_DEAD && device_is_recoverable(device))
		return 0;
	if (!err)
		err = delete_remains(device, why);
	part_with(device);
	return err && err != -ENODEV ? err : -ENOENT;
}

/* All devices: 0 when one was found, -ENOENT, or the most important of what look_at() says. */
static int look_at_all(struct device *device, int32_t *id, struct why *why)
{
	struct ublk_device *devices;
	size_t count;
	int result = -ENOENT;
	int err = devices_find(&devices, &count, why);

	if (err)
		return err;
	for (size_t i = 0; i < count && result; i++) {
		err = look_at(device, devices[i].id, why);
		if (err == -ENOENT || (err == -EBUSY && result == -EINPROGRESS) ||
		    (err == -EEXIST && result != -ENOENT))
			continue;
		*id = devices[i].id;
		result = err;
		if (err != -EBUSY && err != -EINPROGRESS && err != -EEXIST)
			break;
	}
	free(devices);
	return result;
}

int device_find(struct device *device, uint64_t mark, bool *found, int32_t *id, struct why *why)
{
	struct patience patience = begin_to_wait();
	int err;

	device->mark = mark;
	for (;;) {
		err = look_at_all(device, id, why);
		/* Whose device is new or old is not known for a moment. */
		if (err != -EINPROGRESS &&
		    ((err != -EBUSY && err != -EEXIST) || waited_ms(&patience) >= LIVING_MS))
			break;
		if (err == -EINPROGRESS && is_time_to_report(&patience))
			log_info("/dev/ublkb%d: waiting for the end of the process that served it",
				 *id);
		err = wait_a_little(device, &patience, why);
		if (err)
			break;
	}
	device->found = *found = err == 0;
	return err == -ENOENT ? 0 : err;
}

/* --- take ------------------------------------------------------------------------------------------ */

/*
 * The driver up to 6.15 takes descriptors to be the first one's who maps them, until it forgets
 * him, which it does not when he has fetched nothing.
 */
static bool can_be_mapped(const struct device *device, int fd)
{
	size_t bytes;
	const uint8_t *desc = chardev_map(fd, 0, device->info.queue_depth, &bytes);

	if (desc)
		munmap((void *)(uintptr_t)desc, bytes);
	return desc;
}

/* What is left of the dead server. */
struct remains {
	bool unowned; /* nobody had the other end open when we looked last */
	int64_t quiesced_since_ms; /* as far as we have seen; 0: it is not */
};

/* How much there is to forget: enum binding, or -errno. */
static int look_at_queues(struct device *device, struct remains *remains, struct why *why)
{
	int fd = chardev_try(device->info.dev_id);
	int binding;

	remains->unowned = fd >= 0;
	/* What ends later has the worker go through the queues again. */
	if (fd == -EBUSY)
		remains->quiesced_since_ms = 0;
	if (fd < 0)
		return fd == -EBUSY ? fd : why_set(why, fd, "%s: %s", device->name, strerror(-fd));
	binding = chardev_binding(fd, &device->info, NULL);
	if (binding == BOUND_NONE && !can_be_mapped(device, fd))
		binding = BOUND_SOME;
	close(fd);
	if (binding < 0)
		why_set(why, binding, "%s: its queues: %s", device->name, strerror(-binding));
	return binding;
}

/*
 * That driver's worker makes the device quiescent under its mutex, and then goes through the queues
 * once more, without it: clearing them at that moment (START_USER_RECOVERY) is a NULL pointer in the
 * kernel.  Who waits for the mutex comes exactly then.  So ask for the state, which needs no mutex, and
 * give the worker the time for these few microseconds; there is no sign of its end.  0, -EBUSY while it
 * may be at that, or an error.
 */
static int await_worker(struct device *device, struct remains *remains, struct why *why)
{
	struct ublksrv_ctrl_dev_info info = { .dev_id = device->info.dev_id };
	int err = ctrl_info(&device->ctrl, &info, why);

	if (err || info.state != UBLK_S_DEV_QUIESCED)
		remains->quiesced_since_ms = 0;
	else if (!remains->quiesced_since_ms)
		remains->quiesced_since_ms = monotonic_ms();
	if (!err && remains->quiesced_since_ms &&
	    monotonic_ms() - remains->quiesced_since_ms < SETTLE_MS)
		err = -EBUSY;
	return err;
}

/* That driver must be asked to forget only when each queue has had a server, and only once. */
static int forget_old(struct device *device, struct remains *remains, struct why *why)
{
	struct help_job job = { .help = HELP_BIND, .info = device->info };
	int err = await_worker(device, remains, why);
	int binding;

	if (err)
		return err;
	binding = look_at_queues(device, remains, why);
	switch (binding) {
	case BOUND_NONE:
		return 0;
	case BOUND_ALL:
		return remains->quiesced_since_ms ?
			       ctrl_forget(&device->ctrl, device->info.dev_id, why) :
			       -EBUSY;
	case BOUND_SOME:
		err = helper_run(&device->helper, &job, BIND_MS, why);
		remains->quiesced_since_ms = 0; /* as above: the helper's child has ended */
		return err ? err : -EBUSY;
	default:
		return binding;
	}
}

static int forget(struct device *device, struct remains *remains, struct why *why)
{
	return device_is_old(device) ? forget_old(device, remains, why) :
				       ctrl_forget(&device->ctrl, device->info.dev_id, why);
}

/* A stop that its server had begun goes on in the kernel when that is killed. */
static bool is_stopped(struct device *device)
{
	struct ublksrv_ctrl_dev_info info;
	struct why ignored;
	int err = ask(device, &info, &ignored);

	return err == -ENODEV || (!err && info.state == UBLK_S_DEV_DEAD);
}

static int go_without(struct device *device, struct why *why)
{
	int err;

	if (!device->found)
		return why_set(why, -ENODEV, "%s: has been stopped by somebody else", device->name);
	log_warn("%s: was being stopped when the process that served it died; another one is made",
		 device->name);
	err = delete_remains(device, why);
	if (!err)
		part_with(device);
	return err;
}

int device_take(struct device *device, struct why *why)
{
	struct patience patience = begin_to_wait();
	int64_t unowned_since = monotonic_ms();
	struct remains remains = { 0 };
	int err;

	for (;;) {
		err = forget(device, &remains, why);
		if (is_stopped(device))
			return go_without(device, why);
		if (err != -EBUSY)
			return err;
		if (!remains.unowned)
			unowned_since = monotonic_ms();
		if (monotonic_ms() - unowned_since >= UNOWNED_MS)
			return why_set(
				why, err,
				"%s: the driver does not let go of its dead server; remove the "
				"device with qcow2-ublkd stop %s",
				device->name, device->name);
		report_storage(device, &patience);
		err = wait_a_little(device, &patience, why);
		if (err)
			return err;
	}
}

/*
 * As long as a ring of the dead server has the other end, what it was given can reach the image.  -ENODEV
 * when the device is gone, also if the number is a stranger's by then, who has the other end as long as he lives.
 */
static int await_storage(struct device *device, struct why *why)
{
	struct patience patience = begin_to_wait();
	struct ublksrv_ctrl_dev_info info;
	int err;

	for (;;) {
		int busy = look_at_other_end(device, why);

		err = ask(device, &info, why);
		if (err || busy != -EBUSY)
			return err ? err : busy;
		report_storage(device, &patience);
		err = wait_a_little(device, &patience, why);
		if (err)
			return err;
	}
}

int device_abandon(struct device *device, struct why *why)
{
	int err = await_storage(device, why);

	/* From here on it goes, even if we do not wait for that, or are killed. */
	if (!err)
		err = ctrl_own(&device->ctrl, device->info.dev_id, why);
	if (!err)
		err = stop(device, why);
	if (!err) {
		err = device_delete_stopped(device, why);
		if (err == -ETIME)
			err = 0;
	}
	if (err && err != -ENODEV)
		return err;
	part_with(device);
	/* What the controller owns may be the stranger's, and would go with us. */
	return err ? ctrl_own(&device->ctrl, -1, why) : 0;
}
