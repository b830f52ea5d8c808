/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which system calls a thread may make; all others fail with EPERM. */
#ifndef SYSCALLS_H
#define SYSCALLS_H

enum syscalls {
	SYSCALLS_LANE, /* a thread that serves requests: memory, its ring, and files that are open */
	SYSCALLS_MAIN, /* the same, the control socket, and to remove files */
	SYSCALLS_CONTROLLER, /* its ring, and one socket */
	SYSCALLS_HELPER, /* all but what it has no use for, as it runs with privileges */
};

/*
 * Of the calling thread and those that it makes, for good.  Needs PR_SET_NO_NEW_PRIVS.  0; -EOPNOTSUPP
 * where it was built without libseccomp, or the kernel has no seccomp; -errno.
 */
int syscalls_confine(enum syscalls which);

#endif
