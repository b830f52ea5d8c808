/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which block devices lie on one?
 *
 * What claims the device below for itself stands in its folder of /sys.  A loop device does not:
 * whoever opens the one below for himself is not stopped by it, and does not see what is dirty above.
 */
#ifndef ABOVE_H
#define ABOVE_H

#include <stdbool.h>

#define ABOVE_NAME 32 /* bytes of a name, as in /sys/class/block */
#define ABOVE_MOST 256 /* on one device; more are not found */

/*
 * Names of the devices directly above the one called @name: its partitions, device mapper and RAID,
 * loop devices over it or over a file of a file system on it.  How many there are.
 */
unsigned above_find(const char *name, char above[ABOVE_MOST][ABOVE_NAME]);

/* Only its partitions. */
unsigned above_partitions(const char *name, char above[ABOVE_MOST][ABOVE_NAME]);

/* Is the block device called @name a partition of another one? */
bool above_is_partition(const char *name);

#endif
