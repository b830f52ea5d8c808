/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command of --run. */
#include "run.h"
#include "janitor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEVICE_BYTES 64

/* The shell's own status for a command that cannot be executed. */
#define STATUS_NO_EXEC 126

/* In the new process: wait for the name of the device; without one there is nothing to do. */
_Noreturn static void wait_and_exec(int start_fd, const char *command)
{
	char device[DEVICE_BYTES];
	ssize_t n;

	do
		n = read(start_fd, device, sizeof(device) - 1);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		_exit(0);
	device[n] = '\0';
	setenv("device", device, 1);
	unsetenv("NOTIFY_SOCKET");
	execl("/bin/sh", "sh", "-c", command, (char *)NULL);
	log_error("/bin/sh: %m");
	_exit(STATUS_NO_EXEC);
}

int run_prepare(struct run *run, const char *command, struct why *why)
{
	int pipe_fd[2];

	*run = (struct run){ .start_fd = -1 };
	if (!command)
		return 0;
	if (pipe2(pipe_fd, O_CLOEXEC))
		return why_set(why, -errno, "--run: pipe: %m");
	run->pid = fork();
	if (run->pid < 0) {
		int err = -errno;

		close(pipe_fd[0]);
		close(pipe_fd[1]);
		run->pid = 0;
		return why_set(why, err, "--run: fork: %s", strerror(-err));
	}
	if (run->pid == 0) {
		close(pipe_fd[1]);
		wait_and_exec(pipe_fd[0], command);
	}
	close(pipe_fd[0]);
	run->start_fd = pipe_fd[1];
	return 0;
}

void run_start(struct run *run, const char *device)
{
	if (!run->pid)
		return;
	/* A process that is gone already is noticed by whoever looks at our children next. */
	if (write(run->start_fd, device, strlen(device)) < 0 && errno != EPIPE)
		log_warn("--run: pipe: %m");
	close(run->start_fd);
	run->start_fd = -1;
}

int run_signal(const struct run *run, int signal)
{
	if (kill(run->pid, signal) == 0)
		return 0;
	return errno == EPERM ? janitor_signal(signal) : -errno;
}

static void set_ended(struct run *run, int status)
{
	run->ended = true;
	run->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

bool run_ended(struct run *run)
{
	int status;

	if (run->pid && !run->ended && waitpid(run->pid, &status, WNOHANG) == run->pid)
		set_ended(run, status);
	return run->ended;
}

void run_finish(struct run *run)
{
	int status;
	pid_t pid;

	if (!run->pid || run->ended)
		return;
	if (run->start_fd >= 0)
		close(run->start_fd);
	run->start_fd = -1;
	do
		pid = waitpid(run->pid, &status, 0);
	while (pid < 0 && errno == EINTR);
	if (pid == run->pid)
		set_ended(run, status);
}
