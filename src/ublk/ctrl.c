/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Control commands: the server's side.  Each has a deadline, and a sentence when it fails. */
#include "ctrl.h"
#include "controller.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* ADD and DEL of all devices take turns: a hanging server of another device delays ours. */
#define TIMEOUT_MS 10000u
#define TIMEOUT_ADD_MS 30000u
#define TIMEOUT_START_MS 60000u
#define TIMEOUT_DELETE_MS 2000u

/* The controller ends at once, or it has something to wait for that we need not wait for. */
#define CLOSE_MS 3000

/* --- the controller ------------------------------------------------------------------------------ */

int ctrl_spawn(struct ctrl *ctrl, void (*confine)(void), struct why *why)
{
	int fd[2];

	*ctrl = (struct ctrl){ .fd = -1 };
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd))
		return why_set(why, -errno, "control process: socket: %m");
	ctrl->pid = fork();
	if (ctrl->pid == 0) {
		prctl(PR_SET_NAME, "ublk-control");
		controller_run(fd[1], confine);
	}
	close(fd[1]);
	ctrl->fd = fd[0];
	if (ctrl->pid < 0) {
		int err = -errno;

		ctrl->pid = 0;
		ctrl_close(ctrl);
		return why_set(why, err, "control process: fork: %s", strerror(-err));
	}
	return 0;
}

bool ctrl_lost(struct ctrl *ctrl)
{
	if (!ctrl->pid || waitpid(ctrl->pid, NULL, WNOHANG) != ctrl->pid)
		return false;
	ctrl->pid = 0;
	return true;
}

void ctrl_close(struct ctrl *ctrl)
{
	if (ctrl->fd >= 0)
		close(ctrl->fd);
	ctrl->fd = -1;
	for (int tries = 0; ctrl->pid && tries < CLOSE_MS / 10; tries++) {
		if (ctrl_lost(ctrl))
			return;
		sleep_ms(10);
	}
}

/* --- one command --------------------------------------------------------------------------------- */

/*
 * The answer to the last command.  Late ones to commands that were given up have other numbers.
 * 0, -ETIME, or -EPIPE when the controller is gone.
 */
static int receive(struct ctrl *ctrl, struct control_packet *packet, unsigned timeout_ms)
{
	int64_t deadline = monotonic_ms() + timeout_ms;

	for (;;) {
		struct pollfd fds = { .fd = ctrl->fd, .events = POLLIN };
		int64_t left = deadline - monotonic_ms();
		int n = poll(&fds, 1, left > 0 ? (int)left : 0);

		if (n == 0)
			return -ETIME;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 || recv(ctrl->fd, packet, sizeof(*packet), 0) != sizeof(*packet))
			return -EPIPE;
		if (packet->sequence == ctrl->sequence)
			return 0;
	}
}

int ctrl_ready(struct ctrl *ctrl, struct why *why)
{
	struct control_packet first;
	int err = receive(ctrl, &first, TIMEOUT_MS);

	if (err)
		return why_set(why, err, "control process: %s", strerror(-err));
	return first.res ? why_set(why, first.res, "%s", (const char *)first.bytes) : 0;
}

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

