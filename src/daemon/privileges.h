/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the process needs to be, and what it gives away. */
#ifndef PRIVILEGES_H
#define PRIVILEGES_H

#include "base.h"

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
 * Before any thread exists: no program that we might be made to run ever gains a capability.  One
 * system call for each capability, which no thread then makes for itself.  Takes CAP_SETPCAP; a
 * failure is warned of.  A no-op for who is not root.
 */
void process_bound(void);

/*
 * Drop all capabilities of the calling thread, for good.  What is open keeps working.  By each
 * thread.
 */
void privileges_drop(void);

/*
 * Lock all memory that the process has and will have, so that it needs none when there is none:
 * for a device that carries swap.  Before memory is mapped and threads are made.  -errno with the
 * sentence in @why.
 */
int process_lock_memory(struct why *why);

/*
 * Let the effective capabilities of this thread rest, but for those that open the image's files, or
 * have them again.  Protects from mistakes only: what is permitted stays so.
 */
void privileges_rest(bool rest);

/*
 * Of a lane's thread, by itself: no capability, no file that is not open, no system call that serving
 * does not take (see landlock.h and syscalls.h, and that a thread has none of these for others).
 */
void lane_confine(void);

/* Of the main thread: the same, but it has sockets, and may remove files of @folder (NULL: none). */
void main_confine(const char *folder);

/* The same for the process that controls the device, which must not wait for it either. */
void controller_confine(void);

/*
 * For the process that may wait for the device: leave it what it takes to see and to sync its
 * users, CAP_SYS_ADMIN, CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH; and take from it the calls that would
 * change the machine.  A fence against mistakes: files that are there it opens for writing, as those of
 * /sys, and its rings can do what its calls may not.  Landlock would take from it what others have open.
 */
void helper_confine(void);

#endif
