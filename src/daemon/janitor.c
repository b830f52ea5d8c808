/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One packet per file or signal, and one errno per packet. */
#include "janitor.h"
#include "keep.h"
#include "registry.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FILES_MAX 8

enum request { ENTRUST, REMOVE, SIGNAL };

struct packet {
	enum request request;
	int signal; /* SIGNAL */
	char path[PATH_MAX]; /* the others; ENTRUST without one: that was all */
};

static int to_janitor = -1;

/* --- the process ----------------------------------------------------------------------------------- */

struct janitor {
	char path[FILES_MAX][PATH_MAX];
	unsigned files;
	bool sealed;
	int command; /* pidfd of the command of --run, or -1 */
};

static int entrust(struct janitor *janitor, const char *path)
{
	if (!path[0])
		janitor->sealed = true;
	else if (janitor->sealed || janitor->files == FILES_MAX)
		return EPERM;
	else
		memcpy(janitor->path[janitor->files++], path, PATH_MAX);
	return 0;
}

static int remove_file(const struct janitor *janitor, const char *path)
{
	for (unsigned i = 0; i < janitor->files; i++)
		if (strcmp(janitor->path[i], path) == 0)
			return unlink(path) ? errno : 0;
	return EPERM;
}

/* It is that very process: a number could be another's by now. */
static int send_signal(const struct janitor *janitor, int signal)
{
	return syscall(SYS_pidfd_send_signal, janitor->command, signal, NULL, 0) ? errno : 0;
}

static int obey(struct janitor *janitor, const struct packet *packet)
{
	switch (packet->request) {
	case ENTRUST:
		return entrust(janitor, packet->path);
	case REMOVE:
		return remove_file(janitor, packet->path);
	case SIGNAL:
		return send_signal(janitor, packet->signal);
	}
	return EINVAL;
}

/* It ends when the server does, and not before. */
_Noreturn static void janitor_main(int fd, pid_t command, void (*confine)(const char *folder))
{
	static struct janitor janitor;
	static struct packet packet;
	sigset_t all;

	prctl(PR_SET_NAME, "ublk-janitor");
	fd = keep_only(fd);
	janitor.command = command ? (int)syscall(SYS_pidfd_open, command, 0) : -1;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	confine(registry_folder);
	while (recv(fd, &packet, sizeof(packet), 0) == sizeof(packet)) {
		int err;

		packet.path[PATH_MAX - 1] = '\0';
		err = obey(&janitor, &packet);
		if (send(fd, &err, sizeof(err), MSG_NOSIGNAL) < 0)
			break;
	}
	_exit(0);
}

/* --- the server's side ----------------------------------------------------------------------------- */

int janitor_spawn(pid_t command, void (*confine)(const char *folder), struct why *why)
{
	int fd[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd))
		return why_set(why, -errno, "--user: socket: %m");
	pid = fork();
	if (pid == 0)
		janitor_main(fd[1], command, confine);
	close(fd[1]);
	to_janitor = fd[0];
	return pid < 0 ? why_set(why, -errno, "--user: fork: %m") : 0;
}

/* 0 or an errno. */
static int tell(enum request request, const char *path, int signal)
{
	static struct packet packet;
	int err;

	packet.request = request;
	packet.signal = signal;
	snprintf(packet.path, PATH_MAX, "%s", path);
	if (send(to_janitor, &packet, sizeof(packet), MSG_NOSIGNAL) < 0)
		return errno;
	return recv(to_janitor, &err, sizeof(err), 0) == sizeof(err) ? err : EPIPE;
}

int janitor_entrust(const char *path)
{
	return to_janitor < 0 ? 0 : -tell(ENTRUST, path ? path : "", 0);
}

int janitor_unlink(const char *path)
{
	int err;

	if (unlink(path) == 0)
		return 0;
	if (to_janitor < 0 || errno == ENOENT)
		return -1;
	err = tell(REMOVE, path, 0);
	errno = err;
	return err ? -1 : 0;
}

int janitor_signal(int signal)
{
	return to_janitor < 0 ? -EPERM : -tell(SIGNAL, "", signal);
}
