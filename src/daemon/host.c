/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The device's questions: whose is it, what does the disk hold, and who does I/O on the image? */
#include "daemon.h"
#include "udev.h"

#include <errno.h>

static int claim(void *arg, int32_t id)
{
	struct daemon *daemon = arg;

	if (!daemon->remembers)
		return -ENOENT;
	/* Of remains that were deleted. */
	ownership_drop(&daemon->owner);
	return ownership_take(&daemon->owner, id, &daemon->identity, daemon->view, &daemon->holder);
}

static int added(void *arg, int32_t id, struct why *why)
{
	struct daemon *daemon = arg;
	bool changed;
	int err;

	if (!daemon->remembers)
		return 0;
	daemon->added_us = udev_now();
	/* Of remains that were deleted; the new device may have their number. */
	ownership_drop(&daemon->owner);
	err = ownership_make(&daemon->owner, id, &daemon->identity, daemon->view, daemon->below);
	if (err)
		return why_set(why, err, "%s: %s", daemon->owner.path, strerror(-err));
	err = udev_tell(id, admin_name(&daemon->admin), &changed);
	if (err)
		log_warn("%s: udev cannot be told: %s", admin_name(&daemon->admin), strerror(-err));
	admin_added(&daemon->admin, id);
	return 0;
}

/* Queues have it anyway. */
static int opened(void *arg, int fd, struct why *why)
{
	struct daemon *daemon = arg;
	int err = service_hold(&daemon->service, fd);

	return err ? why_set(why, err, "service thread: io_uring files: %s", strerror(-err)) : 0;
}

static int read_disk(void *arg, void *buf, uint32_t len, uint64_t off)
{
	struct daemon *daemon = arg;

	return service_read(&daemon->service, daemon->image, buf, len, off);
}

struct device_host host_of(struct daemon *daemon)
{
	return (struct device_host){
		.claim = claim,
		.added = added,
		.opened = opened,
		.read = read_disk,
		.cancelled = signals_cancelled,
		.arg = daemon,
	};
}
