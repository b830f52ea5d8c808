/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The end that is none for the device: this process leaves it, and another one of the same image
 * goes on with it, as after a kill.
 *
 * It flushes first, while the device is served: then little is left that the next one has to
 * inherit, and little that only memory has should there be no next one.
 */
#include "daemon.h"
#include "messages.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *device(const struct daemon *daemon)
{
	return device_name(daemon->device);
}

/* No reason for who is told by a signal: stopped instead, the device would fail its users. */
static const char hangs[] =
	"its storage does not answer, and the process could not end; see its messages";

/* Nobody could open it again, and with the last process that has it open it ends. */
static bool is_deleted(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 0;
}

static bool has_deleted_file(const struct daemon *daemon)
{
	bool deleted = is_deleted(daemon->file.fd);

	for (unsigned i = 0; i < daemon->backing.files; i++)
		deleted |= is_deleted(daemon->backing.file[i].fd);
	return deleted;
}

/* Nobody could find what we leave, or trust it. */
static bool is_forgotten(const struct daemon *daemon)
{
	return is_deleted(daemon->owner.fd) || !registry_folder_is_safe(&daemon->folder);
}

const char *leave_hindrance(const void *arg)
{
	const struct daemon *daemon = arg;

	if (daemon->run.pid)
		return "it ends with the command of --run";
	if (daemon->options.key_file && strcmp(daemon->options.key_file, "-") == 0)
		return "its key came from standard input, which has no second one";
	if (!device_facts(daemon->device).recoverable)
		return "its device ends with its process, because of --no-recovery";
	if (daemon->options.abandon && daemon->admin.origin.managed)
		return "started again with --abandon, its writes would be given up";
	if (daemon->admin.stopping || device_hold_fd(daemon->device) >= 0)
		return "it is being stopped";
	/* Before what would wait for the file's server. */
	if (watch_hung_s(&daemon->watch))
		return hangs;
	if (has_deleted_file(daemon))
		return "a file of its image has been deleted or replaced, and would go with the process";
	if (is_forgotten(daemon))
		return REGISTRY_FOLDER
			" was emptied, or others can write to it, and so nobody could go "
			"on with its device; give it to root, with mode 0700, or stop it";
	return NULL;
}

/* Who waits for an answer wants us to leave: a stop is refused meanwhile, and the other way round. */
static void cancel(struct daemon *daemon, const char *reason)
{
	log_event(MESSAGE_NOT_LEFT, "%s: not left to another process: %s", device(daemon), reason);
	admin_stays(&daemon->admin, reason);
	daemon->leaving = false;
}

/* True when it is to be left later: nobody would serve it while a process that cannot end yet ends. */
static bool is_to_wait(struct daemon *daemon, const char *hindrance)
{
	bool waits = hindrance == hangs && daemon->leaving_by_signal;

	if (waits && !daemon->leaving_waits)
		log_warn("%s: its storage does not answer; it is left to the next process when "
			 "that answers, and served until then",
			 device(daemon));
	daemon->leaving_waits = waits;
	return waits;
}

/* One that was given up may still be under way, and will do. */
static void flush(struct daemon *daemon)
{
	if (service_flush_fd(&daemon->service) < 0)
		service_flush_begin(&daemon->service, daemon->image);
}

bool leave_begin(struct daemon *daemon, bool by_signal)
{
	const char *hindrance = leave_hindrance(daemon);

	daemon->leaving_by_signal = by_signal || (daemon->leaving && daemon->leaving_by_signal);
	if (hindrance && !is_to_wait(daemon, hindrance)) {
		cancel(daemon, hindrance);
		return !daemon->leaving_by_signal;
	}
	daemon->leaving = true;
	flush(daemon);
	return true;
}

/* Whatever this process could tidy up would be time in which nobody serves. */
_Noreturn static void leave(struct daemon *daemon, int flush_err)
{
	if (flush_err)
		log_warn("%s: cannot be flushed: %s; what was written is in memory", device(daemon),
			 strerror(-flush_err));
	log_event(MESSAGE_LEFT, "%s: left to the next process", device(daemon));
	admin_left(&daemon->admin);
	_exit(LEFT_STATUS);
}

bool leave_turn(struct daemon *daemon, bool flushed)
{
	int err = flushed ? service_flush_end(&daemon->service) : 0;
	const char *hindrance = daemon->leaving ? leave_hindrance(daemon) : NULL;

	if (!daemon->leaving)
		return true;
	if (is_to_wait(daemon, hindrance))
		return true;
	if (!hindrance && !daemon->leaving_by_signal && !admin_is_awaited(&daemon->admin))
		hindrance = "who asked for it has gone";
	if (!hindrance && flushed)
		leave(daemon, err);
	if (!hindrance) {
		/* The last one may have ended while other requests hung. */
		flush(daemon);
		return true;
	}
	cancel(daemon, hindrance);
	return !daemon->leaving_by_signal;
}
