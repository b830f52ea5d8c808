/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The main thread while the device is served: signals, and questions.  Whether a stop that was asked
 * for may begin is in stop.c.
 */
#include "daemon.h"
#include "janitor.h"
#include "messages.h"
#include "notify.h"
#include "privileges.h"
#include "thread.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>

enum { FD_SIGNALS, FD_DRAINED, FD_RESIZED, FD_THREADS, FD_HOLD, FD_WATCH, FD_FLUSH, FDS };

static const char *device(const struct daemon *daemon)
{
	return device_name(daemon->device);
}

/* While some threads are still root, none of the others may be so far confined that it cannot follow. */
static int become_user(struct daemon *daemon, struct why *why)
{
	int err;

	if (!daemon->options.user)
		return 0;
	err = registry_entrust(&daemon->admin.registration);
	if (!err)
		err = ownership_entrust(&daemon->owner);
	if (!err && daemon->remembers)
		err = janitor_entrust(daemon->handover.path);
	if (!err)
		err = janitor_entrust(NULL);
	if (err)
		return why_set(why, err, "--user: janitor process: %s", strerror(-err));
	return user_become(&daemon->user, why);
}

static void confine_on_thread(void *arg)
{
	(void)arg;
	lane_confine();
}

/* Those of the pool have done it, unless they were to become another user. */
static void confine_lanes(struct daemon *daemon)
{
	device_on_each_thread(daemon->device, confine_on_thread, NULL);
	service_on_thread(&daemon->service, confine_on_thread, NULL);
	if (daemon->options.user)
		pool_on_each_thread(&daemon->pool, lane_confine);
}

/* Whatever is still to be opened or made has been, as the control socket. */
static int confine(struct daemon *daemon, struct why *why)
{
	int err = become_user(daemon, why);

	if (err)
		return err;
	confine_lanes(daemon);
	/* Another user could not even look into the folder. */
	main_confine(daemon->remembers && !daemon->options.user ? registry_folder : NULL);
	return 0;
}

/* False when the device must not be served. */
static bool announce(struct daemon *daemon)
{
	struct why why;
	char ready[64];

	log_debug("%s: served as %s", daemon->options.image, device(daemon));
	watch_begin(&daemon->watch, daemon->device, daemon->image, &daemon->service,
		    daemon->options.io_timeout);
	daemon->admin.origin.view = daemon->view;
	daemon->admin.origin.hindrance = leave_hindrance;
	daemon->admin.origin.arg = daemon;
	admin_serve(&daemon->admin, daemon->device, daemon->image);
	if (confine(daemon, &why)) {
		log_event(MESSAGE_FAILED, "%s", why.text);
		successor_tell(&daemon->successor, why.text);
		daemon->failed = true;
		return false;
	}
	/* Who reads the standard output of an upgraded daemon has had its line. */
	if (daemon->successor.fd < 0 && (printf("%s\n", device(daemon)) < 0 || fflush(stdout)))
		log_warn("standard output: %m");
	successor_tell(&daemon->successor, NULL);
	snprintf(ready, sizeof(ready), "READY=1\nSTATUS=Serving as %s", device(daemon));
	notify(ready);
	watchdog_begin(&daemon->watchdog, daemon->device, &daemon->service, &daemon->pool);
	run_start(&daemon->run, device(daemon));
	return true;
}

/* --- signals and questions --------------------------------------------------------------------------- */

/* True when the command of --run has ended, and so it is time to stop. */
static bool look_at_children(struct daemon *daemon)
{
	if (device_lost_control(daemon->device))
		log_error("%s: the process that controls it has ended; flush before stopping",
			  device(daemon));
	stop_without_helper(daemon);
	return run_ended(&daemon->run);
}

/* True when it is time to stop. */
static bool handle_signal(struct daemon *daemon, const struct signalfd_siginfo *info)
{
	if (info->ssi_signo == SIGCHLD)
		return look_at_children(daemon);
	if (info->ssi_signo == SIGUSR1) {
		watch_show(&daemon->watch);
		return false;
	}
	if (info->ssi_signo == SIGUSR2) {
		if (!leave_begin(daemon, true))
			stop_by_signal(daemon, SIGTERM);
		return false;
	}
	/* A terminal's signals the command has got from the terminal. */
	stop_by_signal(daemon, info->ssi_code != SI_KERNEL ? (int)info->ssi_signo : 0);
	return false;
}

static void obey_admin(struct daemon *daemon)
{
	struct admin *admin = &daemon->admin;

	admin_turn(admin);
	if (admin->resize_asked)
		resizing_begin(&daemon->resizing, admin, &daemon->service);
	if (admin->stop_asked)
		stop_by_admin(daemon, admin->stop_force);
	if (admin->leave_asked && !leave_begin(daemon, false))
		stop_by_signal(daemon, SIGTERM);
	admin->stop_asked = admin->leave_asked = false;
}

void serve(struct daemon *daemon)
{
	struct pollfd fds[FDS + CONTROL_FDS] = {
		[FD_SIGNALS] = { .fd = daemon->signal_fd, .events = POLLIN },
		[FD_DRAINED] = { .fd = device_drained_fd(daemon->device), .events = POLLIN },
		[FD_RESIZED] = { .fd = resizing_fd(&daemon->resizing), .events = POLLIN },
		[FD_THREADS] = { .fd = thread_ends_fd(), .events = POLLIN },
	};
	struct signalfd_siginfo info;

	/* A start that waits takes signals, and for it that of a child is none. */
	if (!announce(daemon) || look_at_children(daemon))
		return;
	for (;;) {
		int timeout_ms = -1;
		unsigned n = FDS + admin_watch(&daemon->admin, fds + FDS, &timeout_ms);

		watchdog_watch(&daemon->watchdog, &timeout_ms);
		stop_watch(daemon, &timeout_ms);
		fds[FD_HOLD] = (struct pollfd){
			.fd = device_hold_fd(daemon->device),
			.events = POLLIN,
		};
		fds[FD_WATCH] = (struct pollfd){
			.fd = watch_fd(&daemon->watch, &timeout_ms),
			.events = POLLIN,
		};
		fds[FD_FLUSH] = (struct pollfd){
			.fd = service_flush_fd(&daemon->service),
			.events = POLLIN,
		};
		if (poll(fds, n, timeout_ms) < 0 && errno != EINTR) {
			log_error("poll: %m");
			if (device_facts(daemon->device).recoverable)
				shutdown_leave(daemon);
			return;
		}
		if (fds[FD_THREADS].revents)
			shutdown_if_maimed(daemon);
		watchdog_turn(&daemon->watchdog);
		if (fds[FD_DRAINED].revents) {
			log_info("%s: stopped by somebody else", device(daemon));
			return;
		}
		if (fds[FD_RESIZED].revents)
			resizing_end(&daemon->resizing, &daemon->admin, &daemon->service);
		if (fds[FD_HOLD].revents && stop_is_due(daemon))
			return;
		while (signals_next(daemon, &info))
			if (handle_signal(daemon, &info))
				return;
		obey_admin(daemon);
		stop_turn(daemon);
		watch_turn(&daemon->watch);
		/* Last, as who asks for a stop is to get it. */
		if (!leave_turn(daemon, fds[FD_FLUSH].revents))
			stop_by_signal(daemon, SIGTERM);
		shutdown_if_hung(daemon);
	}
}
