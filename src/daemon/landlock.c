/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Landlock by its system calls (kernel docs: "Landlock: unprivileged access control").  What an
 * older kernel does not know to restrict is left out, what a newer one knows more is not used.
 */
#include "landlock.h"
#include "base.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Rights on files: the first 13 came with version 1, and then in the versions named. */
#define FS_VERSION_1 ((UINT64_C(1) << 13) - 1)
#define FS_REFER (UINT64_C(1) << 13) /* 2 */
#define FS_TRUNCATE (UINT64_C(1) << 14) /* 3 */
#define FS_IOCTL_DEV (UINT64_C(1) << 15) /* 5 */
#define NET_TCP UINT64_C(3) /* 4: bind and connect */

/* As version 4 has it; earlier ones take the first field alone. */
struct ruleset {
	uint64_t fs;
	uint64_t net;
};

static long version(void)
{
	return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

static int make_ruleset(long abi)
{
	struct ruleset all = {
		.fs = FS_VERSION_1 | (abi >= 2 ? FS_REFER : 0) | (abi >= 3 ? FS_TRUNCATE : 0) |
		      (abi >= 5 ? FS_IOCTL_DEV : 0),
		.net = abi >= 4 ? NET_TCP : 0,
	};
	size_t bytes = abi >= 4 ? sizeof(all) : sizeof(all.fs);

	return (int)syscall(SYS_landlock_create_ruleset, &all, bytes, 0);
}

static int allow_removal(int ruleset, const char *folder)
{
	struct landlock_path_beneath_attr rule = {
		.allowed_access = LANDLOCK_ACCESS_FS_REMOVE_FILE,
		.parent_fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC),
	};
	int err;

	if (rule.parent_fd < 0)
		return -errno;
	err = syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) ?
		      -errno :
		      0;
	close(rule.parent_fd);
	return err;
}

int landlock_confine(const char *folder)
{
	long abi = version();
	int ruleset = abi > 0 ? make_ruleset(abi) : -1;
	int err;

	if (abi <= 0)
		return -EOPNOTSUPP;
	if (ruleset < 0)
		return -errno;
	err = folder ? allow_removal(ruleset, folder) : 0;
	if (!err && syscall(SYS_landlock_restrict_self, ruleset, 0))
		err = -errno;
	close(ruleset);
	return err;
}
