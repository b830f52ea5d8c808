/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Another user to serve as: its primary group is the only one. */
#include "user.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <unistd.h>

int user_find(struct user *user, const char *name, struct why *why)
{
	const struct passwd *entry;

	errno = 0;
	entry = getpwnam(name);
	if (!entry)
		return why_set(why, errno ? -errno : -ENOENT, "--user %s: %s", name,
			       errno ? strerror(errno) : "there is no such user");
	*user = (struct user){ .name = name, .uid = entry->pw_uid, .gid = entry->pw_gid };
	return 0;
}

static int change(const struct user *user)
{
	if (setgroups(0, NULL) || setresgid(user->gid, user->gid, user->gid) ||
	    setresuid(user->uid, user->uid, user->uid))
		return -errno;
	return 0;
}

int user_become(const struct user *user, struct why *why)
{
	bool has_secrets = prctl(PR_GET_DUMPABLE) == 0;
	int err = change(user);

	/* The kernel has set what /proc/sys/fs/suid_dumpable says. */
	if (has_secrets)
		prctl(PR_SET_DUMPABLE, 0);
	return err ? why_set(why, err, "--user %s: %s", user->name, strerror(-err)) : 0;
}
