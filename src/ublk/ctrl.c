/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Control commands: one 128-byte SQE each, a deadline, and a sentence when it fails. */
#include "ctrl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define CTRL_PATH "/dev/ublk-control"

/* ADD and DEL of all devices take turns: a hanging server of another device delays ours. */
#define TIMEOUT_MS 10000u
#define TIMEOUT_ADD_MS 30000u
#define TIMEOUT_START_MS 60000u
#define TIMEOUT_DELETE_MS 2000u

struct ctrl_command {
	const char *name;
	uint32_t op;
	int32_t id;
	const void *in; /* @len bytes, or NULL */
	void *out; /* @len bytes, or NULL */
	size_t len;
	uint64_t data;
	unsigned timeout_ms;
};

/* --- life -------------------------------------------------------------------------------------- */

static int open_node(struct ctrl *ctrl, struct why *why)
{
	ctrl->fd = open(CTRL_PATH, O_RDWR | O_CLOEXEC);
	if (ctrl->fd >= 0)
		return 0;
	if (errno == ENOENT || errno == ENODEV || errno == ENXIO)
		return why_set(why, -errno, "%s: %m; load the driver first: modprobe ublk_drv",
			       CTRL_PATH);
	if (errno == EACCES || errno == EPERM)
		return why_set(why, -errno, "%s: %m; run as root", CTRL_PATH);
	return why_set(why, -errno, "%s: %m", CTRL_PATH);
}

static int open_ring(struct ctrl *ctrl, struct why *why)
{
	struct io_uring_params params = {
		.flags = IORING_SETUP_SQE128 | IORING_SETUP_R_DISABLED,
	};
	int err = io_uring_queue_init_params(CTRL_SLOTS, &ctrl->ring, &params);

	if (err == -EPERM || err == -ENOSYS)
		return why_set(why, err,
			       "io_uring_setup: %s; do kernel.io_uring_disabled or a seccomp filter forbid it?",
			       strerror(-err));
	if (err)
		return why_set(why, err, "io_uring_setup: %s", strerror(-err));
	ctrl->live = true;
	return 0;
}

/*
 * What the ring can do for whoever takes this process over, later, is exactly this: commands to
 * the control device.
 */
static int restrict_ring(struct ctrl *ctrl, struct why *why)
{
	struct io_uring_restriction only[] = {
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_URING_CMD },
		{ .opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED, .sqe_flags = IOSQE_FIXED_FILE },
		{ .opcode = IORING_RESTRICTION_REGISTER_OP,
		  .register_op = IORING_REGISTER_ENABLE_RINGS },
	};
	int ring_fd = ctrl->ring.ring_fd;
	int err;

	ctrl->personality = io_uring_register_personality(&ctrl->ring);
	if (ctrl->personality < 0)
		return why_set(why, ctrl->personality, "io_uring personality: %s",
			       strerror(-ctrl->personality));
	err = io_uring_register_files(&ctrl->ring, &ctrl->fd, 1);
	/* liburing 2.3 has wrappers for these two, but its shared library does not export them. */
	if (!err)
		err = io_uring_register((unsigned)ring_fd, IORING_REGISTER_RESTRICTIONS, only,
					ARRAY_SIZE(only));
	if (!err)
		err = io_uring_register((unsigned)ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
	if (err)
		return why_set(why, err, "io_uring restrictions: %s", strerror(-err));
	return 0;
}

int ctrl_open(struct ctrl *ctrl, struct why *why)
{
	int err;

	memset(ctrl, 0, sizeof(*ctrl));
	err = open_node(ctrl, why);
	if (!err)
		err = open_ring(ctrl, why);
	if (!err)
		err = restrict_ring(ctrl, why);
	if (err)
		ctrl_close(ctrl);
	return err;
}

void ctrl_close(struct ctrl *ctrl)
{
	if (ctrl->live)
		io_uring_queue_exit(&ctrl->ring);
	ctrl->live = false;
	if (ctrl->fd >= 0)
		close(ctrl->fd);
	ctrl->fd = -1;
}

/* --- one command ------------------------------------------------------------------------------- */

