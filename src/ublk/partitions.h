/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Are the partitions of a new device there?  The driver since Linux 6.19 looks for them after START_DEV. */
#ifndef PARTITIONS_H
#define PARTITIONS_H

#include <linux/ublk_cmd.h>

/*
 * Job HELP_PARTITIONS: answers when the first look for partitions has ended.  It waits for the device,
 * which has to answer reads.
 */
void await_partitions(int fd, const struct ublksrv_ctrl_dev_info *info);

#endif
