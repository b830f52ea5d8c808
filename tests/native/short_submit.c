/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A library to preload: the kernel takes only half of the commands with which a process that is no server
 * fetches a device's requests, and then SHORT_SUBMITS times nothing, as when memory is short; and as often
 * nothing of its answers.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <liburing.h>
#include <linux/ublk_cmd.h>
#include <stdlib.h>
#include <unistd.h>

static int (*real)(struct io_uring *ring);
static long fetches, answers; /* that are yet to be refused */
static int halved;

__attribute__((constructor)) static void begin(void)
{
	const char *times = getenv("SHORT_SUBMITS");

	fetches = answers = times ? strtol(times, NULL, 10) : 0;
	*(void **)&real = dlsym(RTLD_NEXT, "io_uring_submit");
}

static void say(void)
{
	static const char words[] = "short_submit.c: commands are not taken\n";

	if (write(STDERR_FILENO, words, sizeof(words) - 1) < 0)
		abort();
}

/* The last command that was staged, or 0; a server's name their file by its place in a table. */
static unsigned command(const struct io_uring *ring)
{
	const struct io_uring_sq *sq = &ring->sq;
	const struct io_uring_sqe *sqe;

	if (ring->flags & IORING_SETUP_SQE128 || io_uring_sq_ready(ring) == 0)
		return 0;
	sqe = &sq->sqes[(sq->sqe_tail - 1) & *sq->kring_mask];
	return sqe->opcode == IORING_OP_URING_CMD && !(sqe->flags & IOSQE_FIXED_FILE) ?
		       sqe->cmd_op :
		       0;
}

static int submit_half(struct io_uring *ring)
{
	unsigned kept = (io_uring_sq_ready(ring) + 1) / 2;
	int n;

	halved = 1;
	ring->sq.sqe_tail -= kept;
	n = real(ring);
	ring->sq.sqe_tail += kept;
	return n;
}

int io_uring_submit(struct io_uring *ring)
{
	unsigned op = command(ring);

	if (op == UBLK_U_IO_FETCH_REQ && fetches && !halved)
		return submit_half(ring);
	if ((op == UBLK_U_IO_FETCH_REQ && fetches-- > 0) ||
	    (op == UBLK_U_IO_COMMIT_AND_FETCH_REQ && answers-- > 0)) {
		say();
		return -EAGAIN;
	}
	return real(ring);
}
