/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * --run: a command that lives as long as the device, in the caller's mount namespace.
 *
 * Its process is made first of all and waits for the device: it then has nothing of ours, and
 * after the device is opened nothing may fork.
 */
#ifndef RUN_H
#define RUN_H

#include "base.h"

#include <sys/types.h>

struct run {
	pid_t pid; /* 0: no command */
	int start_fd; /* write end of the pipe on which the process waits */
	bool ended;
	int status; /* exit status for ours, when ended */
};

/*
 * Make the process for @command (NULL: none).  Before anything is opened that it must not
 * inherit, before signals are blocked, and before threads.  -errno with the sentence in @why.
 */
int run_prepare(struct run *run, const char *command, struct why *why);

/* Let it run: sh -c COMMAND with the environment variable device=@device. */
void run_start(struct run *run, const char *device);

/* Send a signal to it, while it runs, though it be another user's (--user).  0 or -errno. */
int run_signal(const struct run *run, int signal);

/* After SIGCHLD: has it ended?  Sets run->status: its exit status, or 128 + signal. */
bool run_ended(struct run *run);

/* End a process that was not started; wait for one that was. */
void run_finish(struct run *run);

#endif
