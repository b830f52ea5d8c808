/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fetch all tags of the queues that are free, and end. */
#include "bind.h"
#include "buffers.h"
#include "chardev.h"
#include "helper.h"

#include <errno.h>
#include <liburing.h>
#include <stdlib.h>

/* Nothing is ever delivered: the block layer's queues stand still. */
static int fetch(struct io_uring *ring, int dev, const struct ublksrv_ctrl_dev_info *info,
		 unsigned queue)
{
	struct buffers buffers = { .mode = buffers_mode(info->flags) };
	int n;

	if (buffers_make(&buffers, info->queue_depth, info->max_io_buf_bytes))
		return -ENOMEM;
	for (unsigned tag = 0; tag < info->queue_depth; tag++) {
		struct chardev_command command = {
			.op = UBLK_U_IO_FETCH_REQ,
			.queue = queue,
			.tag = tag,
			.addr = buffers_addr(&buffers, tag),
			.sqe_addr = buffers_sqe_addr(&buffers, tag),
		};

		chardev_stage(ring, dev, &command);
	}
	n = io_uring_submit(ring);
	return n == info->queue_depth ? 0 : -EIO;
}

void bind_free_queues(int fd, const struct ublksrv_ctrl_dev_info *info)
{
	bool *bound = calloc(info->nr_hw_queues, sizeof(*bound));
	struct why why = { "queues that had no server" };
	int dev = chardev_open(info->dev_id, &why);
	struct io_uring ring;
	int err = dev < 0 ? dev : 0;

	if (!err)
		err = bound ? chardev_binding(dev, info, bound) : -ENOMEM;
	if (err >= 0)
		err = io_uring_queue_init(info->queue_depth, &ring, 0);
	for (unsigned i = 0; i < info->nr_hw_queues && !err; i++)
		if (!bound[i])
			err = fetch(&ring, dev, info, i);
	help_say(fd, err, why.text);
}
