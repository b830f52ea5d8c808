/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a device consists of: private to device.c and start.c. */
#ifndef STATE_H
#define STATE_H

#include "ctrl.h"
#include "device.h"
#include "queue.h"

#define NAME_BYTES 32 /* of /dev/ublkbN */

struct device {
	struct device_options options;
	struct ctrl ctrl;
	struct ublksrv_ctrl_dev_info info;
	bool added; /* to be deleted */
	bool silent; /* START was not answered: nor would STOP be */
	char name[NAME_BYTES]; /* /dev/ublkbN */
	struct disk disk;
	int *file; /* disk.file */
	unsigned lanes;
	struct queue *queue; /* lanes of them; the first info.nr_hw_queues have tags */
	cpu_set_t *cpus;
	size_t cpus_bytes;
};

#endif
