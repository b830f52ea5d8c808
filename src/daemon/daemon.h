/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the process consists of, and the stages of its life: private to those who make it up. */
#ifndef DAEMON_H
#define DAEMON_H

#include "admin.h"
#include "backing.h"
#include "device.h"
#include "extension.h"
#include "file.h"
#include "handover_file.h"
#include "identity.h"
#include "image.h"
#include "options.h"
#include "ownership.h"
#include "pool.h"
#include "resize.h"
#include "run.h"
#include "service.h"
#include "successor.h"
#include "user.h"
#include "watch.h"
#include "watchdog.h"

#include <sys/signalfd.h>

struct daemon {
	struct options options;
	struct user user; /* with --user */
	struct run run;
	struct successor successor;
	struct file file;
	bool file_is_open;
	bool remembers; /* there is a folder for what outlives the process */
	struct why forgets; /* or why there is none */
	struct registry_folder folder; /* from when the device is there */
	struct identity identity; /* of the image; only if so, as what follows */
	char view[OPTIONS_VIEW_BYTES]; /* how it is shown */
	uint64_t below; /* sum of the files below it: see identity_add() */
	struct handover_file handover;
	struct ownership owner;
	uint64_t added_us; /* udev_now() before there was a device; 0: it was there */
	pid_t holder; /* of a device that we wanted to claim */
	struct backing backing;
	struct device *device; /* NULL until it is prepared */
	struct service service;
	bool service_is_made;
	struct lane **lane; /* the device's, then the service's */
	struct pool pool; /* for all of them */
	bool pool_is_made;
	struct image *image; /* NULL until it is open */
	struct admin admin;
	struct resizing resizing;
	struct watch watch;
	struct watchdog watchdog;
	struct extension extension;
	int signal_fd;
	int64_t forced_s; /* since when a stop by force is wanted, monotonic; 0: it is not */
	bool stop_by_signal; /* we, or the command of --run, were told to stop: when it is free */
	int64_t hold_again_ms; /* when to ask again if it is, monotonic; 0: never */
	bool hold_failed; /* ... and a message says so */
	bool helper_lost; /* nobody can find that out any more */
	bool leaving; /* the device is left as soon as the image is flushed */
	bool leaving_by_signal; /* ... and if it cannot be, it is stopped */
	bool leaving_waits; /* ... when the storage answers */
	bool failed; /* it could not be served after all */
	bool given_up; /* ... because a signal told us to stop during the start */
	bool lost_data; /* something dirty could not be written back before the stop */
};

/* --- signals.c: the signals of the process; the main thread ------------------------------------- */

/* Block what we wait for, before there are threads.  -errno with the sentence in @why. */
int signals_take(struct daemon *daemon, struct why *why);

bool signals_next(const struct daemon *daemon, struct signalfd_siginfo *info);

/* During the start, which ends if so: has a signal told us to stop? */
bool signals_cancelled(void *daemon);

/* The same, and it is kept for signals_next(). */
bool signals_stop_pending(void *daemon);

/* So is any other signal. */
bool signals_pending(void *daemon);

/* --- host.c: what the device wants of us --------------------------------------------------------- */

struct device_host host_of(struct daemon *daemon);

/* --- startup.c: from options to a device --------------------------------------------------------- */

/* -errno with the sentence in @why; shutdown_stop() undoes as much as was done. */
int startup(struct daemon *daemon, struct why *why);

/* --- serve.c: until it is time to stop ----------------------------------------------------------- */

void serve(struct daemon *daemon);

/* --- stop.c: may it be stopped? -------------------------------------------------------------------- */

/* A signal or the administrator asks for a stop: of the command of --run, if that runs. */
void stop_by_signal(struct daemon *daemon, int signal);
void stop_by_admin(struct daemon *daemon, bool force);

/* device_hold_fd() is readable: is it time to stop? */
bool stop_is_due(struct daemon *daemon);

/* Has the helper process ended?  Then say what to do. */
void stop_without_helper(struct daemon *daemon);

/* For poll(2): lower @timeout_ms if need be.  In each turn: ask again or for more time, if it is time. */
void stop_watch(const struct daemon *daemon, int *timeout_ms);
void stop_turn(struct daemon *daemon);

/* In each turn of a stop that writes back: the service manager is to wait, if anything was done. */
void ask_for_time(struct daemon *daemon);

/* --- leave.c: another process goes on with the device --------------------------------------------- */

/* The exit status of a process that has left its device to the next one: EX_TEMPFAIL. */
#define LEFT_STATUS 75

/* Why the device of struct daemon @arg cannot be left to another process now, or NULL. */
const char *leave_hindrance(const void *arg);

/*
 * Begin to leave: flush, while the device is served.  @by_signal: nobody waits for an answer.  A message
 * says when it cannot be left; false when it is to be stopped instead.
 */
bool leave_begin(struct daemon *daemon, bool by_signal);

/*
 * In each turn; @flushed: service_flush_fd() is readable.  Ends the process, with LEFT_STATUS, when it
 * is time; or gives it up, which a message says.  False when the device is to be stopped instead.
 */
bool leave_turn(struct daemon *daemon, bool flushed);

/* --- shutdown.c: and back ------------------------------------------------------------------------ */

/*
 * Stop the device, close the image.  0 when all went well and nothing is lost.  What failed after it had
 * taken a device over, and a stop that gives up, end the process.
 */
int shutdown_stop(struct daemon *daemon);

/* End the process as a kill does: its device waits for the next one, and nothing is lost. */
_Noreturn void shutdown_leave(struct daemon *daemon);

/*
 * When a stop by force was asked for some seconds ago and the storage below hangs: end the process
 * as if it were killed, with its device removed.  Else a no-op.
 */
void shutdown_if_hung(struct daemon *daemon);

/*
 * When a thread has ended by itself: end the process at once, as who waits for that thread would wait for
 * ever, and the next process can go on.  Else a no-op.
 */
void shutdown_if_maimed(const struct daemon *daemon);

/* Release the rest. */
void shutdown_release(struct daemon *daemon);

#endif