static int slot_take(struct ctrl *ctrl)
{
	for (int i = 0; i < CTRL_SLOTS; i++) {
		if (ctrl->slot[i].state == SLOT_FREE) {
			ctrl->slot[i].state = SLOT_BUSY;
			ctrl->slot[i].sequence = ++ctrl->sequence;
			return i;
		}
	}
	return -EBUSY;
}

static void fill_sqe(struct io_uring_sqe *sqe, const struct ctrl *ctrl,
		     const struct ctrl_command *command, const struct ctrl_slot *slot)
{
	struct ublksrv_ctrl_cmd payload = {
		.dev_id = (uint32_t)command->id,
		.queue_id = UINT16_MAX,
		.len = (uint16_t)command->len,
		.addr = command->len ? (uintptr_t)slot->bytes : 0,
		.data = { command->data },
	};

	memset(sqe, 0, 2 * sizeof(*sqe));
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->flags = IOSQE_FIXED_FILE;
	sqe->cmd_op = command->op;
	sqe->user_data = slot->sequence;
	sqe->personality = (uint16_t)ctrl->personality;
	memcpy(sqe->cmd, &payload, sizeof(payload));
}

/* The ticket for ctrl_wait(), or -errno. */
static int ctrl_send(struct ctrl *ctrl, const struct ctrl_command *command)
{
	int ticket = slot_take(ctrl);
	struct ctrl_slot *slot;
	struct io_uring_sqe *sqe;
	int n;

	if (ticket < 0)
		return ticket;
	slot = &ctrl->slot[ticket];
	must(command->len <= CTRL_BYTES);
	memset(slot->bytes, 0, sizeof(slot->bytes));
	if (command->in)
		memcpy(slot->bytes, command->in, command->len);
	sqe = io_uring_get_sqe(&ctrl->ring);
	must(sqe != NULL); /* as many as slots, and each is submitted at once */
	fill_sqe(sqe, ctrl, command, slot);
	do
		n = io_uring_submit(&ctrl->ring);
	while (n == -EINTR || n == -EAGAIN);
	if (n < 0)
		return n; /* the slot stays taken: its SQE is still in the ring */
	return ticket;
}

