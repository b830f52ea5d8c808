/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The controller: /dev/ublk-control, through a ring that can do nothing else.
 *
 * The ring keeps the credentials of the moment it was made (an io_uring personality), so that the
 * process needs no privileges afterwards.  Kernel docs: ublk, "Control plane".
 */
#include "controller.h"
#include "keep.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/ublk_cmd.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONTROL_PATH "/dev/ublk-control"

/* The server has one command at a time, and those that it has given up. */
#define SLOTS 8

/* A command that the kernel has; it may write to bytes[] until it answers. */
struct slot {
	bool busy;
	_Alignas(8) struct control_packet packet;
};

struct controller {
	int fd; /* to the server */
	int control_fd;
	struct io_uring ring;
	int personality;
	struct slot slot[SLOTS];
	pid_t server;
	int32_t owned; /* device to be deleted at the end, or -1 */
	bool asked; /* by DEL_DEV, which has not succeeded yet */
	uint64_t mark; /* the ublksrv_flags of it */
	int32_t starter; /* who served it when it became ours: the server, the helper's child, or -1 */
};

/* --- start --------------------------------------------------------------------------------------- */

static int open_node(struct controller *controller, struct why *why)
{
	controller->control_fd = open(CONTROL_PATH, O_RDWR | O_CLOEXEC);
	if (controller->control_fd >= 0)
		return 0;
	if (errno == ENOENT || errno == ENODEV || errno == ENXIO)
		return why_set(why, -errno, "%s: %m; load the driver first: modprobe ublk_drv",
			       CONTROL_PATH);
	if (errno == EACCES || errno == EPERM)
		return why_set(why, -errno, "%s: %m; run as root", CONTROL_PATH);
	return why_set(why, -errno, "%s: %m", CONTROL_PATH);
}

static int open_ring(struct controller *controller, struct why *why)
{
	struct io_uring_params params = {
		.flags = IORING_SETUP_SQE128 | IORING_SETUP_R_DISABLED,
	};
	int err = io_uring_queue_init_params(SLOTS, &controller->ring, &params);

	if (err == -EPERM || err == -ENOSYS)
		return why_set(
			why, err,
			"io_uring_setup: %s; do kernel.io_uring_disabled or a seccomp filter forbid it?",
			strerror(-err));
	return err ? why_set(why, err, "io_uring_setup: %s", strerror(-err)) : 0;
}

/* What the ring can do, for whoever takes this process over, is commands to that device. */
static int restrict_ring(struct controller *controller, struct why *why)
{
	struct io_uring_restriction only[] = {
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_URING_CMD },
		{ .opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED, .sqe_flags = IOSQE_FIXED_FILE },
		{ .opcode = IORING_RESTRICTION_REGISTER_OP,
		  .register_op = IORING_REGISTER_ENABLE_RINGS },
	};
	unsigned ring_fd = (unsigned)controller->ring.ring_fd;
	int err;

	controller->personality = io_uring_register_personality(&controller->ring);
	err = controller->personality < 0 ? controller->personality : 0;
	if (!err)
		err = io_uring_register_files(&controller->ring, &controller->control_fd, 1);
	/* liburing 2.3 has wrappers for these two, but its shared library does not export them. */
	if (!err)
		err = io_uring_register(ring_fd, IORING_REGISTER_RESTRICTIONS, only,
					ARRAY_SIZE(only));
	if (!err)
		err = io_uring_register(ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
	return err ? why_set(why, err, "io_uring restrictions: %s", strerror(-err)) : 0;
}

static void say(const struct controller *controller, const struct control_packet *packet)
{
	/* A server that is gone is noticed where packets are received. */
	while (send(controller->fd, packet, sizeof(*packet), MSG_NOSIGNAL) < 0 && errno == EINTR)
		;
}

static int start(struct controller *controller)
{
	struct control_packet first = { 0 };
	struct why why = { "" };

	first.res = open_node(controller, &why);
	if (!first.res)
		first.res = open_ring(controller, &why);
	if (!first.res)
		first.res = restrict_ring(controller, &why);
	memcpy(first.bytes, why.text, sizeof(why.text));
	_Static_assert(sizeof(why.text) <= sizeof(first.bytes), "a sentence fits");
	say(controller, &first);
	return first.res;
}

