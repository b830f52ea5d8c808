/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Namespaces, flags and capabilities. */
#include "privileges.h"
#include "base.h"
#include "landlock.h"
#include "syscalls.h"

#include <cap-ng.h>
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57 /* Linux 5.6 */
#endif

/* Any folder that is there: nobody looks at what it hides. */
#define NEW_ROOT "/sys"

static bool isolated; /* the mount namespace is ours alone */
static bool bounded; /* so is each thread that is made from here on; written before there are any */

/* Slave, not private: what is unmounted outside must go here, or else it could not be unmounted. */
static void isolate_mounts(void)
{
	if (unshare(CLONE_NEWNS))
		log_warn(
			"no mount namespace of our own: %m; unmount the device before it is stopped");
	else if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL))
		log_warn("mount namespace: cannot follow the caller's: %m");
	else
		isolated = true;
}

static void never_wait_for_ourselves(void)
{
	if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0))
		log_warn("PR_SET_IO_FLUSHER: %m; the device may hang when memory is short");
}

void process_isolate(void)
{
	umask(S_IRWXG | S_IRWXO);
	isolate_mounts();
	never_wait_for_ourselves();
}

/* --- the empty root ------------------------------------------------------------------------------ */

/* Make @path and what is above it, below the current folder. */
static int make_folders(const char *path)
{
	char part[PATH_MAX];

	for (size_t len = 1; path[len - 1]; len++) {
		if (path[len] != '/' && path[len] != '\0')
			continue;
		snprintf(part, sizeof(part), ".%.*s", (int)len, path);
		if (mkdir(part, 0700) && errno != EEXIST)
			return -errno;
	}
	return 0;
}

/* The current folder is the new root. */
static int keep_folder(const char *folder)
{
	char to[PATH_MAX];
	int err = make_folders(folder);

	snprintf(to, sizeof(to), ".%s", folder);
	if (!err && mount(folder, to, NULL, MS_BIND, NULL))
		err = -errno;
	return err;
}

static int empty_root(const char *folder)
{
	int err;

	/* From here on nothing new comes in. */
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", NEW_ROOT, "tmpfs", MS_NODEV | MS_NOEXEC | MS_NOSUID,
		  "size=64k,mode=700") ||
	    chdir(NEW_ROOT))
		return -errno;
	err = folder ? keep_folder(folder) : 0;
	if (err)
		return err;
	/* The old root is then mounted over the new one, in the same place. */
	if (syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) || chdir("/"))
		return -errno;
	return 0;
}

void process_leave_mounts(const char *folder)
{
	int err = isolated ? empty_root(folder) : 0;

	if (err)
		log_warn("mount namespace: cannot be emptied: %s; unmount the device before this "
			 "process ends",
			 strerror(-err));
}

/* --- locked memory ------------------------------------------------------------------------------- */

/* What locks all memory must not be in the way of what is mapped later, without privileges. */
static void lift_limit(void)
{
	struct rlimit none = { RLIM_INFINITY, RLIM_INFINITY };

	setrlimit(RLIMIT_MEMLOCK, &none);
}

int process_lock_memory(struct why *why)
{
	struct rlimit limit = { 0 };
	int err;

	lift_limit();
	if (mlockall(MCL_CURRENT | MCL_FUTURE) == 0)
		return 0;
	err = -errno;
	getrlimit(RLIMIT_MEMLOCK, &limit);
	return why_set(why, err,
		       "--lock-memory: %s; it takes CAP_IPC_LOCK, or a higher limit than %llu KiB "
		       "(ulimit -l, LimitMEMLOCK=), or a smaller --depth or --max-io",
		       strerror(-err), (unsigned long long)limit.rlim_cur / 1024);
}

/* --- capabilities -------------------------------------------------------------------------------- */

static void apply_capabilities(void)
{
	/* Without these, not even a program that we might be made to run could regain any. */
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		log_warn("PR_SET_NO_NEW_PRIVS: %m");
	/* Whoever has become another user has none, and so cannot, and need not, bound them. */
	if (capng_apply(geteuid() == 0 && !bounded ? CAPNG_SELECT_ALL : CAPNG_SELECT_CAPS))
		log_warn("cannot drop capabilities");
}

void process_bound(void)
{
	if (geteuid() != 0)
		return;
	bounded = true;
	for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0)) {
			log_warn("PR_CAPBSET_DROP: %m");
			return;
		}
}

void privileges_drop(void)
{
	capng_clear(CAPNG_SELECT_ALL);
	apply_capabilities();
}

/* Each further fence is worth having alone. */
static void fence(enum syscalls which, const char *folder)
{
	int err = landlock_confine(folder);

	if (err && err != -EOPNOTSUPP)
		log_warn("Landlock: %s", strerror(-err));
	err = syscalls_confine(which);
	if (err && err != -EOPNOTSUPP)
		log_warn("seccomp: %s", strerror(-err));
}

void lane_confine(void)
{
	privileges_drop();
	fence(SYSCALLS_LANE, NULL);
}

void main_confine(const char *folder)
{
	privileges_drop();
	fence(SYSCALLS_MAIN, folder);
}

void controller_confine(void)
{
	never_wait_for_ourselves();
	privileges_drop();
	fence(SYSCALLS_CONTROLLER, NULL);
}

/* What takes no privileges is read with none that could do harm. */
void privileges_rest(bool rest)
{
	static const unsigned needed[] = { CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_IPC_LOCK };

	capng_clear(CAPNG_SELECT_ALL);
	if (capng_get_caps_process())
		return;
	for (unsigned cap = 0; cap <= CAP_LAST_CAP; cap++) {
		bool keeps = !rest;

		for (unsigned i = 0; i < ARRAY_SIZE(needed); i++)
			keeps |= cap == needed[i];
		if (capng_have_capability(CAPNG_PERMITTED, cap))
			capng_update(keeps ? CAPNG_ADD : CAPNG_DROP, CAPNG_EFFECTIVE, cap);
	}
	if (capng_apply(CAPNG_SELECT_CAPS))
		log_warn("cannot change the effective capabilities");
}

void helper_confine(void)
{
	capng_clear(CAPNG_SELECT_ALL);
	capng_updatev(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, CAP_SYS_ADMIN, CAP_SYS_PTRACE,
		      CAP_DAC_READ_SEARCH, -1);
	apply_capabilities();
	syscalls_confine(SYSCALLS_HELPER);
}
