/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The new process of an upgrade: what it hears from the environment, and says at the end. */
#include "successor.h"
#include "client.h"
#include "registry.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LOOK_MS 1000
#define REPORT_LOOKS 10u
#define ASK_AGAIN_MS 20

/* Who is to leave. */
struct leaver {
	int fd; /* readable when it has ended */
	pid_t pid;
	bool (*cancelled)(void *arg); /* are we to give up? */
	void *arg;
};

void successor_init(struct successor *successor)
{
	const char *value = getenv(SUCCESSOR_VARIABLE);
	char *name;
	long fd;

	*successor = (struct successor){ .fd = -1 };
	if (!value)
		return;
	fd = strtol(value, &name, 10);
	if (*name == ' ' && fd > STDERR_FILENO && fcntl((int)fd, F_SETFD, FD_CLOEXEC) == 0) {
		successor->fd = (int)fd;
		if (name_valid(name + 1))
			snprintf(successor->name, sizeof(successor->name), "%s", name + 1);
	}
	unsetenv(SUCCESSOR_VARIABLE);
}

/* Readable when the process has ended; -1 when there is none any more. */
static int watch(const char *name, pid_t *pid)
{
	struct registry_entry entry;
	int fd;

	if (registry_look(name, &entry) || !entry.alive || !entry.pid)
		return -1;
	*pid = entry.pid;
	fd = (int)syscall(SYS_pidfd_open, entry.pid, 0);
	/* The number may be another process's by now, unless it has its place still. */
	if (fd >= 0 && (registry_look(name, &entry) || !entry.alive || entry.pid != *pid)) {
		close(fd);
		return -1;
	}
	return fd;
}

/* Wait up to @ms for the end: 1 when it has come, 0: not yet, -EINTR with the sentence in @why. */
static int look_for_end(const struct leaver *leaver, int ms, struct why *why)
{
	struct pollfd end = { .fd = leaver->fd, .events = POLLIN };

	if (poll(&end, 1, ms) > 0)
		return 1;
	if (!leaver->cancelled(leaver->arg))
		return 0;
	return why_set(why, -EINTR,
		       "told to stop while waiting for process %d, which served before; its device "
		       "is left as it was",
		       (int)leaver->pid);
}

static int await_end(const struct leaver *leaver, struct why *why)
{
	int err;

	for (unsigned looks = 1; !(err = look_for_end(leaver, LOOK_MS, why)); looks++)
		if (looks % REPORT_LOOKS == 0)
			log_info("waiting for the end of process %d, which served before",
				 (int)leaver->pid);
	return err > 0 ? 0 : err;
}

/* It cannot be asked any more, or not yet: another upgrade may just have begun to serve. */
static bool is_silent(int err)
{
	return err == -ECONNREFUSED || err == -ENOENT || err == -EPIPE || err == -ECONNRESET;
}

/* 0: it has left, and ends; 1: it has ended. */
static int ask_to_leave(const struct leaver *leaver, const char *name, struct why *why)
{
	struct report report;
	int err, end = 0;

	while ((err = client_ask(name, "leave", 0, &report, why)) && is_silent(err) && !end)
		end = look_for_end(leaver, ASK_AGAIN_MS, why);
	if (!err)
		report_free(&report);
	return end ? end : err;
}

int successor_step_in(struct successor *successor, bool (*cancelled)(void *arg), void *arg,
		      struct why *why)
{
	struct leaver leaver = { .cancelled = cancelled, .arg = arg };
	int err;

	if (successor->fd < 0)
		return 0;
	successor->left_ns = monotonic_ns();
	leaver.fd = successor->name[0] ? watch(successor->name, &leaver.pid) : -1;
	/* It has ended meanwhile: all the more reason to go on. */
	if (leaver.fd < 0)
		return 0;
	err = ask_to_leave(&leaver, successor->name, why);
	successor->left_ns = monotonic_ns();
	if (!err)
		err = await_end(&leaver, why);
	close(leaver.fd);
	return err < 0 ? err : 0;
}

void successor_serves(struct successor *successor)
{
	successor->served_ns = monotonic_ns();
}

void successor_tell(struct successor *successor, const char *failure)
{
	if (successor->fd < 0)
		return;
	/* The command may have been interrupted: that changes nothing. */
	if (failure)
		dprintf(successor->fd, "error %s\n", failure);
	else
		dprintf(successor->fd, "stall-nanoseconds %" PRIu64 "\nok\n",
			successor->served_ns - successor->left_ns);
	/* Should somebody else have the socket as well. */
	shutdown(successor->fd, SHUT_WR);
	close(successor->fd);
	successor->fd = -1;
}
