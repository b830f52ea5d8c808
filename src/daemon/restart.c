/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Arguments, directory, standard streams, control group, limits and more of one process for another. */
#include "restart.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NOT_UTF8 "\\ufffd" /* in the place of what a report cannot hold */
#define EXEC_STATUS 126

/* --- what there was -------------------------------------------------------------------------------- */

/* A text of the report, from malloc(3). */
static int take_text(const struct report *report, const char *key, char **text, struct why *why)
{
	const char *value = report_find(report, key);
	size_t size = value ? strlen(value) + 1 : 1;

	*text = malloc(size);
	if (!*text)
		return why_set(why, -ENOMEM, "out of memory");
	report_get_text(report, key, *text, size);
	if (!value || strstr(value, NOT_UTF8))
		return why_set(why, -EILSEQ,
			       "its %s cannot be told as UTF-8; end it with SIGKILL and start it "
			       "with the same command, which has the same effect",
			       key);
	return 0;
}

static int take_arguments(struct restart *restart, const struct report *origin, struct why *why)
{
	char key[32] = "arguments.0";
	unsigned n = 0;
	int err = 0;

	while (snprintf(key, sizeof(key), "arguments.%u", n), report_find(origin, key))
		n++;
	restart->argv = calloc(n + 1, sizeof(*restart->argv));
	if (!restart->argv)
		return why_set(why, -ENOMEM, "out of memory");
	for (unsigned i = 0; i < n && !err; i++) {
		snprintf(key, sizeof(key), "arguments.%u", i);
		err = take_text(origin, key, &restart->argv[i], why);
	}
	if (!err && n == 0)
		return why_set(why, -EPROTO, "it does not tell its arguments");
	return err;
}

/* The very same files: with their offsets, and whatever they are. */
static void take_streams(struct restart *restart, pid_t pid)
{
	int process = (int)syscall(SYS_pidfd_open, pid, 0);
	int err = process < 0 ? errno : 0;

	for (int i = 0; i < 3 && process >= 0; i++) {
		restart->stream[i] = (int)syscall(SYS_pidfd_getfd, process, i, 0);
		if (restart->stream[i] < 0 && errno != EBADF)
			err = errno;
	}
	if (process >= 0)
		close(process);
	if (err)
		log_warn("cannot take all standard streams of process %d: %s; what the new one "
			 "would say there goes nowhere",
			 (int)pid, strerror(err));
}

static FILE *open_proc(pid_t pid, const char *file)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	return fopen(path, "re");
}

/* Who ends a session must not end the daemon of another one. */
static void take_cgroup(struct restart *restart, pid_t pid)
{
	char line[PATH_MAX], procs[PATH_MAX + 32];
	FILE *in = open_proc(pid, "cgroup");

	if (!in)
		return;
	while (fgets(line, sizeof(line), in)) {
		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, "0::/", 4) != 0)
			continue;
		snprintf(procs, sizeof(procs), "/sys/fs/cgroup%s/cgroup.procs", line + 3);
		restart->cgroup = open(procs, O_WRONLY | O_CLOEXEC);
		if (restart->cgroup < 0 && errno != ENOENT)
			log_warn("%s: %m; the new process is in our control group instead", procs);
		break;
	}
	fclose(in);
}

/* Whoever has protected it from the OOM killer means the one that serves. */
static void take_oom_score(struct restart *restart, pid_t pid)
{
	FILE *in = open_proc(pid, "oom_score_adj");

	if (!in)
		return;
	if (!fgets(restart->oom_score_adj, sizeof(restart->oom_score_adj), in))
		restart->oom_score_adj[0] = '\0';
	fclose(in);
}

/* Whether that signal is to have no effect: see signals.c. */
static void take_hangup(struct restart *restart, pid_t pid)
{
	FILE *in = open_proc(pid, "status");
	unsigned long long ignored;
	char line[256];

	while (in && fgets(line, sizeof(line), in))
		if (sscanf(line, "SigIgn: %llx", &ignored) == 1)
			restart->ignores_hangup = ignored >> (SIGHUP - 1) & 1;
	if (in)
		fclose(in);
}

/* Of memory and files, say: who has started it means the one that serves. */
static void take_limits(struct restart *restart, pid_t pid)
{
	for (unsigned i = 0; i < RLIM_NLIMITS; i++) {
		restart->limited[i] = prlimit(pid, i, NULL, &restart->limit[i]) == 0;
		if (!restart->limited[i])
			log_warn("cannot read limit %u of the old process: %m", i);
	}
}

int restart_prepare(struct restart *restart, pid_t pid, const struct report *origin,
		    struct why *why)
{
	int err;

