/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * May a stop that was asked for begin?
 *
 * A device that is mounted or held is not stopped, as its user would lose what it has not written
 * yet.  Who asks by a signal gets the stop when that is over; who asks by the socket is told.
 */
#include "daemon.h"
#include "messages.h"

#include <signal.h>

static const char *device(const struct daemon *daemon)
{
	return device_name(daemon->device);
}

/* Nobody stops: those who wait for it are told why, except for who sent a signal. */
static void refuse(struct daemon *daemon, const char *reason)
{
	admin_refuse(&daemon->admin, reason);
	daemon->forced_s = 0;
	if (!daemon->stop_by_signal)
		device_hold_end(daemon->device);
}

static void ask_for_stop(struct daemon *daemon, bool force)
{
	struct why why;

	if (device_hold(daemon->device, force, &why) == 0)
		return;
	log_error("%s: cannot be stopped in order: %s", device(daemon), why.text);
	refuse(daemon, why.text);
}

static void tell_in_use(struct daemon *daemon, const char *users)
{
	struct why why;

	if (daemon->stop_by_signal)
		log_event(MESSAGE_IN_USE, "%s: is in use%s%s; it stops when that is over",
			  device(daemon), users[0] ? ": " : "", users);
	why_set(&why, 0, "%s: is in use%s%s; end that, or use --force", device(daemon),
		users[0] ? ": " : "", users);
	refuse(daemon, why.text);
}

bool stop_is_due(struct daemon *daemon)
{
	struct why text;

	switch (device_hold_answer(daemon->device, &text)) {
	case HOLD_BUSY:
		tell_in_use(daemon, text.text);
		return false;
	case HOLD_CLEAN:
		if (text.text[0])
			log_warn("%s: stopped while it was %s", device(daemon), text.text);
		return true;
	case HOLD_FORCED:
		log_warn("%s: stopped by force while it was %s", device(daemon), text.text);
		return true;
	case HOLD_DIRTY:
		log_event(MESSAGE_LOST, "%s: what was not written back yet is lost: %s",
			  device(daemon), text.text);
		daemon->lost_data = true;
		return true;
	case HOLD_FAILED:
		break;
	}
	log_error("%s: cannot find out whether it is in use: %s; not stopping", device(daemon),
		  text.text);
	daemon->stop_by_signal = false;
	refuse(daemon, text.text);
	return false;
}

/* True when the command of --run is told to end instead, and ends us by that. */
static bool pass_to_command(struct daemon *daemon, int signal)
{
	int err;

	if (!daemon->run.pid || daemon->run.ended)
		return false;
	err = signal ? run_signal(&daemon->run, signal) : 0;
	if (err)
		log_error("--run: the command cannot be told to end: %s; stopping without its end",
			  strerror(-err));
	return !err;
}

static void begin(struct daemon *daemon, int signal, bool force)
{
	force |= daemon->options.force_stop;
	/* Also when the command is told, as it may hang in the storage that force is used against. */
	if (force && !daemon->forced_s)
		daemon->forced_s = monotonic_s();
	if (!pass_to_command(daemon, signal))
		ask_for_stop(daemon, force);
}

void stop_by_signal(struct daemon *daemon, int signal)
{
	daemon->stop_by_signal = true;
	begin(daemon, signal, false);
}

void stop_by_admin(struct daemon *daemon, bool force)
{
	begin(daemon, SIGTERM, force);
}
