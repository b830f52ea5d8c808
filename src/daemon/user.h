/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Another user to serve as. */
#ifndef USER_H
#define USER_H

#include "base.h"

#include <sys/types.h>

struct user {
	const char *name;
	uid_t uid;
	gid_t gid;
};

/* Who is @name?  -errno with the sentence in @why. */
int user_find(struct user *user, const char *name, struct why *why);

/*
 * Be it, in all threads, for good; and leave no core dump if the process would have left none before.
 * Takes CAP_SETUID and CAP_SETGID.  -errno with the sentence.
 */
int user_become(const struct user *user, struct why *why);

#endif
