/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A library to preload: the process that sends control commands stands still for LATE_MS before it sends its first
 * GET_DEV_INFO, as on a machine that has too much to do.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <liburing.h>
#include <linux/ublk_cmd.h>
#include <stdlib.h>
#include <time.h>

static int (*real)(struct io_uring *ring);
static long late_ms;

__attribute__((constructor)) static void begin(void)
{
	const char *ms = getenv("LATE_MS");

	late_ms = ms ? strtol(ms, NULL, 10) : 0;
	*(void **)&real = dlsym(RTLD_NEXT, "io_uring_submit");
}

/* Others than the control process have no ring of such entries, which are two in size. */
static int asks(const struct io_uring *ring)
{
	const struct io_uring_sq *sq = &ring->sq;
	const struct io_uring_sqe *sqe;

	if (!(ring->flags & IORING_SETUP_SQE128) || sq->sqe_head == sq->sqe_tail)
		return 0;
	sqe = &sq->sqes[((sq->sqe_tail - 1) & *sq->kring_mask) << 1];
	return sqe->opcode == IORING_OP_URING_CMD && sqe->cmd_op == UBLK_U_CMD_GET_DEV_INFO;
}

int io_uring_submit(struct io_uring *ring)
{
	if (late_ms && asks(ring)) {
		struct timespec left = { late_ms / 1000, late_ms % 1000 * 1000000 };

		late_ms = 0;
		while (nanosleep(&left, &left))
			;
	}
	return real(ring);
}
