/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The helper: jobs are packets with a socket, and each is a child. */
#include "helper.h"
#include "bind.h"
#include "first_start.h"
#include "hold.h"
#include "keep.h"
#include "partitions.h"
#include "tune.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- one packet with a file ---------------------------------------------------------------------- */

union control {
	struct cmsghdr header;
	char space[CMSG_SPACE(sizeof(int))];
};

static int send_job(int fd, const struct help_job *job, int file)
{
	struct iovec iov = { .iov_base = (void *)(uintptr_t)job, .iov_len = sizeof(*job) };
	union control control = { 0 };
	struct msghdr message = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(file));
	memcpy(CMSG_DATA(header), &file, sizeof(file));
	return sendmsg(fd, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* The file that came with the next job, or -1 when the server is gone. */
static int receive_job(int fd, struct help_job *job)
{
	struct iovec iov = { .iov_base = job, .iov_len = sizeof(*job) };
	union control control;
	struct msghdr message = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *header;
	ssize_t n;
	int file;

	do
		n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	header = n == sizeof(*job) ? CMSG_FIRSTHDR(&message) : NULL;
	if (!header || header->cmsg_type != SCM_RIGHTS)
		return -1;
	memcpy(&file, CMSG_DATA(header), sizeof(file));
	return file;
}

/* --- the process ----------------------------------------------------------------------------------- */

_Noreturn static void do_job(const struct help_job *job, int fd)
{
	fd = keep_only(fd);
	switch (job->help) {
	case HELP_FIRST_START:
		first_start_serve(fd, &job->info);
		break;
	case HELP_BIND:
		bind_free_queues(fd, &job->info);
		break;
	case HELP_TUNE:
		tune_device(fd, &job->info);
		break;
	case HELP_HOLD:
		hold_device(fd, &job->info, job->force);
		break;
	case HELP_PARTITIONS:
		await_partitions(fd, &job->info);
		break;
	case HELP_FIND_PARTITIONS:
		find_partitions(fd, &job->info);
		break;
	}
	_exit(0);
}

/* The first start has packets of its own, and takes a closed socket for a failure. */
static void say_no_child(const struct help_job *job, int fd, int err)
{
	char text[128];

	snprintf(text, sizeof(text), "helper process: fork: %s", strerror(err));
	if (job->help != HELP_FIRST_START)
		help_say(fd, job->help == HELP_HOLD ? HOLD_FAILED : -err, text);
}

_Noreturn static void helper_main(int fd, void (*confine)(void))
{
	struct help_job job;
	sigset_t all;
	int file;

	prctl(PR_SET_NAME, "ublk-helper");
	fd = keep_only(fd);
	/* It ends when the server does, and not before; nobody waits for its children. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	signal(SIGCHLD, SIG_IGN);
	confine();
	while ((file = receive_job(fd, &job)) >= 0) {
		pid_t pid = fork();

		if (pid == 0)
			do_job(&job, file);
		if (pid < 0)
			say_no_child(&job, file, errno);
		close(file);
	}
	_exit(0);
}

void help_say(int fd, int32_t res, const char *text)
{
	struct help_answer answer = { .res = res };

	snprintf(answer.text, sizeof(answer.text), "%s", text);
	while (send(fd, &answer, sizeof(answer), MSG_NOSIGNAL) < 0 && errno == EINTR)
		;
}

void help_await_end(int fd)
{
	char byte;

	while (recv(fd, &byte, sizeof(byte), 0) < 0 && errno == EINTR)
		;
}

/* --- the server's side ----------------------------------------------------------------------------- */

int helper_spawn(struct helper *helper, void (*confine)(void), struct why *why)
{
	int fd[2];

	*helper = (struct helper){ .fd = -1 };
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd))
		return why_set(why, -errno, "helper process: socket: %m");
	helper->pid = fork();
	if (helper->pid == 0)
		helper_main(fd[1], confine);
	close(fd[1]);
	helper->fd = fd[0];
	if (helper->pid < 0) {
		int err = -errno;

		helper->pid = 0;
		helper_close(helper);
		return why_set(why, err, "helper process: fork: %s", strerror(-err));
	}
	return 0;
}

int helper_begin(struct helper *helper, const struct help_job *job, int *out, struct why *why)
{
	int fd[2];
	int err;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd))
		return why_set(why, -errno, "helper process: socket: %m");
	err = send_job(helper->fd, job, fd[1]);
	close(fd[1]);
	if (err) {
		close(fd[0]);
		return why_set(why, err, "helper process: %s", strerror(-err));
	}
	*out = fd[0];
	return 0;
}

static int receive_answer(int fd, int timeout_ms, struct help_answer *answer)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	int n;

	do
		n = poll(&poll_fd, 1, timeout_ms);
	while (n < 0 && errno == EINTR);
	if (n == 0)
		return -ETIME;
	return recv(fd, answer, sizeof(*answer), 0) == sizeof(*answer) ? 0 : -EPIPE;
}

int helper_run(struct helper *helper, const struct help_job *job, int timeout_ms, struct why *why)
{
	struct help_answer answer;
	int fd, err = helper_begin(helper, job, &fd, why);

	if (err)
		return err;
	err = receive_answer(fd, timeout_ms, &answer);
	close(fd);
	if (err)
		return why_set(why, err, "helper process: %s",
			       err == -ETIME ? "no answer" : "it has ended");
	return answer.res ? why_set(why, answer.res, "%s", answer.text) : 0;
}

bool helper_lost(struct helper *helper)
{
	if (!helper->pid || waitpid(helper->pid, NULL, WNOHANG) != helper->pid)
		return false;
	helper->pid = 0;
	return true;
}

void helper_close(struct helper *helper)
{
	if (helper->fd >= 0)
		close(helper->fd);
	helper->fd = -1;
	/* It may be waited for by whoever adopts it; there is nothing to learn from it. */
	helper->pid = 0;
}
