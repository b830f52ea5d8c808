/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The process: from the command line to a device, until it is told to stop.
 *
 * The order of the start is not free: other processes are forked before anything is open, locks
 * are taken before the image is read, the image is known to be good before a device is made, and
 * privileges go when the device is there.
 */
#include "admin.h"
#include "backing.h"
#include "commands.h"
#include "device.h"
#include "file.h"
#include "image.h"
#include "key.h"
#include "lock.h"
#include "notify.h"
#include "options.h"
#include "privileges.h"
#include "repair.h"
#include "run.h"
#include "service.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

_Static_assert(LIMIT_CHAIN + 1 <= URING_FILES_MAX, "a chain's files and the device, in each ring");

enum exit_status { STATUS_OK, STATUS_FAILED, STATUS_USAGE };

struct daemon {
	struct options options;
	struct run run;
	struct file file;
	bool file_is_open;
	struct backing backing;
	struct device *device; /* NULL until it is prepared */
	struct service service;
	bool service_is_made;
	struct lane **lane; /* the device's, then the service's */
	struct image *image; /* NULL until it is open */
	struct admin admin;
	int signal_fd;
};

/* --- signals ------------------------------------------------------------------------------------- */

/* Block what we wait for; threads made later inherit the mask, so only the main thread sees it. */
static int take_signals(struct daemon *daemon, struct why *why)
{
	struct sigaction hangup;
	sigset_t mask;

	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGINT);
	sigaddset(&mask, SIGCHLD);
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

static bool next_signal(const struct daemon *daemon, struct signalfd_siginfo *info)
{
	return read(daemon->signal_fd, info, sizeof(*info)) == sizeof(*info);
}

/* While we stop, there is nothing that a signal could add; but we can be asked how it goes. */
static void while_stopping(void *arg)
{
	struct daemon *daemon = arg;
	struct signalfd_siginfo info;

	admin_turn(&daemon->admin);

	while (next_signal(daemon, &info)) {
		if (info.ssi_signo == SIGCHLD)
			run_ended(&daemon->run);
		else
			log_info("already stopping");
	}
}

/* True when it is time to stop. */
static bool handle_signal(struct daemon *daemon, const struct signalfd_siginfo *info)
{
	struct run *run = &daemon->run;

	if (info->ssi_signo == SIGCHLD) {
		if (device_lost_control(daemon->device))
			log_error(
				"%s: the process that controls it has ended; flush before stopping",
				device_name(daemon->device));
		return run_ended(run);
	}
	if (!run->pid || run->ended)
		return true;
	/* The command ends us by ending.  A terminal's signals it has got from the terminal. */
	if (info->ssi_code != SI_KERNEL)
		run_signal(run, (int)info->ssi_signo);
	return false;
}

/* --- start --------------------------------------------------------------------------------------- */

static int open_file(struct daemon *daemon, struct why *why)
{
	const struct options *options = &daemon->options;
	struct file_options how = {
		.read_only = options->read_only,
		.direct = options->cache == CACHE_NONE,
	};
	int err = file_open(&daemon->file, options->image, &how, why);

	if (err)
		return err;
	daemon->file_is_open = true;
	err = lock_image(daemon->file.fd, options->image, options->read_only, why);
	if (!err && !options->read_only)
		err = repair_dirty(daemon->file.fd, options->image, why);
	return err ? err : file_measure(&daemon->file, &how, why);
}

static int make_lanes(struct daemon *daemon, struct why *why)
{
	const struct options *options = &daemon->options;
	struct device_options how = {
		.id = (int32_t)options->device_id,
		.queues = (unsigned)options->queues,
		.depth = (unsigned)options->depth,
		.max_io_bytes = (uint32_t)options->max_io,
		.confine = controller_confine,
	};
	int err = device_prepare(&daemon->device, &how, why);
	unsigned queues;

	if (err)
		return err;
	queues = device_lanes(daemon->device);
	err = service_prepare(&daemon->service, queues, why);
	if (err)
		return err;
	daemon->service_is_made = true;
	daemon->lane = calloc(queues + 1, sizeof(*daemon->lane));
	if (!daemon->lane)
		return why_set(why, -ENOMEM, "out of memory");
	for (unsigned i = 0; i < queues; i++)
		daemon->lane[i] = device_lane(daemon->device, i);
	daemon->lane[queues] = &daemon->service.worker.lane;
	return 0;
}

