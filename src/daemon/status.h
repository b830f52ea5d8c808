/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a daemon says about itself: the keys are described in qcow2-ublkd(8), status. */
#ifndef STATUS_H
#define STATUS_H

#include "device.h"
#include "image.h"

#include <stdio.h>

struct status {
	const char *name;
	const char *image_path;
	const struct device *device;
	struct image *image;
	bool stopping;
	uint64_t uptime_s;
};

/* Write all of it as a report (see report.h).  The main thread. */
void status_write(const struct status *status, FILE *out);

#endif
