/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a device consists of: private to those who share its life. */
#ifndef STATE_H
#define STATE_H

#include "ctrl.h"
#include "device.h"
#include "helper.h"
#include "queue.h"

#include <stdio.h>

#define NAME_BYTES 32 /* of /dev/ublkbN */

struct device {
	struct device_options options;
	struct ctrl ctrl;
	struct helper helper;
	uint64_t features; /* of the driver */
	uint64_t mark; /* ublksrv_flags: see device_find() */
	struct ublksrv_ctrl_dev_info info;
	bool found; /* a dead server's device, which is ours to take over */
	bool added; /* to be deleted */
	bool smaller; /* than its image, as a dead server had it: to be resized when it is served */
	bool silent; /* START or END was not answered: it may be done, or be done yet */
	char name[NAME_BYTES]; /* /dev/ublkbN */
	struct disk disk;
	int *file; /* disk.file */
	unsigned lanes;
	struct queue *queue; /* lanes of them; the first info.nr_hw_queues have tags */
	int hold_fd; /* of the job, or -1 */
	bool hold_unheard; /* it has said nothing yet */
	bool hold_writes; /* ... or last that it writes back */
	bool hold_by_force;
};

/* A server's death is noticed, and forgotten, in the old way: up to Linux 6.15. */
static inline bool device_is_old(const struct device *device)
{
	return !(device->features & UBLK_F_QUIESCE);
}

/* START_DEV waits for the server to read the partition table: up to Linux 6.18. */
static inline bool device_scans_in_start(const struct device *device)
{
	return !(device->features & UBLK_F_NO_AUTO_PART_SCAN);
}

static inline bool device_is_recoverable(const struct device *device)
{
	return device->info.flags & UBLK_F_USER_RECOVERY;
}

/*
 * DEL_DEV of ours, which has been stopped or was never started.  -ENODEV when it is gone, and its number another
 * one's, perhaps.  Else as ctrl_delete().
 */
int device_delete_stopped(struct device *device, struct why *why);

static inline void device_set_name(struct device *device)
{
	snprintf(device->name, sizeof(device->name), "/dev/ublkb%d", device->info.dev_id);
}

#endif
