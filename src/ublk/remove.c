/* SPDX-License-Identifier: GPL-2.0-or-later */
/* STOP and DEL, by a controller of its own: it may hang, and nobody need wait for it then. */
#include "remove.h"
#include "ctrl.h"

#include <errno.h>

/* Requests fail at once, unless the dead server's last ones are still under way. */
#define STOP_MS 10000

static int remove_by(struct ctrl *ctrl, int32_t id, bool (*is_ours)(uint64_t mark), struct why *why)
{
	struct ublksrv_ctrl_dev_info info = { .dev_id = id };
	int err = ctrl_ready(ctrl, why);

	if (!err)
		err = ctrl_info(ctrl, &info, why);
	if (err == -ENODEV)
		return why_set(why, err, "/dev/ublkb%d: there is no such device", id);
	if (err)
		return err;
	if (!is_ours(info.ublksrv_flags))
		return why_set(why, -EPERM, "/dev/ublkb%d: was not made by qcow2-ublkd", id);
	err = ctrl_stop_begin(ctrl, id, why);
	if (err)
		return err;
	err = ctrl_stop_wait(ctrl, STOP_MS);
	if (err)
		return why_set(why, err,
			       "/dev/ublkb%d: STOP_DEV: %s; does the storage below its image hang?",
			       id, strerror(-err));
	err = ctrl_delete(ctrl, id, why);
	if (err != -ETIME)
		return err;
	log_info("/dev/ublkb%d: still open somewhere; it goes when it is closed", id);
	return 0;
}

int device_remove(int32_t id, bool (*is_ours)(uint64_t mark), void (*confine)(void),
		  struct why *why)
{
	struct ctrl ctrl;
	int err = ctrl_spawn(&ctrl, confine, why);

	if (err)
		return err;
	err = remove_by(&ctrl, id, is_ours, why);
	ctrl_close(&ctrl);
	return err;
}
