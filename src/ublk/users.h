/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who uses a block device, or one of its partitions. */
#ifndef USERS_H
#define USERS_H

#include "above.h"
#include "base.h"

#include <sys/types.h>

#define USERS_DEVICES 512 /* more than a disk has partitions */

/* A disk and what is on it. */
struct users_disk {
	char name[USERS_DEVICES][ABOVE_NAME]; /* the disk is the first, then its partitions */
	dev_t number[USERS_DEVICES];
	unsigned own; /* these are the disk and its partitions */
	unsigned devices; /* with what lies on those, and on that: see above.h */
};

/* Look at /dev/ublkb@id.  False when there is no such disk. */
bool users_disk(struct users_disk *disk, int32_t id);

/* The number of the block device called @name.  False when there is none. */
bool users_number(const char *name, dev_t *number);

/* As the kernel escapes blanks and the like in a path: \ooo.  In place. */
void users_unescape(char *path);

/*
 * Write back those file systems on it, as far as this process sees them, that hear nothing of a BLKFLSBUF of
 * their device: btrfs before Linux 6.17.  0, or the first -errno.
 */
int users_sync(const struct users_disk *disk);

/* Is it used as swap: it, what lies on it, or a file on it? */
bool users_swap(const struct users_disk *disk);

/*
 * Describe all users that can be found, up to what @text has room for, as "mounted on /mnt; opened
 * by qemu (123)": mounts of all namespaces, swap, devices above, and processes other than this
 * one; also of what lies on the disk.  Reads files of /proc and /sys only, and waits for nobody: some
 * seconds at most, after which it says that there may be others.  Takes CAP_SYS_PTRACE and
 * CAP_DAC_READ_SEARCH to see everybody.  @text is "" when there is none to be seen.
 */
void users_describe(const struct users_disk *disk, char *text, size_t size);

#endif
