/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Queues that have no server, because it was killed before it had fetched them all. */
#ifndef BIND_H
#define BIND_H

#include <linux/ublk_cmd.h>

/*
 * Job HELP_BIND.  A driver up to 6.15 forgets a dead server (START_USER_RECOVERY) only when each
 * queue had one; with some that had none it breaks, and the device is lost until the next boot.
 * So this process becomes the server of those, and dies, before anybody asks.
 */
void bind_free_queues(int fd, const struct ublksrv_ctrl_dev_info *info);

#endif
