/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a daemon says when it is asked, and that it can be found. */
#include "admin.h"
#include "status.h"

#include <errno.h>
#include <stdlib.h>

/* --- answers ------------------------------------------------------------------------------------- */

static enum control_verdict ask_for_resize(struct admin *admin, const char *size, struct why *why)
{
	char *end;

	if (admin->stopping || admin->resizing) {
		why_set(why, -EBUSY, "%s: is being %s", device_name(admin->device),
			admin->stopping ? "stopped" : "resized already");
		return CONTROL_REFUSED;
	}
	errno = 0;
	admin->resize_bytes = strtoull(size, &end, 10);
	if (errno || end == size || *end) {
		why_set(why, -EINVAL, "%.20s is no size", size);
		return CONTROL_REFUSED;
	}
	admin->resize_asked = admin->resizing = true;
	return CONTROL_LATER;
}

static enum control_verdict answer(void *arg, const char *request, FILE *out, struct why *why)
{
	struct admin *admin = arg;

	if (strcmp(request, "status") == 0) {
		struct status status = {
			.name = admin->registration.name,
			.image_path = admin->image_path,
			.device = admin->device,
			.image = admin->image,
			.stopping = admin->stopping,
			.uptime_s = (uint64_t)(monotonic_s() - admin->started_s),
		};

		status_write(&status, out);
		return CONTROL_ANSWERED;
	}
	if (strcmp(request, "stop") == 0 || strcmp(request, "stop force") == 0) {
		admin->stop_asked = true;
		admin->stop_force = request[4] != '\0';
		return CONTROL_LATER;
	}
	if (strncmp(request, "resize ", 7) == 0)
		return ask_for_resize(admin, request + 7, why);
	why_set(why, -EINVAL, "this daemon does not know the request; it is of version " VERSION);
	return CONTROL_REFUSED;
}

/* --- life ---------------------------------------------------------------------------------------- */

int admin_begin(struct admin *admin, const char *name, const char *image, struct why *why)
{
	char default_name[NAME_LENGTH + 1];
	int err;

	admin->control.fd = -1;
	admin->started_s = monotonic_s();
	if (!realpath(image, admin->image_path))
		snprintf(admin->image_path, sizeof(admin->image_path), "%s", image);
	name_of_image(default_name, image);
	err = registry_enter(&admin->registration, name ? name : default_name, image, !name, why);
	if (err == -EBUSY)
		return err;
	if (err)
		log_warn("%s; the device has no name and no control socket", why->text);
	else if (!name && strcmp(admin->registration.name, default_name) != 0)
		log_info("%s: the name %s is taken; this is %s", image, default_name,
			 admin->registration.name);
	return 0;
}

const char *admin_name(const struct admin *admin)
{
	return admin->registration.name;
}

void admin_serve(struct admin *admin, struct device *device, struct image *image)
{
	char path[PATH_MAX];
	struct why why;
	int err;

	admin->device = device;
	admin->image = image;
	if (!admin->registration.name[0])
		return;
	err = registry_record(&admin->registration, device_name(device), admin->image_path);
	if (err)
		log_warn("%s: cannot be registered: %s", device_name(device), strerror(-err));
	registry_socket(path, admin->registration.name);
	if (control_open(&admin->control, path, answer, admin, &why))
		log_warn("control socket: %s", why.text);
}

unsigned admin_watch(const struct admin *admin, struct pollfd *fds, int *timeout_ms)
{
	return control_watch(&admin->control, fds, timeout_ms);
}

void admin_turn(struct admin *admin)
{
	control_turn(&admin->control);
}

void admin_refuse(struct admin *admin, const char *reason)
{
	control_finish(&admin->control, "stop", reason);
}

void admin_resized(struct admin *admin, const char *failure)
{
	admin->resizing = admin->resize_asked = false;
	control_finish(&admin->control, "resize", failure);
}

void admin_stopping(struct admin *admin)
{
	admin->stopping = true;
	admin_resized(admin, "the device was stopped meanwhile");
}

void admin_end(struct admin *admin, const char *failure)
{
	registry_leave(&admin->registration);
	control_end(&admin->control, failure);
}
