/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a daemon says when it is asked, and that it can be found. */
#include "admin.h"
#include "report.h"
#include "status.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

/* --- answers ------------------------------------------------------------------------------------- */

#define LEAVING "is just being left to another process; ask that one"

static enum control_verdict refuse(const struct admin *admin, const char *what, struct why *why)
{
	why_set(why, -EBUSY, "%s: %s", device_name(admin->device), what);
	return CONTROL_REFUSED;
}

/* Too many others wait for an answer; whoever is refused for that has changed nothing. */
static bool is_crowded(const struct admin *admin)
{
	return !control_has_room(&admin->control);
}

#define CROWDED "too many wait for an answer already"

static enum control_verdict ask_for_resize(struct admin *admin, const char *size, struct why *why)
{
	char *end;

	if (admin->leave_wanted)
		return refuse(admin, LEAVING, why);
	if (admin->stopping)
		return refuse(admin, "is being stopped", why);
	if (admin->resizing)
		return refuse(admin, "is being resized already", why);
	if (is_crowded(admin))
		return refuse(admin, CROWDED, why);
	errno = 0;
	admin->resize_bytes = strtoull(size, &end, 10);
	admin->resize_shrink = strcmp(end, " shrink") == 0;
	if (errno || end == size || (*end && !admin->resize_shrink)) {
		why_set(why, -EINVAL, "%.20s is no size", size);
		return CONTROL_REFUSED;
	}
	admin->resize_asked = admin->resizing = true;
	return CONTROL_LATER;
}

static void write_origin(const struct origin *origin, FILE *out)
{
	char key[32];

	report_flag(out, "managed", origin->managed);
	report_text(out, "version", VERSION);
	report_number(out, "handover-layout", image_handover_layout());
	report_text(out, "view", origin->view);
	report_text(out, "directory", origin->directory);
	for (unsigned i = 0; origin->argv[i]; i++) {
		snprintf(key, sizeof(key), "arguments.%u", i);
		report_text(out, key, origin->argv[i]);
	}
}

static enum control_verdict answer_stop(struct admin *admin, bool force, struct why *why)
{
	if (admin->leave_wanted)
		return refuse(admin, LEAVING, why);
	/* By force it is over soon, for all of them. */
	if (!force && is_crowded(admin))
		return refuse(admin, CROWDED, why);
	admin->stop_asked = true;
	admin->stop_force = force;
	return CONTROL_LATER;
}

static const char *hindrance_of(const struct admin *admin)
{
	if (admin->stop_asked)
		return "it is being stopped";
	/* A kill would not harm it, but who has asked for it waits for the answer. */
	if (admin->resizing)
		return "it is being resized";
	return admin->origin.hindrance(admin->origin.arg);
}

static enum control_verdict answer_leave(struct admin *admin, struct why *why)
{
	const char *hindrance = hindrance_of(admin);

	if (hindrance)
		return refuse(admin, hindrance, why);
	if (is_crowded(admin))
		return refuse(admin, CROWDED, why);
	admin->leave_asked = admin->leave_wanted = true;
	return CONTROL_LATER;
}

static enum control_verdict answer_origin(const struct admin *admin, FILE *out, struct why *why)
{
	const char *hindrance = hindrance_of(admin);

	if (hindrance)
		return refuse(admin, hindrance, why);
	write_origin(&admin->origin, out);
	return CONTROL_ANSWERED;
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
	if (strcmp(request, "stop") == 0 || strcmp(request, "stop force") == 0)
		return answer_stop(admin, request[4] != '\0', why);
	if (strncmp(request, "resize ", 7) == 0)
		return ask_for_resize(admin, request + 7, why);
	if (strcmp(request, "origin") == 0)
		return answer_origin(admin, out, why);
	if (strcmp(request, "leave") == 0)
		return answer_leave(admin, why);
	why_set(why, -EINVAL, "this daemon does not know the request; it is of version " VERSION);
	return CONTROL_REFUSED;
}

/* --- life ---------------------------------------------------------------------------------------- */

/* Is this the process that a service manager has started, and will start again? */
static bool is_managed(void)
{
	const char *pid = getenv("SYSTEMD_EXEC_PID");

	return getenv("NOTIFY_SOCKET") || (pid && strtol(pid, NULL, 10) == getpid());
}

void admin_origin(struct admin *admin, char *const *argv)
{
	struct origin *origin = &admin->origin;

	origin->argv = argv;
	origin->managed = is_managed();
	if (!getcwd(origin->directory, sizeof(origin->directory)))
		origin->directory[0] = '\0';
}

int admin_begin(struct admin *admin, const char *name, const char *image, struct why *why)
{
	char default_name[NAME_LENGTH + 1];
	int err;

	admin->control.fd = -1;
	admin->started_s = monotonic_s();
	if (!realpath(image, admin->image_path))
		snprintf(admin->image_path, sizeof(admin->image_path), "%s", image);
	name_of_image(default_name, image);
	err = registry_enter(&admin->registration, name ? name : default_name, admin->image_path,
			     !name, why);
	if (err == -EBUSY)
		return err;
	if (err)
		log_warn("%s; the device has no name and no control socket", why->text);
	else if (name_is_partitions(admin->registration.name))
		log_warn("%s: the device keeps the name %s, which is what a partition of another disk may "
			 "be called in /dev/disk/by-id; no new device gets it, so choose another "
			 "--name before the next boot",
			 image, admin->registration.name);
	else if (!name && strcmp(admin->registration.name, default_name) != 0)
		log_info("%s: the name %s is taken; this is %s", image, default_name,
			 admin->registration.name);
	return 0;
}

const char *admin_name(const struct admin *admin)
{
	return admin->registration.name;
}

static void record(struct admin *admin, const char *device)
{
	int err = registry_record(&admin->registration, device, admin->image_path);

	if (err)
		log_warn("%s: cannot be registered: %s", device, strerror(-err));
}

void admin_added(struct admin *admin, int32_t id)
{
	char device[32];

	snprintf(device, sizeof(device), "/dev/ublkb%" PRId32, id);
	if (admin->registration.name[0])
		record(admin, device);
}

void admin_serve(struct admin *admin, struct device *device, struct image *image)
{
	char path[PATH_MAX];
	struct why why;

	admin->device = device;
	admin->image = image;
	if (!admin->registration.name[0])
		return;
	record(admin, device_name(device));
	registry_forget_names(&admin->registration, device_name(device));
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

bool admin_is_awaited(const struct admin *admin)
{
	return control_is_awaited(&admin->control, "leave");
}

void admin_stays(struct admin *admin, const char *reason)
{
	admin->leave_wanted = admin->leave_asked = false;
	control_finish(&admin->control, "leave", reason);
}

void admin_left(struct admin *admin)
{
	char text[128];

	control_finish(&admin->control, "leave", NULL);
	snprintf(text, sizeof(text), "%s: " LEAVING, device_name(admin->device));
	control_end(&admin->control, text);
}

void admin_stopping(struct admin *admin)
{
	admin->stopping = true;
	admin_resized(admin, "the device was stopped meanwhile");
}

void admin_end(struct admin *admin, const char *failure)
{
	/* The socket goes with the name: another one's could have taken its place. */
	control_end(&admin->control, failure);
	registry_leave(&admin->registration);
}
