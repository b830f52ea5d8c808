/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * delete_device N: DEL_DEV of ublk device N, as it is, without a STOP_DEV before.  While its server does not
 * answer, that holds up ADD_DEV and DEL_DEV of all devices.
 */
#include <fcntl.h>
#include <liburing.h>
#include <linux/ublk_cmd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
	struct io_uring_params params = { .flags = IORING_SETUP_SQE128 };
	struct ublksrv_ctrl_cmd payload = { .queue_id = UINT16_MAX };
	int fd = open("/dev/ublk-control", O_RDWR | O_CLOEXEC);
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
	struct io_uring ring;

	if (argc != 2 || fd < 0 || io_uring_queue_init_params(1, &ring, &params))
		return 2;
	payload.dev_id = (uint32_t)strtoul(argv[1], NULL, 10);
	sqe = io_uring_get_sqe(&ring);
	if (!sqe)
		return 2;
	memset(sqe, 0, 2 * sizeof(*sqe));
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = fd;
	sqe->cmd_op = UBLK_U_CMD_DEL_DEV;
	memcpy(sqe->cmd, &payload, sizeof(payload));
	if (io_uring_submit(&ring) != 1 || io_uring_wait_cqe(&ring, &cqe))
		return 2;
	if (cqe->res)
		fprintf(stderr, "DEL_DEV: %s\n", strerror(-cqe->res));
	return cqe->res != 0;
}
