/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The first start of a recoverable device by a driver that reads the partition table during
 * START_DEV, which holds the device's lock meanwhile (Linux up to 6.18).
 *
 * If the server of such a device is killed while START_DEV waits for it, START, STOP and DEL wait
 * for each other until the next boot.  So START_DEV is sent, and what it reads answered, by a
 * process that does nothing else: it gets the bytes from the server, and has an error for the
 * kernel at once when that is gone, or soon when it is silent.  When START_DEV has returned it
 * ends, and the server takes the device over from it as from any dead server.
 */
#ifndef FIRST_START_H
#define FIRST_START_H

#include "base.h"

#include <linux/ublk_cmd.h>

struct device;

/* Job HELP_FIRST_START. */
void first_start_serve(int fd, const struct ublksrv_ctrl_dev_info *info);

/*
 * The server's side: have @device, which has its parameters, started, and give what is read,
 * @read(@arg, buf, len, off) of the disk.  -errno with the sentence in @why.
 */
int first_start(struct device *device, struct why *why);

#endif
