/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The helper: a process for what waits for our own device.
 *
 * The server must never do that.  Killed while it waits, it would not end, what it has of the
 * device would stay open, and nobody could take the device over or away.  So a process that has
 * nothing of the device, and as many privileges as the jobs need, does each job in a child of its
 * own.  A child ends with its job, or when the server's end of the job's socket is closed; one that
 * hangs harms nobody, and goes on when the device does.
 */
#ifndef HELPER_H
#define HELPER_H

#include "base.h"

#include <linux/ublk_cmd.h>
#include <sys/types.h>

struct helper {
	int fd;
	pid_t pid; /* 0: none */
};

enum help {
	HELP_FIRST_START, /* see first_start.h */
	HELP_BIND, /* see bind.h */
	HELP_TUNE, /* see tune.h */
	HELP_HOLD, /* see hold.h */
	HELP_PARTITIONS, /* see partitions.h */
	HELP_FIND_PARTITIONS,
};

struct help_job {
	enum help help;
	struct ublksrv_ctrl_dev_info info; /* the device */
	bool force; /* HELP_HOLD: although it is in use */
};

/* What a job says, unless its header has something else. */
struct help_answer {
	int32_t res; /* 0, -errno, or as the job's header says */
	char text[sizeof(((struct why *)0)->text)]; /* a sentence, or empty */
};

/*
 * Start the helper.  Before threads, and before anything is open that must not be inherited.
 * @confine() leaves it CAP_SYS_ADMIN, CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH.  -errno with the
 * sentence in @why.
 */
int helper_spawn(struct helper *helper, void (*confine)(void), struct why *why);

/* Start a job: *@fd is our end of its socket (SEQPACKET).  -errno with the sentence in @why. */
int helper_begin(struct helper *helper, const struct help_job *job, int *fd, struct why *why);

/*
 * Start a job, wait for its answer, up to @timeout_ms, and end it.  The answer's res with its
 * sentence, or -errno with ours.
 */
int helper_run(struct helper *helper, const struct help_job *job, int timeout_ms, struct why *why);

/* Has it ended, against all expectations?  True once; jobs fail then. */
bool helper_lost(struct helper *helper);

/* End the helper. */
void helper_close(struct helper *helper);

/* --- for jobs ------------------------------------------------------------------------------------ */

/* Answer. */
void help_say(int fd, int32_t res, const char *text);

/* Wait until the server ends the job, or itself. */
void help_await_end(int fd);

#endif
