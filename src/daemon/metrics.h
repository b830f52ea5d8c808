/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reports as metrics in Prometheus' text format; the names are documented in qcow2-ublkd(8). */
#ifndef METRICS_H
#define METRICS_H

#include "report.h"

/* All metrics of @reports, of which @count are given, each with the device's name as a label. */
void metrics_print(const struct report *reports, size_t count, FILE *out);

#endif
