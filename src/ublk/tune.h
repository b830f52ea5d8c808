/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two settings of the block layer with which a device of an old driver outlives its server soon. */
#ifndef TUNE_H
#define TUNE_H

#include <linux/ublk_cmd.h>

/*
 * Job HELP_TUNE.  Up to 6.15 the driver learns of a server's death by the commands that it has of
 * it.  A queue whose tags are all with the server has none; its requests then wait for the block
 * layer's timeout, 30 seconds.  So one tag of each queue is never used, and the timeout is short:
 * a server that lives may take as long as it wants all the same.
 */
void tune_device(int fd, const struct ublksrv_ctrl_dev_info *info);

/* Tags that are never used; info->queue_depth counts them. */
#define TUNE_SPARE_TAGS 1

/* The block layer takes no smaller number of requests. */
#define TUNE_LEAST_DEPTH 4

#endif
