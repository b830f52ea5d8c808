/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Names in /dev/disk/by-id.  The daemon writes what it calls a device to ublkbN.udev in the
 * register's folder, before the device is there; the rule 60-qcow2-ublkd.rules makes links of it.
 */
#ifndef UDEV_H
#define UDEV_H

#include "base.h"

/* Where udev has its state, and the kernel its disks; "/run/udev" and "/sys/block", but for tests. */
extern const char *udev_folder;
extern const char *udev_disks;

/*
 * Write down that device @id is called @name ("": nothing, whatever an earlier one was called).
 * *@changed says whether anything else stood there.  0 or -errno.
 */
int udev_tell(int32_t id, const char *name, bool *changed);

/* The time that udev_wait() wants to know, before there is a device. */
uint64_t udev_now(void);

/* Have udev look again at device @id and its partitions.  0 or -errno. */
int udev_trigger(int32_t id);

/*
 * Wait until udev, if it runs and has the rule, has made the links of device @id and of the
 * partitions that the kernel knows of by now, for @name, at or after @since.  Waits for half a
 * minute at most, as long as not @cancelled(@arg).  False when the links are not known to be there
 * although there should be some.
 */
bool udev_wait(int32_t id, const char *name, uint64_t since, bool (*cancelled)(void *arg),
	       void *arg);

#endif
