/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The other end of the control socket: a command that asks a daemon. */
#ifndef CLIENT_H
#define CLIENT_H

#include "registry.h"
#include "report.h"

#define CLIENT_ANSWER_MAX (16 * MIB)

/*
 * The entry that @which means: a name, or a path to a block device.  -ENOENT, -errno with the
 * sentence in @why.
 */
int client_find(const char *which, struct registry_entry *entry, struct why *why);

/*
 * Ask the daemon @name for @request.  0 with its answer in @report, to be freed by
 * report_free(); -ETIME when it does not answer within @seconds (0: wait for ever); -ECONNREFUSED,
 * -ENOENT when it is gone, or does not listen yet; -EREMOTEIO with its own sentence in @why; -errno.
 */
int client_ask(const char *name, const char *request, unsigned seconds, struct report *report,
	       struct why *why);

/*
 * Read an answer from @fd, up to its end.  0 with the report, to be freed by report_free();
 * -EREMOTEIO with the other side's own sentence in @why; -EPIPE, when it has ended without an
 * answer, -ETIME, -ENOMEM or -errno, without a sentence; -EPROTO.
 */
int client_receive(int fd, struct report *report, struct why *why);

#endif
