/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the process needs to be, and what it gives away. */
#ifndef PRIVILEGES_H
#define PRIVILEGES_H

/*
 * Before any thread exists: a mount namespace of our own, which follows the caller's; and never
 * wait for our own device when memory is short (PR_SET_IO_FLUSHER).  Failures are warned of: the
 * device works, only less safely.
 */
void process_isolate(void);

/*
 * When everything is open: leave all mounts but that of @folder (NULL: none), which stays where it
 * is, in this process, all of its threads.  So it is never the last to hold a mount of its own device, which
 * it would then have to write back while it ends.  Takes CAP_SYS_ADMIN.  A failure is warned of.
 */
void process_leave_mounts(const char *folder);

/*
 * Drop all capabilities of the calling thread, for good.  What is open keeps working.  By each
 * thread.
 */
void privileges_drop(void);

/* The same for the process that controls the device, which must not wait for it either. */
void controller_confine(void);

/*
 * For the process that may wait for the device: leave it what it takes to see and to sync its
 * users, CAP_SYS_ADMIN, CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH.
 */
void helper_confine(void);

#endif
