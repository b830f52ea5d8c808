/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Start this program in another daemon's place: as that one was started, wherever we are. */
#ifndef RESTART_H
#define RESTART_H

#include "report.h"

#include <sys/resource.h>
#include <sys/types.h>

/* What of a process is to be the same in the new one. */
struct restart {
	char **argv; /* NULL at its end */
	char *directory;
	int stream[3]; /* its standard streams, or -1 */
	int cgroup; /* its cgroup.procs, or -1 */
	char oom_score_adj[16]; /* "": not known */
	bool ignores_hangup; /* SIGHUP */
	struct rlimit limit[RLIM_NLIMITS];
	bool limited[RLIM_NLIMITS]; /* it is known */
};

/*
 * Of process @pid, which says @origin about itself (see admin.c).  -errno with the sentence in
 * @why; to be freed in any case.
 */
int restart_prepare(struct restart *restart, pid_t pid, const struct report *origin,
		    struct why *why);
void restart_free(struct restart *restart);

/*
 * Start the program that is open as file @program, or this very one when that is -1, in a session of
 * its own, with `@variable=N @value` in its environment, where N is its end of a socket whose other
 * end is *@fd.  -errno with the sentence in @why; what goes wrong later is said through the socket.
 */
int restart_program(const struct restart *restart, int program, const char *variable,
		    const char *value, int *fd, struct why *why);

#endif
