/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The image is resized on the service's thread; the kernel is told of more afterwards, of less before. */
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

static void ask_image(struct resizing *resizing, struct admin *admin, struct service *service)
{
	service_resize_image(service, admin->image,
			     resizing->stage == RESIZING_LOOKS ? image_unused_start :
								 image_resize_start,
			     resizing->bytes, on_resized, resizing);
}

void resizing_begin(struct resizing *resizing, struct admin *admin, struct service *service)
{
	struct why why;
	int err = device_can_resize(admin->device, &why);

	admin->resize_asked = false;
	resizing->bytes = admin->resize_bytes;
	if (!err)
		err = image_resize_check(admin->image, resizing->bytes, admin->resize_shrink, &why);
	if (err) {
		admin_resized(admin, why.text);
		return;
	}
	resizing->stage = resizing->bytes < image_info(admin->image).size_bytes ? RESIZING_LOOKS :
										  RESIZING_GROWS;
	ask_image(resizing, admin, service);
}

int resizing_fd(const struct resizing *resizing)
{
	return resizing->fd;
}

static int refuse(const struct resizing *resizing, const struct admin *admin, int err,
		  struct why *why)
{
	const char *name = device_name(admin->device);
	unsigned long long used = image_used(admin->image);

	if (resizing->stage == RESIZING_SHRINKS && image_health(admin->image) != IMAGE_SOUND)
		return why_set(
			why, err,
			"%s: is smaller, but which size its image has nobody knows, and nothing is "
			"written to it any more: %s",
			name, strerror(-err));
	if (err == -EBUSY && resizing->stage != RESIZING_GROWS)
		return why_set(
			why, err,
			"%s: is as large as it was: its image has something at byte %llu, "
			"behind the new end; if nobody needs that: blkdiscard --offset %llu %s",
			name, used, used, name);
	return why_set(why, err, "%s: is as large as it was: its image could not be resized: %s",
		       name, strerror(-err));
}

/* A device that had become smaller already gets its image's size, unless nobody knows which that is. */
static void undo(const struct resizing *resizing, struct admin *admin)
{
	struct why why;

	if (resizing->stage == RESIZING_SHRINKS && image_health(admin->image) == IMAGE_SOUND &&
	    device_resize(admin->device, image_info(admin->image).size_bytes, &why))
		log_error("%s", why.text);
}

/* What there is to do when the image has done its part; true: it has another one. */
static bool go_on(struct resizing *resizing, struct admin *admin, int *err, struct why *why)
{
	bool looks = resizing->stage == RESIZING_LOOKS;

	if (*err) {
		refuse(resizing, admin, *err, why);
		undo(resizing, admin);
	} else if (resizing->stage != RESIZING_SHRINKS) {
		*err = device_resize(admin->device, resizing->bytes, why);
	}
	if (*err || !looks)
		return false;
	resizing->stage = RESIZING_SHRINKS;
	return true;
}

void resizing_end(struct resizing *resizing, struct admin *admin, struct service *service)
{
	eventfd_t ignored;
	struct why why;
	int err;

	if (eventfd_read(resizing->fd, &ignored))
		return;
	err = atomic_load(&resizing->err);
	if (go_on(resizing, admin, &err, &why)) {
		ask_image(resizing, admin, service);
		return;
	}
	if (err)
		log_error("%s", why.text);
	else
		log_info("%s: resized to %llu bytes", device_name(admin->device),
			 (unsigned long long)resizing->bytes);
	admin_resized(admin, err ? why.text : NULL);
}

void resizing_close(struct resizing *resizing)
{
	if (resizing->fd >= 0)
		close(resizing->fd);
	resizing->fd = -1;
}
