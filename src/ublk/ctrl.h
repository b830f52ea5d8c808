/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Control commands: /dev/ublk-control, through a ring that can do nothing else.
 *
 * The ring keeps the credentials of the moment it was opened (an io_uring personality), so that
 * the process can stop and delete its device after it has dropped its privileges.  One thread,
 * never a queue's: STOP waits for requests that the queues must answer.
 */
#ifndef CTRL_H
#define CTRL_H

#include "base.h"

#include <liburing.h>
#include <linux/ublk_cmd.h>
#include <sched.h>

#define CTRL_SLOTS 8
#define CTRL_BYTES 1024 /* payload of a command: an affinity mask of 8192 CPUs is the largest */

enum slot_state {
	SLOT_FREE,
	SLOT_BUSY,
	SLOT_DONE,
	SLOT_LOST, /* nobody waits any more, but the kernel may still write to bytes[] */
};

/* A command that the kernel may have; its buffer lives as long. */
struct ctrl_slot {
	enum slot_state state;
	uint64_t sequence; /* its user_data: no two commands of a ring have the same */
	int res;
	_Alignas(8) uint8_t bytes[CTRL_BYTES];
};

struct ctrl {
	struct io_uring ring;
	bool live;
	int fd;
	int personality;
	uint64_t sequence;
	struct ctrl_slot slot[CTRL_SLOTS];
};

/* Open the control device.  -errno with the sentence in @why (kernel docs: ublk, "Control plane"). */
int ctrl_open(struct ctrl *ctrl, struct why *why);
void ctrl_close(struct ctrl *ctrl);

/*
 * Each of these sends one command and waits for its answer, but not longer than its deadline
 * (seconds; see ctrl.c).  0, or -errno with the sentence in @why; -ETIME for no answer.
 */

/* GET_FEATURES: the driver's UBLK_F_* bits. */
int ctrl_features(struct ctrl *ctrl, uint64_t *features, struct why *why);

/* ADD_DEV: @info as asked for; afterwards as granted. */
int ctrl_add(struct ctrl *ctrl, struct ublksrv_ctrl_dev_info *info, struct why *why);

int ctrl_set_params(struct ctrl *ctrl, int32_t id, const struct ublk_params *params,
		    struct why *why);

/* GET_QUEUE_AFFINITY: the CPUs whose requests come through @queue.  @bytes is a multiple of 8. */
int ctrl_affinity(struct ctrl *ctrl, int32_t id, unsigned queue, cpu_set_t *cpus, size_t bytes,
		  struct why *why);

/* START_DEV: answered while the queues serve, because the kernel may read the partition table. */
int ctrl_start(struct ctrl *ctrl, int32_t id, struct why *why);

/* DEL_DEV.  -ETIME: deleted, but somebody has the block device open; the id is free later. */
int ctrl_delete(struct ctrl *ctrl, int32_t id, struct why *why);

/*
 * STOP_DEV has no deadline that would be right for everybody: the kernel first writes back what
 * is dirty.  Send it (the ticket, or -errno), and wait in turns of @timeout_ms: 0, -errno, or
 * -ETIME for "not yet"; ctrl_abandon() ends the waiting.
 */
int ctrl_stop_begin(struct ctrl *ctrl, int32_t id, struct why *why);
int ctrl_wait(struct ctrl *ctrl, int ticket, unsigned timeout_ms);
void ctrl_abandon(struct ctrl *ctrl, int ticket);

#endif
