/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * May a device be stopped, and what is dirty written back before?
 *
 * STOP_DEV of a recoverable device throws away what the page cache and mounted file systems have
 * not written yet (kernel docs: ublk, "user recovery").  So somebody holds the device for himself,
 * so that nobody can mount it any more, and writes back what is dirty.
 */
#ifndef HOLD_H
#define HOLD_H

#include "base.h"

#include <linux/ublk_cmd.h>

/* Answers of the job; the text says who uses the device. */
enum hold_answer {
	HOLD_WRITES, /* it is being written back, and another answer follows */
	HOLD_BUSY, /* somebody holds it; further answers follow, when that changes */
	HOLD_CLEAN, /* nobody does, and nobody can until the job is ended; nothing is dirty */
	HOLD_FORCED, /* somebody does, and what was dirty has been written */
	HOLD_DIRTY, /* held, but something could not be written, which is lost; the text is why */
	HOLD_FAILED, /* it cannot be found out; the text is why */
};

/*
 * Job HELP_HOLD.  Until the device is free it looks every second; with @force it does not wait,
 * except for swap.
 */
void hold_device(int fd, const struct ublksrv_ctrl_dev_info *info, bool force);

#endif