	*restart = (struct restart){ .stream = { -1, -1, -1 }, .cgroup = -1 };
	err = take_arguments(restart, origin, why);
	if (!err)
		err = take_text(origin, "directory", &restart->directory, why);
	if (err)
		return err;
	take_streams(restart, pid);
	take_cgroup(restart, pid);
	take_oom_score(restart, pid);
	take_hangup(restart, pid);
	take_limits(restart, pid);
	return 0;
}

void restart_free(struct restart *restart)
{
	for (char **arg = restart->argv; arg && *arg; arg++)
		free(*arg);
	free(restart->argv);
	free(restart->directory);
	for (int i = 0; i < 3; i++)
		if (restart->stream[i] >= 0)
			close(restart->stream[i]);
	if (restart->cgroup >= 0)
		close(restart->cgroup);
}

/* --- the new process --------------------------------------------------------------------------------- */

static void set_streams(const struct restart *restart)
{
	for (int i = 0; i < 3; i++) {
		int fd = restart->stream[i] >= 0 ? restart->stream[i] :
						   open("/dev/null", O_RDWR | O_CLOEXEC);

		if (fd >= 0 && fd != i)
			dup2(fd, i);
	}
}

/* What whoever has started us ignores or blocks is none of its business. */
static void set_signals(const struct restart *restart)
{
	sigset_t none;

	for (int i = 1; i < NSIG; i++)
		signal(i, i == SIGHUP && restart->ignores_hangup ? SIG_IGN : SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static void set_oom_score(const struct restart *restart)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	size_t len = strlen(restart->oom_score_adj);

	if (fd < 0 || (len && write(fd, restart->oom_score_adj, len) < 0))
		log_warn("cannot take the old process's oom_score_adj: %m");
	if (fd >= 0)
		close(fd);
}

static void set_limits(const struct restart *restart)
{
	for (unsigned i = 0; i < RLIM_NLIMITS; i++)
		if (restart->limited[i] && setrlimit(i, &restart->limit[i]))
			log_warn("cannot take limit %u of the old process: %m", i);
}

/* To the command, in one line, as why_set() makes it. */
_Noreturn static void end_without(int fd, const char *what)
{
	struct why why;

	why_set(&why, -errno, "%s: %m", what);
	dprintf(fd, "error %s\n", why.text);
	_exit(EXEC_STATUS);
}

_Noreturn static void exec_program(const struct restart *restart, int program, const char *path,
				   int fd, const char *variable, const char *value)
{
	char text[128];

	setsid();
	set_signals(restart);
	if (restart->cgroup >= 0 && write(restart->cgroup, "0", 1) < 0)
		log_warn("cannot join the control group of the old process: %m");
	set_oom_score(restart);
	set_limits(restart);
	snprintf(text, sizeof(text), "%d %s", fd, value);
	if (restart->directory[0] && chdir(restart->directory))
		end_without(fd, restart->directory);
	set_streams(restart);
	/* What our caller has open is none of its business. */
	close_range(STDERR_FILENO + 1, ~0u, CLOSE_RANGE_CLOEXEC);
	unsetenv("NOTIFY_SOCKET");
	if (setenv(variable, text, 1) == 0 && fcntl(fd, F_SETFD, 0) == 0) {
		if (path[0])
			execv(path, restart->argv);
		else
			fexecve(program, restart->argv, environ);
	}
	end_without(fd, path[0] ? path : "the program");
}

/* By its path, so that the process is called as the program is; "" where that is another by now. */
static void find_path(int program, char path[static PATH_MAX])
{
	struct stat open_one, there;
	char link[64];
	ssize_t len;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", program);
	len = readlink(link, path, PATH_MAX - 1);
	path[len > 0 ? len : 0] = '\0';
	if (fstat(program, &open_one) || stat(path, &there) || open_one.st_dev != there.st_dev ||
	    open_one.st_ino != there.st_ino)
		path[0] = '\0';
}

static int start(const struct restart *restart, int program, const char *variable,
		 const char *value, int *fd, struct why *why)
{
	char path[PATH_MAX];
	int pair[2], err = 0;
	pid_t pid;

	find_path(program, path);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return why_set(why, -errno, "socket: %m");
	pid = fork();
	if (pid == 0)
		exec_program(restart, program, path, pair[1], variable, value);
	if (pid < 0)
		err = why_set(why, -errno, "fork: %m");
	close(pair[1]);
	*fd = pair[0];
	if (err)
		close(pair[0]);
	return err;
}

int restart_program(const struct restart *restart, int program, const char *variable,
		    const char *value, int *fd, struct why *why)
{
	int own = program < 0 ? open("/proc/self/exe", O_PATH | O_CLOEXEC) : -1;
	int err;

	if (program < 0 && own < 0)
		return why_set(why, -errno, "the program's own file: %m");
	err = start(restart, program < 0 ? own : program, variable, value, fd, why);
	if (own >= 0)
		close(own);
	return err;
}
