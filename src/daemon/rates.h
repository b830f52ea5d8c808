/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a device did between two reports. */
#ifndef RATES_H
#define RATES_H

#include "report.h"

/* Per second, but for the last four. */
struct rates {
	double reads, writes, flushes, discards; /* discards: and write-zeroes */
	double read_bytes, write_bytes;
	double failed;
	double syncs;
	double read_ns[2]; /* half, and 99 of 100, took no longer; 0: there were none */
	double write_ns[2];
	double hit_share; /* of reads and writes that found their mapping in memory; 0 to 1 */
	uint64_t slices_dirty;
};

/* From @before to @after, which are @seconds apart and of the same daemon. */
struct rates rates_between(const struct report *before, const struct report *after, double seconds);

#endif
