/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The image grows on the service's thread; when that is durable, the kernel is told. */
#include "resize.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

int resizing_open(struct resizing *resizing, struct why *why)
{
	resizing->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return resizing->fd < 0 ? why_set(why, -errno, "eventfd: %m") : 0;
}

/* On the service's thread. */
static void on_resized(void *arg, int err)
{
	struct resizing *resizing = arg;

	atomic_store(&resizing->err, err);
	eventfd_write(resizing->fd, 1);
}

void resizing_begin(struct resizing *resizing, struct admin *admin, struct service *service)
{
	struct why why;
	int err = device_can_resize(admin->device, &why);

	admin->resize_asked = false;
	resizing->bytes = admin->resize_bytes;
	if (!err)
		err = image_resize_check(admin->image, resizing->bytes, &why);
	if (err)
		admin_resized(admin, why.text);
	else
		service_resize_image(service, admin->image, resizing->bytes, on_resized, resizing);
}

int resizing_fd(const struct resizing *resizing)
{
	return resizing->fd;
}

void resizing_end(struct resizing *resizing, struct admin *admin)
{
	const char *name = device_name(admin->device);
	eventfd_t ignored;
	struct why why;
	int err;

	if (eventfd_read(resizing->fd, &ignored))
		return;
	err = atomic_load(&resizing->err);
	if (err)
		why_set(&why, err, "%s: is as large as it was: its image could not grow: %s", name,
			strerror(-err));
	else
		err = device_resize(admin->device, resizing->bytes, &why);
	if (err)
		log_error("%s", why.text);
	else
		log_info("%s: resized to %llu bytes", name, (unsigned long long)resizing->bytes);
	admin_resized(admin, err ? why.text : NULL);
}

void resizing_close(struct resizing *resizing)
{
	if (resizing->fd >= 0)
		close(resizing->fd);
	resizing->fd = -1;
}
