/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who uses a block device, or one of its partitions. */
#ifndef USERS_H
#define USERS_H

#include "base.h"

#include <sys/types.h>

#define USERS_DEVICES 256 /* the disk and its partitions, as many as the kernel has */

/* A disk and what is on it. */
struct users_disk {
	char name[USERS_DEVICES][32]; /* as in /sys/class/block; the disk is the first */
	dev_t number[USERS_DEVICES];
	unsigned devices;
};

/* Look at /dev/ublkb@id.  False when there is no such disk. */
bool users_disk(struct users_disk *disk, int32_t id);

/*
 * Names of the block devices above the device called @name (device mapper, RAID): up to @most.
 * How many there are.
 */
unsigned users_above(const char *name, char above[][32], unsigned most);

/* Is it, or a partition of it, used as swap? */
bool users_swap(const struct users_disk *disk);

/*
 * Describe all users that can be found, up to what @text has room for, as "mounted on /mnt; opened
 * by qemu (123)": mounts of all namespaces, swap, devices above, and processes other than this
 * one.  Reads files of /proc and /sys only; takes CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH to see
 * everybody.  @text is "" when there is none to be seen.
 */
void users_describe(const struct users_disk *disk, char *text, size_t size);

#endif
