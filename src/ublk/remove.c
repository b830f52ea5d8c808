/* SPDX-License-Identifier: GPL-2.0-or-later */
/* STOP and DEL, by a controller of its own: it may hang, and nobody need wait for it then. */
#include "remove.h"
#include "ctrl.h"

#include <errno.h>

/* The driver notices the end of a server within moments. */
#define DEATH_MS 3000
#define LOOK_MS 20

/* Requests fail at once, unless the dead server's last ones are still under way. */
#define STOP_MS 10000

/* To stop what lives takes from its users what they have not written yet: a server does that in order. */
static int await_death(struct ctrl *ctrl, struct ublksrv_ctrl_dev_info *info, struct why *why)
{
	int64_t begin = monotonic_ms();
	int err = 0;

	while (!err && info->state == UBLK_S_DEV_LIVE) {
		if (monotonic_ms() - begin >= DEATH_MS)
			return why_set(
				why, -EBUSY,
				"/dev/ublkb%d: is served, by a process that is not to be seen from "
				"here; stop it there, or use --force, with which the device's "
				"users lose what is not written",
				info->dev_id);
		sleep_ms(LOOK_MS);
		err = ctrl_info(ctrl, info, why);
	}
	return err;
}

/* Just before each command: when a device is gone, its number is the next one's. */
static int look(struct ctrl *ctrl, struct ublksrv_ctrl_dev_info *info,
		bool (*is_ours)(uint64_t mark), struct why *why)
{
	int err = ctrl_info(ctrl, info, why);

	if (err == -ENODEV)
		return why_set(why, err, "/dev/ublkb%d: there is no such device", info->dev_id);
	if (!err && !is_ours(info->ublksrv_flags))
		return why_set(why, -EPERM, "/dev/ublkb%d: was not made by qcow2-ublkd",
			       info->dev_id);
	return err;
}

static int stop(struct ctrl *ctrl, int32_t id, struct why *why)
{
	int err = ctrl_stop_begin(ctrl, id, why);

	if (err)
		return err;
	err = ctrl_stop_wait(ctrl, STOP_MS);
	return err ? why_set(why, err,
			     "/dev/ublkb%d: STOP_DEV: %s; does the storage below its image hang?",
			     id, strerror(-err)) :
		     0;
}

static int remove_by(struct ctrl *ctrl, int32_t id, bool force, bool (*is_ours)(uint64_t mark),
		     struct why *why)
{
	struct ublksrv_ctrl_dev_info info = { .dev_id = id };
	int err = ctrl_ready(ctrl, why);

	if (!err)
		err = look(ctrl, &info, is_ours, why);
	if (!err && !force) {
		err = await_death(ctrl, &info, why);
		if (!err)
			err = look(ctrl, &info, is_ours, why);
	}
	if (!err)
		err = stop(ctrl, id, why);
	if (err)
		return err;
	/* Who has made it may have been quicker, and then it is gone, as was asked for. */
	err = look(ctrl, &info, is_ours, why);
	if (err == -ENODEV || err == -EPERM)
		return 0;
	/* Then it goes even if we do not wait for that. */
	if (!err)
		err = ctrl_own(ctrl, id, why);
	if (err)
		return err;
	err = ctrl_delete(ctrl, id, why);
	if (err != -ETIME)
		return err;
	ctrl_say_undeleted(id);
	return 0;
}

int device_remove(int32_t id, bool force, bool (*is_ours)(uint64_t mark), void (*confine)(void),
		  struct why *why)
{
	struct ctrl ctrl;
	int err = ctrl_spawn(&ctrl, confine, why);

	if (err)
		return err;
	err = remove_by(&ctrl, id, force, is_ours, why);
	ctrl_close(&ctrl);
	return err;
}