static int open_image(struct daemon *daemon, const struct key *key, struct why *why)
{
	const struct options *options = &daemon->options;
	struct image_options how = {
		.read_only = options->read_only,
		.snapshot = options->snapshot,
		.key = key->bytes,
		.key_bytes = key->len,
		.l2_cache_bytes = options->l2_cache,
		.reqs_per_lane = (unsigned)options->depth,
		.lanes = device_lanes(daemon->device) + 1,
		.lane = daemon->lane,
		.files = {
			.open_below = backing_open,
			.open_data = backing_open_data,
			.arg = &daemon->backing,
			.backing_format = options->backing_format,
		},
	};

	backing_init(&daemon->backing, &daemon->file, &options->allow, true,
		     options->cache == CACHE_NONE);
	return image_open(&daemon->image, &daemon->file.host, &how, why);
}

/* The key is needed for no longer than the image takes to open. */
static int open_with_key(struct daemon *daemon, struct why *why)
{
	const char *key_file = daemon->options.key_file;
	struct key key;
	bool encrypted;
	int err = key_read(&key, key_file, why);

	if (err)
		return err;
	err = open_image(daemon, &key, why);
	encrypted = !err && image_info(daemon->image).encrypted;
	key_forget(&key, encrypted);
	if (!err && key_file && !encrypted)
		log_warn("%s: is not encrypted; the key is not used", daemon->options.image);
	return err;
}

static void drop_on_thread(void *arg)
{
	(void)arg;
	privileges_drop();
}

static int start(struct daemon *daemon, struct why *why)
{
	int err = make_lanes(daemon, why);
	const int *fd;
	unsigned files;

	if (!err)
		err = admin_begin(&daemon->admin, daemon->options.name, daemon->options.image, why);
	if (!err)
		err = open_file(daemon, why);
	if (!err)
		err = open_with_key(daemon, why);
	if (!err)
		err = device_ready(daemon->device, why);
	if (err)
		return err;
	process_isolate();
	fd = backing_fds(&daemon->backing, &files);
	err = service_start(&daemon->service, fd, files, why);
	if (!err)
		err = device_start(daemon->device, daemon->image, fd, files, why);
	if (err)
		return err;
	device_on_each_thread(daemon->device, drop_on_thread, NULL);
	service_on_thread(&daemon->service, drop_on_thread, NULL);
	privileges_drop();
	return 0;
}

/* --- serve --------------------------------------------------------------------------------------- */

static void announce(struct daemon *daemon)
{
	const char *name = device_name(daemon->device);

	log_debug("%s: served as %s", daemon->options.image, name);
	admin_serve(&daemon->admin, daemon->device, daemon->image);
	if (printf("%s\n", name) < 0 || fflush(stdout))
		log_warn("standard output: %m");
	notify("READY=1");
	run_start(&daemon->run, name);
}

/* As SIGTERM does.  True when it is time to stop. */
static bool obey_admin(struct daemon *daemon)
{
	struct signalfd_siginfo term = { .ssi_signo = SIGTERM, .ssi_code = SI_USER };

	admin_turn(&daemon->admin);
	if (!daemon->admin.stop_asked)
		return false;
	daemon->admin.stop_asked = false;
	return handle_signal(daemon, &term);
}

static void serve(struct daemon *daemon)
{
	struct pollfd fds[2 + CONTROL_FDS] = {
		{ .fd = daemon->signal_fd, .events = POLLIN },
		{ .fd = device_drained_fd(daemon->device), .events = POLLIN },
	};
	struct signalfd_siginfo info;

	for (;;) {
		int timeout_ms = -1;
		unsigned n = 2 + admin_watch(&daemon->admin, fds + 2, &timeout_ms);

		if (poll(fds, n, timeout_ms) < 0 && errno != EINTR) {
			log_error("poll: %m");
			return;
		}
		if (fds[1].revents) {
			log_info("%s: stopped by somebody else", device_name(daemon->device));
			return;
		}
		while (next_signal(daemon, &info))
			if (handle_signal(daemon, &info))
				return;
		if (obey_admin(daemon))
			return;
	}
}