static int ctrl_send(struct ctrl *ctrl, const struct ctrl_command *command)
{
	struct control_packet packet = {
		.sequence = ++ctrl->sequence,
		.op = command->op,
		.id = command->id,
		.data = command->data,
		.len = (uint32_t)command->len,
	};

	must(command->len <= sizeof(packet.bytes));
	if (command->in)
		memcpy(packet.bytes, command->in, command->len);
	return send(ctrl->fd, &packet, sizeof(packet), MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int ctrl_refused(const struct ctrl_command *command, int err, struct why *why)
{
	char device[32] = "";

	if (command->id >= 0)
		snprintf(device, sizeof(device), " of device %d", command->id);
	if (err == -ETIME)
		return why_set(why, err, "ublk: %s%s: no answer within %u s; does %s hang?",
			       command->name, device, command->timeout_ms / 1000,
			       command->op == UBLK_U_CMD_START_DEV ? "the storage below the image" :
								     "another ublk device");
	if (err == -EPIPE)
		return why_set(why, err, "ublk: %s%s: the control process is gone", command->name,
			       device);
	return why_set(why, err, "ublk: %s%s: %s", command->name, device, strerror(-err));
}

static int ctrl_run(struct ctrl *ctrl, const struct ctrl_command *command, struct why *why)
{
	struct control_packet packet;
	int err = ctrl_send(ctrl, command);

	if (!err)
		err = receive(ctrl, &packet, command->timeout_ms);
	if (!err && packet.res < 0)
		err = packet.res;
	if (err)
		return ctrl_refused(command, err, why);
	if (command->out)
		memcpy(command->out, packet.bytes, command->len);
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

int ctrl_info(struct ctrl *ctrl, struct ublksrv_ctrl_dev_info *info, struct why *why)
{
	struct ctrl_command command = {
		.name = "GET_DEV_INFO",
		.op = UBLK_U_CMD_GET_DEV_INFO,
		.id = info->dev_id,
		.out = info,
		.len = sizeof(*info),
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
		return why_set(
			why, err,
			"ublk: device %d exists already; choose another --device-id or none, "
			"or, if nobody serves it, remove it with qcow2-ublkd stop /dev/ublkb%d",
			info->dev_id, info->dev_id);
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

int ctrl_params(struct ctrl *ctrl, int32_t id, struct ublk_params *params, struct why *why)
{
	struct ctrl_command command = {
		.name = "GET_PARAMS",
		.op = UBLK_U_CMD_GET_PARAMS,
		.id = id,
		.in = params,
		.out = params,
		.len = sizeof(*params),
		.timeout_ms = TIMEOUT_MS,
	};

	*params = (struct ublk_params){ .len = sizeof(*params) };
	return ctrl_run(ctrl, &command, why);
}

int ctrl_update_size(struct ctrl *ctrl, int32_t id, uint64_t sectors, struct why *why)
{
	struct ctrl_command command = {
		.name = "UPDATE_SIZE",
		.op = UBLK_U_CMD_UPDATE_SIZE,
		.id = id,
		.data = sectors,
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

int ctrl_forget(struct ctrl *ctrl, int32_t id, struct why *why)
{
	struct ctrl_command command = {
		.name = "START_USER_RECOVERY",
		.op = UBLK_U_CMD_START_USER_RECOVERY,
		.id = id,
		.timeout_ms = TIMEOUT_MS,
	};

	return ctrl_run(ctrl, &command, why);
}

int ctrl_resume(struct ctrl *ctrl, int32_t id, struct why *why)
{
	struct ctrl_command command = {
		.name = "END_USER_RECOVERY",
		.op = UBLK_U_CMD_END_USER_RECOVERY,
		.id = id,
		.data = (uint64_t)getpid(),
		.timeout_ms = TIMEOUT_MS,
	};

	return ctrl_run(ctrl, &command, why);
}

int ctrl_own(struct ctrl *ctrl, int32_t id, struct why *why)
{
	struct ctrl_command command = {
		.name = "control",
		.op = CONTROL_OWN,
		.id = id,
		.timeout_ms = TIMEOUT_MS,
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

void ctrl_say_undeleted(int32_t id)
{
	log_info("/dev/ublkb%d: still there: it is open somewhere, or another ublk device hangs; it "
		 "goes when that has ended",
		 id);
}

int ctrl_stop_begin(struct ctrl *ctrl, int32_t id, struct why *why)
{
	struct ctrl_command command = {
		.name = "STOP_DEV",
		.op = UBLK_U_CMD_STOP_DEV,
		.id = id,
	};
	int err = ctrl_send(ctrl, &command);

	return err ? ctrl_refused(&command, err, why) : 0;
}

int ctrl_stop_wait(struct ctrl *ctrl, unsigned timeout_ms)
{
	struct control_packet packet;
	int err = receive(ctrl, &packet, timeout_ms);

	if (err)
		return err;
	return packet.res < 0 ? packet.res : 0;
}
