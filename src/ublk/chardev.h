/* SPDX-License-Identifier: GPL-2.0-or-later */
/* /dev/ublkcN: the other end of a device, which one process at a time can have open. */
#ifndef CHARDEV_H
#define CHARDEV_H

#include "base.h"

#include <linux/ublk_cmd.h>

/*
 * Open that of device @id for reading and writing.  Waits as long as somebody else has it open, up to
 * 10 seconds: udev looks at a new node for a moment, and the kernel takes an old server's from it
 * in its own time.  The file, or -errno with the sentence in @why.
 */
int chardev_open(int32_t id, struct why *why);

/* The same, once: -EBUSY when somebody has it open. */
int chardev_try(int32_t id);

/*
 * Map the descriptors of @queue, @depth of them, read only.  The address, or NULL with errno;
 * *@bytes is what to unmap.
 */
const uint8_t *chardev_map(int fd, unsigned queue, unsigned depth, size_t *bytes);

/* A command of a tag, for who has a ring of his own and no queue. */
struct chardev_command {
	uint32_t op; /* UBLK_U_IO_* */
	unsigned queue;
	unsigned tag;
	int32_t result; /* of a commit */
	uint64_t addr; /* see buffers_addr() */
	uint64_t sqe_addr; /* see buffers_sqe_addr() */
};

struct io_uring;

/* Put it into @ring, which has room.  Its completion is known by chardev_queue() and _tag(). */
void chardev_stage(struct io_uring *ring, int fd, const struct chardev_command *command);

static inline unsigned chardev_queue(uint64_t user_data)
{
	return (unsigned)(user_data >> 16);
}

static inline unsigned chardev_tag(uint64_t user_data)
{
	return (unsigned)(user_data & UINT16_MAX);
}

/* How the tags of a device's queues stand, according to a driver up to 6.15. */
enum binding {
	BOUND_NONE, /* no queue has a server, not even a dead one */
	BOUND_ALL, /* each has, or had, one */
	BOUND_SOME,
};

/*
 * What is the state of the device open at @fd, which nobody serves?  @queue, if not NULL, has
 * room for info->nr_hw_queues flags: bound or not.  enum binding, or -errno.
 *
 * Asks with a command that the driver refuses, in one way or another.
 */
int chardev_binding(int fd, const struct ublksrv_ctrl_dev_info *info, bool *queue);

#endif