/* --- stop ---------------------------------------------------------------------------------------- */

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
	int err = service_close_image(&daemon->service, daemon->image, while_stopping, daemon);

	if (err)
		log_error("%s: the last changes may not be on disk: %s", daemon->options.image,
			  strerror(-err));
	log_stats(daemon);
	return err;
}

/*
 * Undo as much of the start as was done.  The image is closed in order when all lanes turn;
 * without that, there never was a request.
 */
static int stop(struct daemon *daemon)
{
	struct device *device = daemon->device;
	struct why why;
	int err, stuck, deleted;

	if (!device)
		return 0;
	err = stuck = device_stop(device, while_stopping, daemon, &why);
	if (stuck)
		log_error("%s", why.text);
	else if (device_runs(device))
		err = close_image(daemon);
	deleted = device_delete(device, &why);
	if (deleted)
		log_error("%s", why.text);
	/* Host I/O may still be under way, into memory that therefore must not be freed. */
	if (stuck)
		_exit(STATUS_FAILED);
	return err ? err : deleted;
}

static void release(struct daemon *daemon)
{
	if (daemon->service_is_made)
		service_stop(&daemon->service);
	if (daemon->image)
		image_free(daemon->image);
	if (daemon->device)
		device_free(daemon->device);
	if (daemon->service_is_made)
		service_release(&daemon->service);
	backing_close(&daemon->backing);
	if (daemon->file_is_open) {
		unlock_image(daemon->file.fd);
		file_close(&daemon->file);
	}
	free(daemon->lane);
}

static void show_lane(void)
{
	if (this_lane)
		lane_dump(this_lane);
}

static int run_daemon(struct daemon *daemon)
{
	struct why why;
	int status = STATUS_OK;
	int err = run_prepare(&daemon->run, daemon->options.run, &why);

	if (!err)
		err = take_signals(daemon, &why);
	if (!err)
		err = start(daemon, &why);
	if (err) {
		log_error("%s", why.text);
		status = STATUS_FAILED;
	} else {
		announce(daemon);
		serve(daemon);
		notify("STOPPING=1");
		admin_stopping(&daemon->admin);
	}
	if (stop(daemon))
		status = STATUS_FAILED;
	release(daemon);
	admin_end(&daemon->admin,
		  status == STATUS_OK ? NULL : "it stopped, but not in order; see its messages");
	run_finish(&daemon->run);
	return status == STATUS_OK && daemon->run.pid ? daemon->run.status : status;
}

/*
 * A standard stream that the caller has closed gets /dev/null: else the image might be opened in
 * its place, and take what we print.
 */
static int fill_standard_streams(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	return fd < 0 ? -errno : close(fd);
}

int main(int argc, char **argv)
{
	struct daemon daemon = { .signal_fd = -1, .admin.control.fd = -1 };
	const struct command *command;
	struct why why;

	if (fill_standard_streams())
		return STATUS_FAILED;
	command = argc > 1 ? command_find(argv[1]) : NULL;
	if (command)
		return command->run(argv + 2);
	if (options_parse(&daemon.options, argv, &why)) {
		fprintf(stderr, "qcow2-ublkd: %s\nTry qcow2-ublkd --help\n", why.text);
		return STATUS_USAGE;
	}
	if (daemon.options.help) {
		options_help();
		return STATUS_OK;
	}
	if (daemon.options.version) {
		printf("qcow2-ublkd %s\n", VERSION);
		return STATUS_OK;
	}
	if (daemon.options.verbose)
		log_threshold = LOG_DEBUG;
	must_fail_hook = show_lane;
	return run_daemon(&daemon);
}
