/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The report of a daemon about itself. */
#include "status.h"
#include "report.h"

#include <unistd.h>

static const char *state_of(const struct status *status)
{
	switch (image_health(status->image)) {
	case IMAGE_BROKEN:
		return "broken";
	case IMAGE_CORRUPT:
		return "corrupt";
	case IMAGE_SOUND:
		break;
	}
	return status->stopping ? "stopping" : "serving";
}

void status_write(const struct status *status, FILE *out)
{
	struct device_facts device = device_facts(status->device);
	struct image_info image = image_info(status->image);

	report_text(out, "name", status->name);
	report_text(out, "device", device_name(status->device));
	report_text(out, "state", state_of(status));
	report_text(out, "image", status->image_path);
	report_number(out, "pid", (uint64_t)getpid());
	report_text(out, "version", VERSION);
	report_number(out, "uptime-seconds", status->uptime_s);
	report_flag(out, "read-only", image.read_only);
	report_number(out, "virtual-size", image.size_bytes);
	report_number(out, "cluster-size", image.cluster_bytes);
	report_number(out, "layers", image.layers);
	report_number(out, "queue-count", device.queues);
	report_number(out, "depth", device.depth);
	report_flag(out, "zero-copy", device.zero_copy);
	report_flag(out, "recoverable", device.recoverable);
	report_number(out, "requests", device.requests);
}
