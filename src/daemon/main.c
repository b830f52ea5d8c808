/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The process: a command, or a device until it is told to stop. */
#include "commands.h"
#include "daemon.h"
#include "messages.h"
#include "notify.h"
#include "privileges.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum exit_status { STATUS_OK, STATUS_FAILED, STATUS_USAGE };

static void show_lane(void)
{
	if (this_lane)
		lane_dump(this_lane);
}

/* Whoever told it to stop has what was wanted; but who waits for a device is to hear that there is none. */
static int end_start(struct daemon *daemon, const struct why *why)
{
	if (daemon->given_up)
		log_info("%s", why->text);
	else
		log_event(MESSAGE_FAILED, "%s", why->text);
	successor_tell(&daemon->successor, why->text);
	daemon->failed = true;
	/* A command that has not run has no status, and 0 would be taken for one. */
	return daemon->given_up && !daemon->options.run ? STATUS_OK : STATUS_FAILED;
}

static int run_daemon(struct daemon *daemon)
{
	struct why why;
	int status = STATUS_OK;
	int err;

	successor_init(&daemon->successor);
	/* That was about what was left before the old process started. */
	if (daemon->successor.fd >= 0)
		daemon->options.abandon = false;
	err = run_prepare(&daemon->run, daemon->options.run, &why);
	process_bound();
	if (!err)
		err = signals_take(daemon, &why);
	if (!err)
		err = startup(daemon, &why);
	if (err) {
		status = end_start(daemon, &why);
	} else {
		serve(daemon);
		notify("STOPPING=1");
		admin_stopping(&daemon->admin);
	}
	if (shutdown_stop(daemon))
		status = STATUS_FAILED;
	shutdown_release(daemon);
	admin_end(&daemon->admin,
		  status == STATUS_OK ? NULL : "it stopped, but not in order; see its messages");
	run_finish(&daemon->run);
	return status == STATUS_OK && daemon->run.pid ? daemon->run.status : status;
}

/*
 * One heap for all threads: none of them allocates while it serves, and each heap more takes 64 MiB of
 * address space, all of which counts when memory is locked.
 */
static void share_heap(void)
{
#ifdef M_ARENA_MAX
	mallopt(M_ARENA_MAX, 1);
#endif
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
	struct daemon daemon = {
		.signal_fd = -1,
		.successor.fd = -1,
		.admin.control.fd = -1,
		.owner.fd = -1,
		.resizing.fd = -1,
		.folder.fd = -1,
	};
	const struct command *command;
	struct why why;
	int err;

	if (fill_standard_streams())
		return STATUS_FAILED;
	command = argc > 1 ? command_find(argv[1]) : NULL;
	if (command)
		return command->run(argv + 2);
	err = options_parse(&daemon.options, argv, &why);
	if (err == -EINVAL) {
		fprintf(stderr, "qcow2-ublkd: %s\nTry qcow2-ublkd --help\n", why.text);
		return STATUS_USAGE;
	}
	/* What is not there may come: the service manager is to try again. */
	if (err) {
		log_error("%s", why.text);
		return STATUS_FAILED;
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
	share_heap();
	log_open_journal();
	admin_origin(&daemon.admin, argv);
	return run_daemon(&daemon);
}