/* Whose is it?  The answer to a command that nobody waits for only frees its slot. */
static void ctrl_answered(struct ctrl *ctrl, const struct io_uring_cqe *cqe)
{
	for (int i = 0; i < CTRL_SLOTS; i++) {
		struct ctrl_slot *slot = &ctrl->slot[i];

		if (slot->state == SLOT_FREE || slot->sequence != cqe->user_data)
			continue;
		slot->res = cqe->res;
		slot->state = slot->state == SLOT_LOST ? SLOT_FREE : SLOT_DONE;
	}
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int ctrl_wait(struct ctrl *ctrl, int ticket, unsigned timeout_ms)
{
	struct ctrl_slot *slot = &ctrl->slot[ticket];
	int64_t deadline = now_ms() + timeout_ms;

	while (slot->state != SLOT_DONE) {
		int64_t left = deadline - now_ms();
		struct __kernel_timespec ts = {
			.tv_sec = left / 1000,
			.tv_nsec = left % 1000 * 1000000,
		};
		struct io_uring_cqe *cqe;
		int err = left > 0 ? io_uring_wait_cqe_timeout(&ctrl->ring, &cqe, &ts) : -ETIME;

		if (err == -EINTR || err == -EAGAIN)
			continue;
		if (err)
			return err;
		ctrl_answered(ctrl, cqe);
		io_uring_cqe_seen(&ctrl->ring, cqe);
	}
	slot->state = SLOT_FREE;
	return slot->res < 0 ? slot->res : 0;
}

void ctrl_abandon(struct ctrl *ctrl, int ticket)
{
	ctrl->slot[ticket].state = SLOT_LOST;
}

static int ctrl_refused(const struct ctrl_command *command, int err, struct why *why)
{
	char device[32] = "";

	if (command->id >= 0)
		snprintf(device, sizeof(device), " of device %d", command->id);
	if (err == -ETIME)
		return why_set(why, err,
			       "ublk: %s%s: no answer within %u s; does the server of some ublk device hang?",
			       command->name, device, command->timeout_ms / 1000);
	return why_set(why, err, "ublk: %s%s: %s", command->name, device, strerror(-err));
}

static int ctrl_run(struct ctrl *ctrl, const struct ctrl_command *command, struct why *why)
{
	int ticket = ctrl_send(ctrl, command);
	int err;

	if (ticket < 0)
		return ctrl_refused(command, ticket, why);
	err = ctrl_wait(ctrl, ticket, command->timeout_ms);
	if (err == -ETIME)
		ctrl_abandon(ctrl, ticket);
	if (err)
		return ctrl_refused(command, err, why);
	if (command->out)
		memcpy(command->out, ctrl->slot[ticket].bytes, command->len);
	return 0;
}

/* --- the commands ------------------------------------------------------------------------------ */

int ctrl_features(struct ctrl *ctrl, uint64_t *features, struct why *why)
{
	struct ctrl_command command = {
		.name = "GET_FEATURES",
		.op = UBLK_U_CMD_GET_FEATURES,
		.id = -1,
		.out = features,
		.len = UBLK_FEATURES_LEN,
		.timeout_ms = TIMEOUT_MS,
	};

	return ctrl_run(ctrl, &command, why);
}

int ctrl_add(struct ctrl *ctrl, struct ublksrv_ctrl_dev_info *info, struct why *why)
{
	struct ctrl_command command = {
		.name = "ADD_DEV",
		.op = UBLK_U_CMD_ADD_DEV,
		.id = info->dev_id,
		.in = info,
		.out = info,
		.len = sizeof(*info),
		.timeout_ms = TIMEOUT_ADD_MS,
	};
	int err = ctrl_run(ctrl, &command, why);

	if (err == -EEXIST)
		return why_set(why, err,
			       "ublk: device %d exists already; choose another --device-id or none",
			       info->dev_id);
	if (err == -EPERM)
		return why_set(why, err, "ublk: ADD_DEV: %s; it takes CAP_SYS_ADMIN on the host",
			       strerror(-err));
	return err;
}

int ctrl_set_params(struct ctrl *ctrl, int32_t id, const struct ublk_params *params,
		    struct why *why)
{
	struct ctrl_command command = {
		.name = "SET_PARAMS",
		.op = UBLK_U_CMD_SET_PARAMS,
		.id = id,
		.in = params,
		.len = params->len,
		.timeout_ms = TIMEOUT_MS,
	};

	return ctrl_run(ctrl, &command, why);
}

int ctrl_affinity(struct ctrl *ctrl, int32_t id, unsigned queue, cpu_set_t *cpus, size_t bytes,
		  struct why *why)
{
	struct ctrl_command command = {
		.name = "GET_QUEUE_AFFINITY",
		.op = UBLK_U_CMD_GET_QUEUE_AFFINITY,
		.id = id,
		.out = cpus,
		.len = bytes,
		.data = queue,
		.timeout_ms = TIMEOUT_MS,
	};

	return ctrl_run(ctrl, &command, why);
}

int ctrl_start(struct ctrl *ctrl, int32_t id, struct why *why)
{
	struct ctrl_command command = {
		.name = "START_DEV",
		.op = UBLK_U_CMD_START_DEV,
		.id = id,
		.data = (uint64_t)getpid(),
		.timeout_ms = TIMEOUT_START_MS,
	};

	return ctrl_run(ctrl, &command, why);
}

int ctrl_delete(struct ctrl *ctrl, int32_t id, struct why *why)
{
	struct ctrl_command command = {
		.name = "DEL_DEV",
		.op = UBLK_U_CMD_DEL_DEV,
		.id = id,
		.timeout_ms = TIMEOUT_DELETE_MS,
	};

	return ctrl_run(ctrl, &command, why);
}

int ctrl_stop_begin(struct ctrl *ctrl, int32_t id, struct why *why)
{
	struct ctrl_command command = {
		.name = "STOP_DEV",
		.op = UBLK_U_CMD_STOP_DEV,
		.id = id,
	};
	int ticket = ctrl_send(ctrl, &command);

	return ticket < 0 ? ctrl_refused(&command, ticket, why) : ticket;
}
