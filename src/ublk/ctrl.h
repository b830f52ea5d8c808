/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Control commands: ADD_DEV to DEL_DEV, sent by a process of their own, the controller.
 *
 * A command can wait in the kernel for requests that we have to answer, and nothing, not even
 * SIGKILL, ends a process with a thread that waits so.  Were it the process that serves, a request
 * that is never answered would make both of them immortal.  As it is, the server can be killed;
 * the controller then deletes a device that nobody could take over.
 *
 * By one thread, never a queue's: STOP waits for requests that the queues must answer.
 */
#ifndef CTRL_H
#define CTRL_H

#include "base.h"

#include <linux/ublk_cmd.h>
#include <sched.h>
#include <sys/types.h>

struct ctrl {
	int fd; /* to the controller */
	pid_t pid; /* of it; 0: none */
	uint64_t sequence; /* of the last command */
};

/*
 * Start the controller.  Before threads, and before anything is open that it must not inherit.
 * @confine() drops its privileges when it has what it needs.  -errno with the sentence in @why.
 */
int ctrl_spawn(struct ctrl *ctrl, void (*confine)(void), struct why *why);

/* Wait until it can take commands.  -errno with the sentence in @why. */
int ctrl_ready(struct ctrl *ctrl, struct why *why);

/* Has it ended, against all expectations?  Once true, commands fail. */
bool ctrl_lost(struct ctrl *ctrl);

/* End the controller, which deletes the device if that was not done, however long it takes. */
void ctrl_close(struct ctrl *ctrl);

/*
 * Each of these sends one command and waits for its answer, but not longer than its deadline
 * (see ctrl.c).  0, or -errno with the sentence in @why; -ETIME for no answer.
 */

/* GET_FEATURES: the driver's UBLK_F_* bits. */
int ctrl_features(struct ctrl *ctrl, uint64_t *features, struct why *why);

/* GET_DEV_INFO of the device @info->dev_id.  -ENODEV: there is none. */
int ctrl_info(struct ctrl *ctrl, struct ublksrv_ctrl_dev_info *info, struct why *why);

/* ADD_DEV: @info as asked for; afterwards as granted. */
int ctrl_add(struct ctrl *ctrl, struct ublksrv_ctrl_dev_info *info, struct why *why);

int ctrl_set_params(struct ctrl *ctrl, int32_t id, const struct ublk_params *params,
		    struct why *why);

/* GET_PARAMS: all that @params has room for. */
int ctrl_params(struct ctrl *ctrl, int32_t id, struct ublk_params *params, struct why *why);

/* UPDATE_SIZE: of a device that was started; its users hear of it. */
int ctrl_update_size(struct ctrl *ctrl, int32_t id, uint64_t sectors, struct why *why);

/* GET_QUEUE_AFFINITY: the CPUs whose requests come through @queue.  @bytes is a multiple of 8. */
int ctrl_affinity(struct ctrl *ctrl, int32_t id, unsigned queue, cpu_set_t *cpus, size_t bytes,
		  struct why *why);

/* START_DEV: answered while the queues serve, because the kernel may read the partition table. */
int ctrl_start(struct ctrl *ctrl, int32_t id, struct why *why);

/*
 * START_USER_RECOVERY: forget the dead server.  -EBUSY while the kernel still has anything of it;
 * also its last write of the image has ended when this succeeds.  -EINVAL: not recoverable, or
 * (6.12) forgotten already.
 */
int ctrl_forget(struct ctrl *ctrl, int32_t id, struct why *why);

/* END_USER_RECOVERY: this process serves now; the tags have been fetched. */
int ctrl_resume(struct ctrl *ctrl, int32_t id, struct why *why);

/* Have the controller delete device @id (-1: none) should this process die; see CONTROL_OWN. */
int ctrl_own(struct ctrl *ctrl, int32_t id, struct why *why);

/*
 * DEL_DEV.  -ETIME: the id is free later; somebody has the block device open, or another device's server
 * does not answer, and ours has yet to be deleted.  The controller sees to that, if it is to own the
 * device, although this process may end.
 */
int ctrl_delete(struct ctrl *ctrl, int32_t id, struct why *why);

/* After -ETIME: a message that device @id is still there, and why. */
void ctrl_say_undeleted(int32_t id);

/*
 * STOP_DEV has no deadline that would be right for everybody: the kernel first writes back what
 * is dirty.  Send it, and wait in turns of @timeout_ms: 0, -errno, or -ETIME for "not yet".
 */
int ctrl_stop_begin(struct ctrl *ctrl, int32_t id, struct why *why);
int ctrl_stop_wait(struct ctrl *ctrl, unsigned timeout_ms);

#endif
