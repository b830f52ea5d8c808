/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Signals are read from a file, by the main thread, where it has time for them. */
#include "daemon.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

/* That end a start; the others that are taken are of children, and for the log. */
static const int stops[] = { SIGTERM, SIGINT, SIGHUP, SIGUSR2 };

/* Threads made later inherit the mask, so only the main thread sees them. */
int signals_take(struct daemon *daemon, struct why *why)
{
	struct sigaction hangup;
	sigset_t mask;

	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGINT);
	sigaddset(&mask, SIGUSR2);
	sigaddset(&mask, SIGCHLD);
	sigaddset(&mask, SIGUSR1);
	/* nohup(1) has it ignored, and then it is to have no effect. */
	if (sigaction(SIGHUP, NULL, &hangup) == 0 && hangup.sa_handler != SIG_IGN)
		sigaddset(&mask, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &mask, NULL);
	signal(SIGPIPE, SIG_IGN);
	daemon->signal_fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	if (daemon->signal_fd < 0)
		return why_set(why, -errno, "signalfd: %m");
	return 0;
}

bool signals_next(const struct daemon *daemon, struct signalfd_siginfo *info)
{
	return read(daemon->signal_fd, info, sizeof(*info)) == sizeof(*info);
}

bool signals_pending(void *arg)
{
	struct daemon *daemon = arg;
	struct pollfd fd = { .fd = daemon->signal_fd, .events = POLLIN };

	return poll(&fd, 1, 0) > 0;
}

bool signals_stop_pending(void *arg)
{
	sigset_t pending;

	(void)arg;
	if (sigpending(&pending))
		return false;
	for (unsigned i = 0; i < ARRAY_SIZE(stops); i++)
		if (sigismember(&pending, stops[i]) == 1)
			return true;
	return false;
}

bool signals_cancelled(void *arg)
{
	struct daemon *daemon = arg;
	struct signalfd_siginfo info;
	bool cancelled = false;

	while (signals_next(daemon, &info))
		for (unsigned i = 0; i < ARRAY_SIZE(stops); i++)
			cancelled |= info.ssi_signo == (uint32_t)stops[i];
	daemon->given_up |= cancelled;
	return cancelled;
}
