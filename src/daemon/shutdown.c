/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The stop: the start backwards, from wherever it had come to. */
#include "daemon.h"
#include "lock.h"
#include "messages.h"
#include "thread.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

/* A stop by force is not given up for whom it would hurt within this time. */
#define FORCE_PATIENCE_S 3

/*
 * What was acknowledged stands in the memory that outlives us, as after a kill, and no sooner than
 * all host I/O has ended can anybody else serve the image.
 */
_Noreturn static void give_up(struct daemon *daemon)
{
	log_event(MESSAGE_FORCED,
		  "%s: stopped by force after its storage has not answered for %llu s: its users "
		  "get errors; what was acknowledged is kept for the next process%s",
		  device_name(daemon->device), (unsigned long long)watch_hung_s(&daemon->watch),
		  daemon->remembers ? "" : " as far as it was flushed");
	device_give_up(daemon->device);
	admin_end(&daemon->admin, "stopped by force, with the storage below the image hanging; "
				  "the process ends when that answers");
	_exit(EXIT_FAILURE);
}

void shutdown_if_hung(struct daemon *daemon)
{
	if (daemon->forced_s && monotonic_s() - daemon->forced_s >= FORCE_PATIENCE_S &&
	    watch_hung_s(&daemon->watch))
		give_up(daemon);
}

void shutdown_if_maimed(const struct daemon *daemon)
{
	struct pollfd ended = { .fd = thread_ends_fd(), .events = POLLIN };

	if (poll(&ended, 1, 0) != 1)
		return;
	log_error("%s: a thread has been ended by somebody else; so ends the process",
		  device_name(daemon->device));
	abort();
}

/* There is nothing that a signal could add but force; and we can be asked how it goes. */
static void while_stopping(void *arg)
{
	struct daemon *daemon = arg;
	struct signalfd_siginfo info;

	shutdown_if_maimed(daemon);
	admin_turn(&daemon->admin);
	watchdog_turn(&daemon->watchdog);
	if (daemon->admin.stop_asked && daemon->admin.stop_force && !daemon->forced_s)
		daemon->forced_s = monotonic_s();
	daemon->admin.stop_asked = false;
	while (signals_next(daemon, &info)) {
		if (info.ssi_signo == SIGCHLD)
			run_ended(&daemon->run);
		else if (info.ssi_signo == SIGUSR1)
			watch_show(&daemon->watch);
		else
			log_info("already stopping");
	}
	watch_turn(&daemon->watch);
	shutdown_if_hung(daemon);
	if (daemon->image)
		ask_for_time(daemon);
}

static void log_stats(const struct daemon *daemon)
{
	struct image_stats stats = image_stats(daemon->image);

	log_debug(
		"%s: %llu clusters allocated, %llu released, %llu decompressed, %llu slices read, %llu written, %llu syncs",
		daemon->options.image, (unsigned long long)stats.clusters_allocated,
		(unsigned long long)stats.clusters_released,
		(unsigned long long)stats.clusters_unpacked, (unsigned long long)stats.slice_loads,
		(unsigned long long)stats.slice_writes, (unsigned long long)stats.syncs);
}

static int close_image(struct daemon *daemon)
{
	bool corrupt;
	int err = service_close_image(&daemon->service, daemon->image, while_stopping, daemon);

	corrupt = image_health(daemon->image) == IMAGE_CORRUPT;
	if (err && corrupt)
		log_event(MESSAGE_LOST,
			  "%s: what was not flushed before it was found to be corrupt is lost",
			  daemon->options.image);
	else if (err)
		log_event(MESSAGE_LOST, "%s: the last changes may not be on disk: %s",
			  daemon->options.image, strerror(-err));
	/* Nobody can go on with a corrupt image; what it had in memory must not be in a repair's way. */
	if (!err || corrupt)
		handover_file_done(&daemon->handover);
	log_stats(daemon);
	return err;
}

/* A start that failed: the image may have inherited something that is to reach the disk. */
static int close_unused_image(struct daemon *daemon)
{
	struct why why;
	unsigned files;
	const int *fd = backing_fds(&daemon->backing, &files);
	int err = daemon->service.worker.running ? 0 :
						   service_start(&daemon->service, fd, files, &why);

	if (!err)
		err = device_run_idle(daemon->device, fd, files, &why);
	if (err)
		log_error("%s", why.text);
	return err ? err : close_image(daemon);
}

void shutdown_leave(struct daemon *daemon)
{
	log_warn("%s: waits for the next process, and its users with it",
		 device_name(daemon->device));
	_exit(EXIT_FAILURE);
}

/*
 * The host may go on writing into memory of ours, which therefore is not freed.  What the controller
 * cannot stop any more is left as after a kill.
 */
_Noreturn static void end_stuck(struct daemon *daemon, int err, const struct why *why)
{
	log_error("%s", why->text);
	if (err == -ETIME) {
		device_give_up(daemon->device);
		admin_end(&daemon->admin, why->text);
	} else {
		admin_refuse(&daemon->admin, why->text);
	}
	_exit(EXIT_FAILURE);
}

/* The image is closed while all lanes turn. */
int shutdown_stop(struct daemon *daemon)
{
	struct device *device = daemon->device;
	int err, deleted;
	struct why why;

	if (!device)
		return 0;
	if (daemon->failed && device_is_taken_over(device))
		shutdown_leave(daemon);
	err = device_stop(device, while_stopping, daemon, &why);
	if (err)
		end_stuck(daemon, err, &why);
	if (daemon->image)
		err = device_runs(device) ? close_image(daemon) : close_unused_image(daemon);
	else
		handover_file_done(&daemon->handover);
	watchdog_end(&daemon->watchdog);
	/* It holds the device's other end, without which the device cannot go. */
	if (daemon->service_is_made)
		service_stop(&daemon->service);
	deleted = device_delete(device, &why);
	if (deleted)
		log_error("%s", why.text);
	else if (!device_is_left(device))
		ownership_drop(&daemon->owner);
	if (!err)
		err = deleted;
	if (!err && (daemon->lost_data || (daemon->failed && !daemon->given_up)))
		err = -EIO;
	return err;
}

void shutdown_release(struct daemon *daemon)
{
	if (daemon->service_is_made)
		service_stop(&daemon->service);
	if (daemon->pool_is_made)
		pool_stop(&daemon->pool);
	if (daemon->image)
		image_free(daemon->image);
	if (daemon->device)
		device_free(daemon->device);
	if (daemon->service_is_made)
		service_release(&daemon->service);
	if (daemon->pool_is_made)
		pool_release(&daemon->pool);
	watch_end(&daemon->watch);
	resizing_close(&daemon->resizing);
	backing_close(&daemon->backing);
	if (daemon->file_is_open) {
		unlock_image(daemon->file.fd);
		file_close(&daemon->file);
	}
	free(daemon->lane);
}