/* --- commands ------------------------------------------------------------------------------------ */

static void submit(struct controller *controller, struct slot *slot)
{
	const struct control_packet *packet = &slot->packet;
	struct ublksrv_ctrl_cmd payload = {
		.dev_id = (uint32_t)packet->id,
		.queue_id = UINT16_MAX,
		.len = (uint16_t)packet->len,
		.addr = packet->len ? (uintptr_t)packet->bytes : 0,
		.data = { packet->data },
	};
	struct io_uring_sqe *sqe = io_uring_get_sqe(&controller->ring);
	int n;

	must(sqe != NULL); /* as many as slots, and each is submitted at once */
	memset(sqe, 0, 2 * sizeof(*sqe));
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->flags = IOSQE_FIXED_FILE;
	sqe->cmd_op = packet->op;
	sqe->user_data = (uintptr_t)slot;
	sqe->personality = (uint16_t)controller->personality;
	memcpy(sqe->cmd, &payload, sizeof(payload));
	slot->busy = true;
	do
		n = io_uring_submit(&controller->ring);
	while (n == -EINTR || n == -EAGAIN);
	must(n == 1);
}

static struct slot *free_slot(struct controller *controller)
{
	for (int i = 0; i < SLOTS; i++)
		if (!controller->slot[i].busy)
			return &controller->slot[i];
	return NULL;
}

static bool server_is_gone(const struct controller *controller)
{
	struct pollfd hangup = { .fd = controller->fd };

	return poll(&hangup, 1, 0) == 1;
}

static void own(struct controller *controller, const struct ublksrv_ctrl_dev_info *info)
{
	controller->owned = info->dev_id;
	controller->asked = false;
	controller->mark = info->ublksrv_flags;
	controller->starter = info->ublksrv_pid;
}

static bool is_gone(const struct control_packet *packet, int32_t res)
{
	return packet->op == UBLK_U_CMD_DEL_DEV && (res == 0 || res == -ENODEV);
}

static void answer(struct controller *controller, struct slot *slot, int32_t res)
{
	struct control_packet *packet = &slot->packet;

	if (packet->id == controller->owned && is_gone(packet, res))
		controller->owned = -1;
	if (packet->op == UBLK_U_CMD_ADD_DEV && res == 0) {
		struct ublksrv_ctrl_dev_info info;

		memcpy(&info, packet->bytes, sizeof(info));
		own(controller, &info);
	}
	slot->busy = false;
	packet->res = res;
	if (packet->sequence) /* else it is our own */
		say(controller, packet);
}

static void reap(struct controller *controller)
{
	struct io_uring_cqe *cqe;

	while (io_uring_peek_cqe(&controller->ring, &cqe) == 0) {
		struct slot *slot = io_uring_cqe_get_data(cqe);
		int32_t res = cqe->res;

		io_uring_cqe_seen(&controller->ring, cqe);
		answer(controller, slot, res);
	}
}

static void wait_and_reap(struct controller *controller)
{
	struct io_uring_cqe *cqe;

	if (io_uring_wait_cqe(&controller->ring, &cqe) == 0)
		reap(controller);
}

/* A command of our own, to its end; @info: what GET_DEV_INFO says. */
static int32_t run(struct controller *controller, uint32_t op, int32_t id,
		   struct ublksrv_ctrl_dev_info *info)
{
	struct slot *slot = free_slot(controller);

	if (!slot)
		return -EBUSY;
	slot->packet = (struct control_packet){
		.op = op,
		.id = id,
		.len = info ? sizeof(*info) : 0,
	};
	submit(controller, slot);
	while (slot->busy)
		wait_and_reap(controller);
	if (info)
		memcpy(info, slot->packet.bytes, sizeof(*info));
	return slot->packet.res;
}

/* What there is by that number at this moment, if anything, is the server's. */
static int32_t own_by_number(struct controller *controller, int32_t id)
{
	struct ublksrv_ctrl_dev_info info;
	int32_t err;

	controller->owned = -1;
	if (id < 0)
		return 0;
	err = run(controller, UBLK_U_CMD_GET_DEV_INFO, id, &info);
	if (!err)
		own(controller, &info);
	return err == -ENODEV ? 0 : err;
}

