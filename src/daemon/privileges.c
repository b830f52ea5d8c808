/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Namespaces, flags and capabilities. */
#include "privileges.h"
#include "base.h"

#include <cap-ng.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57 /* Linux 5.6 */
#endif

/*
 * The last process of a namespace unmounts what is mounted there.  If that is our own device,
 * its last writes would wait for us.  Slave, not private: what is unmounted outside must go here.
 */
static void isolate_mounts(void)
{
	if (unshare(CLONE_NEWNS))
		log_warn(
			"no mount namespace of our own: %m; unmount the device before it is stopped");
	else if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL))
		log_warn("mount namespace: cannot follow the caller's: %m");
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

void privileges_drop(void)
{
	/* Without these, not even a program that we might be made to run could regain any. */
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		log_warn("PR_SET_NO_NEW_PRIVS: %m");
	capng_clear(CAPNG_SELECT_ALL);
	if (capng_apply(CAPNG_SELECT_ALL))
		log_warn("cannot drop capabilities");
}

void controller_confine(void)
{
	never_wait_for_ourselves();
	privileges_drop();
}
