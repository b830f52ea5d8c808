/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The ublk devices of this machine, whoever serves them. */
#ifndef DEVICES_H
#define DEVICES_H

#include "base.h"

#include <sys/types.h>

enum ublk_state {
	UBLK_DEAD, /* not started, or stopped, or its server has ended */
	UBLK_LIVE,
	UBLK_WAITING, /* its server has ended; requests wait for a new one, or fail */
	UBLK_UNKNOWN, /* the driver did not tell: see err */
};

struct ublk_device {
	int32_t id; /* the N of /dev/ublkbN */
	enum ublk_state state;
	int err; /* -errno of GET_DEV_INFO: -EACCES, -EPERM without privileges */
	pid_t server; /* as the driver says: 7.x the living one, before the one that was; or -1 */
	unsigned queues;
	unsigned depth;
	uint64_t size_bytes; /* 0: there is no block device */
	bool read_only;
};

/*
 * All devices, ordered by number, from malloc(3).  Without the driver there are none.  Asks the
 * driver by its control device, which takes CAP_SYS_ADMIN; waits for no device's server.  -errno
 * with the sentence in @why.
 */
int devices_list(struct ublk_device **devices, size_t *count, struct why *why);

/*
 * The same, but nothing of them is known besides the number: in a hurry.  -ENODEV without the driver,
 * or when it cannot be seen.
 */
int devices_find(struct ublk_device **devices, size_t *count, struct why *why);

/* The one of these that is /dev/ublkbN, or NULL. */
const struct ublk_device *devices_named(const struct ublk_device *devices, size_t count,
					const char *name);

#endif