/* Up to 6.12 the driver starts a device whose tags have died with their server, and breaks. */
static bool would_serve(uint32_t op)
{
	return op == UBLK_U_CMD_START_DEV || op == UBLK_U_CMD_END_USER_RECOVERY;
}

/* One packet from the server.  False when it is gone. */
static bool listen_once(struct controller *controller)
{
	struct control_packet packet;
	struct slot *slot = free_slot(controller);
	ssize_t n = recv(controller->fd, &packet, sizeof(packet), 0);

	if (n < 0)
		return errno == EINTR;
	if (n != sizeof(packet) || packet.len > sizeof(packet.bytes))
		return false;
	if (packet.op == CONTROL_OWN || !slot) {
		packet.res = packet.op == CONTROL_OWN ? own_by_number(controller, packet.id) :
							-EBUSY;
		say(controller, &packet);
		return true;
	}
	if (would_serve(packet.op) && server_is_gone(controller))
		return false;
	if (packet.op == UBLK_U_CMD_DEL_DEV && packet.id == controller->owned)
		controller->asked = true;
	slot->packet = packet;
	submit(controller, slot);
	return true;
}

static void serve(struct controller *controller)
{
	struct pollfd fds[] = {
		{ .fd = controller->fd, .events = POLLIN },
		{ .fd = controller->ring.ring_fd, .events = POLLIN },
	};
	bool listening = true;

	while (listening) {
		if (poll(fds, ARRAY_SIZE(fds), -1) < 0)
			continue;
		reap(controller);
		if (fds[0].revents)
			listening = listen_once(controller);
	}
}

/* --- end ----------------------------------------------------------------------------------------- */

static bool is_adding(const struct controller *controller)
{
	for (int i = 0; i < SLOTS; i++)
		if (controller->slot[i].busy && controller->slot[i].packet.op == UBLK_U_CMD_ADD_DEV)
			return true;
	return false;
}

/*
 * The next process may have been faster: then it has taken our device over, or deleted it, and the number
 * may be that of another one, its own or a stranger's.
 */
static bool is_ours(struct controller *controller)
{
	struct ublksrv_ctrl_dev_info info;
	int32_t pid;

	if (controller->owned < 0 ||
	    run(controller, UBLK_U_CMD_GET_DEV_INFO, controller->owned, &info) ||
	    controller->owned < 0)
		return false;
	pid = info.ublksrv_pid;
	return info.ublksrv_flags == controller->mark &&
	       (pid == -1 || pid == controller->server || pid == controller->starter);
}

/*
 * The server was killed, or could not delete its device, or has not waited for that: its DEL ends with us, and
 * perhaps before it has begun, as it waits for every other ADD and DEL.  Without a server, requests fail and
 * commands do not wait for long.  Whatever else could wait comes after them.
 */
static void clean_up(struct controller *controller)
{
	int32_t id;
	int err;

	/* What it makes is nobody's, and nobody would know of it. */
	while (is_adding(controller))
		wait_and_reap(controller);
	if (!is_ours(controller))
		return;
	if (!controller->asked) {
		run(controller, UBLK_U_CMD_STOP_DEV, controller->owned, NULL);
		if (!is_ours(controller))
			return;
	}
	id = controller->owned;
	/*
	 * The other DEL would wait for mounts, one of which only our own mount namespace may have.  For a
	 * device that has been deleted, and that somebody keeps open, this does nothing.
	 */
	err = run(controller, UBLK_U_CMD_DEL_DEV_ASYNC, id, NULL);
	if (err && err != -ENODEV)
		log_error("/dev/ublkb%d: its server is gone; it cannot be deleted: %s", id,
			  strerror(-err));
	else if (!controller->asked)
		log_warn("/dev/ublkb%d: its server is gone, and so it has been deleted", id);
}

void controller_run(int fd, void (*confine)(void))
{
	static struct controller controller;
	sigset_t all;

	/* It ends when the server does, and not before. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	/* Not the ends of other sockets, nor of pipes: somebody waits until they are closed. */
	controller.fd = keep_only(fd);
	controller.server = getppid();
	controller.owned = -1;
	if (start(&controller))
		_exit(1);
	confine();
	serve(&controller);
	clean_up(&controller);
	_exit(0);
}
