/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Are the partitions of a new device there? */
#ifndef PARTITIONS_H
#define PARTITIONS_H

#include <linux/ublk_cmd.h>

/*
 * Job HELP_PARTITIONS, as the driver since Linux 6.19 looks for them after START_DEV: answers when
 * the first look for partitions has ended.  It waits for the device, which has to answer reads.
 */
void await_partitions(int fd, const struct ublksrv_ctrl_dev_info *info);

/*
 * Job HELP_FIND_PARTITIONS: the driver up to Linux 6.18 has looked for them once, and may have met an
 * error.  If there are none, it looks once more.  A disk that is held as a whole is left alone.
 */
void find_partitions(int fd, const struct ublksrv_ctrl_dev_info *info);

#endif
