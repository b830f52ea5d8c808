/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What there is to /dev/ublkcN besides the requests themselves. */
#include "chardev.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define OPEN_MS 10000
#define WAIT_MS 10

int chardev_try(int32_t id)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/dev/ublkc%d", id);
	fd = open(path, O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static bool may_pass(int err)
{
	return err == -EBUSY || err == -ENOENT || err == -EINTR;
}

int chardev_open(int32_t id, struct why *why)
{
	int fd = chardev_try(id);

	for (int waited = 0; may_pass(fd) && waited < OPEN_MS; waited += WAIT_MS) {
		sleep_ms(WAIT_MS);
		fd = chardev_try(id);
	}
	if (fd == -ENOENT)
		return why_set(why, fd, "/dev/ublkc%d: not there; is /dev a devtmpfs?", id);
	if (fd < 0)
		return why_set(why, fd, "/dev/ublkc%d: %s", id, strerror(-fd));
	return fd;
}

const uint8_t *chardev_map(int fd, unsigned queue, unsigned depth, size_t *bytes)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t stride = round_up(UBLK_QUEUE_STRIDE, page);
	void *desc;

	*bytes = round_up(depth * sizeof(struct ublksrv_io_desc), page);
	desc = mmap(NULL, *bytes, PROT_READ, MAP_SHARED | MAP_POPULATE, fd,
		    (off_t)(queue * stride));
	return desc == MAP_FAILED ? NULL : desc;
}

void chardev_stage(struct io_uring *ring, int fd, const struct chardev_command *command)
{
	struct ublksrv_io_cmd payload = {
		.q_id = (uint16_t)command->queue,
		.tag = (uint16_t)command->tag,
		.result = command->result,
		.addr = command->addr,
	};
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

	must(sqe != NULL);
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = fd;
	sqe->cmd_op = command->op;
	sqe->addr = command->sqe_addr;
	sqe->user_data = (uint64_t)command->queue << 16 | command->tag;
	memcpy(sqe->cmd, &payload, sizeof(payload));
}

/* --- binding --------------------------------------------------------------------------------------- */

/* Of a type that is nobody's: looked at after the question whose the queue is. */
#define NO_COMMAND _IOWR('?', 0x20, struct ublksrv_io_cmd)

static int ask(struct io_uring *ring, int fd, unsigned queue)
{
	struct chardev_command command = { .op = NO_COMMAND, .queue = queue };
	struct io_uring_cqe *cqe;
	int res;

	chardev_stage(ring, fd, &command);
	res = io_uring_submit(ring);
	if (res < 0)
		return res;
	do
		res = io_uring_wait_cqe(ring, &cqe);
	while (res == -EINTR);
	if (res < 0)
		return res;
	res = cqe->res;
	io_uring_cqe_seen(ring, cqe);
	return res;
}

int chardev_binding(int fd, const struct ublksrv_ctrl_dev_info *info, bool *queue)
{
	unsigned bound = 0;
	struct io_uring ring;
	int err = io_uring_queue_init(1, &ring, 0);

	if (err)
		return err;
	for (unsigned i = 0; i < info->nr_hw_queues && !err; i++) {
		int res = ask(&ring, fd, i);

		if (res != -EINVAL && res != -EOPNOTSUPP)
			err = res < 0 ? res : -EPROTO;
		if (queue)
			queue[i] = res == -EINVAL;
		bound += res == -EINVAL;
	}
	io_uring_queue_exit(&ring);
	if (err)
		return err;
	if (bound == 0)
		return BOUND_NONE;
	return bound == info->nr_hw_queues ? BOUND_ALL : BOUND_SOME;
}
