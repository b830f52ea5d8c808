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
#include <stdlib.h>
#include <unistd.h>

/* A signal is not sent again, so what could not be found out is asked once more. */
#define HOLD_AGAIN_MS 1000

static const char *device(const struct daemon *daemon)
{
	return device_name(daemon->device);
}

/* --- there is none ----------------------------------------------------------------------------------- */

/* Nobody stops: those who wait for it are told why, except for who sent a signal. */
static void refuse(struct daemon *daemon, const char *reason)
{
	admin_refuse(&daemon->admin, reason);
	daemon->forced_s = 0;
	if (!daemon->stop_by_signal)
		device_hold_end(daemon->device);
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

static void describe_lost_helper(const struct daemon *daemon, struct why *why)
{
	if (device_facts(daemon->device).recoverable)
		why_set(why, 0,
			"%s: its helper process has ended, and cannot say any more whether a stop "
			"would lose something; qcow2-ublkd upgrade %s makes another one",
			device(daemon), device(daemon));
	else
		why_set(why, 0,
			"%s: its helper process has ended, and cannot say any more whether a stop "
			"would lose something; end its use, run blockdev --flushbufs %s, and kill "
			"process %d",
			device(daemon), device(daemon), (int)getpid());
}

void stop_without_helper(struct daemon *daemon)
{
	struct why why;

	if (daemon->helper_lost || !device_lost_helper(daemon->device))
		return;
	daemon->helper_lost = true;
	/* The end of a command does without it. */
	if (daemon->run.pid)
		return;
	describe_lost_helper(daemon, &why);
	log_error("%s", why.text);
}

static void cannot_hold(struct daemon *daemon, const char *reason)
{
	struct why why;
	bool again;

	if (device_lost_helper(daemon->device))
		daemon->helper_lost = true;
	again = daemon->stop_by_signal && !daemon->helper_lost;
	if (daemon->helper_lost)
		describe_lost_helper(daemon, &why);
	else
		why_set(&why, 0, "%s: cannot find out whether it is in use: %s; %s", device(daemon),
			reason, again ? "trying again each second" : "not stopping");
	if (!again || !daemon->hold_failed)
		log_error("%s", why.text);
	daemon->hold_failed = again;
	daemon->hold_again_ms = again ? monotonic_ms() + HOLD_AGAIN_MS : 0;
	admin_refuse(&daemon->admin, why.text);
	device_hold_end(daemon->device);
	if (!daemon->stop_by_signal || !daemon->options.force_stop)
		daemon->forced_s = 0;
}

/* --- there may be one --------------------------------------------------------------------------------- */

static void ask_for_stop(struct daemon *daemon, bool force)
{
	struct why why;

	daemon->hold_again_ms = 0;
	if (device_hold(daemon->device, force, &why))
		cannot_hold(daemon, why.text);
}

bool stop_is_due(struct daemon *daemon)
{
	struct why text;
	enum hold_answer answer = device_hold_answer(daemon->device, &text);

	if (answer != HOLD_FAILED)
		daemon->hold_failed = false;
	switch (answer) {
	case HOLD_FAILED:
		cannot_hold(daemon, text.text);
		return false;
	case HOLD_WRITES:
		return false;
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
	}
	abort();
}

/* --- who asks ------------------------------------------------------------------------------------------ */

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

/* --- once more ----------------------------------------------------------------------------------------- */

/* More time puts off the watchdog, too: none for a thread that stands still. */
static bool may_take_longer(const struct daemon *daemon)
{
	return !daemon->watchdog.still;
}

void ask_for_time(struct daemon *daemon)
{
	if (may_take_longer(daemon))
		extension_turn(&daemon->extension, daemon->image, device_lanes(daemon->device) + 1);
}

void stop_watch(const struct daemon *daemon, int *timeout_ms)
{
	if (daemon->hold_again_ms)
		timeout_lower(timeout_ms, daemon->hold_again_ms - monotonic_ms());
	if (device_hold_writes(daemon->device) && may_take_longer(daemon))
		extension_watch(&daemon->extension, timeout_ms);
}

void stop_turn(struct daemon *daemon)
{
	if (daemon->hold_again_ms && monotonic_ms() >= daemon->hold_again_ms)
		ask_for_stop(daemon, daemon->options.force_stop);
	if (device_hold_writes(daemon->device))
		ask_for_time(daemon);
}
