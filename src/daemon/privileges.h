/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the process needs to be, and what it gives away. */
#ifndef PRIVILEGES_H
#define PRIVILEGES_H

/*
 * Before any thread exists: a mount namespace of our own, so that we never are the last to hold
 * a mount of our own device, which follows the caller's; and never wait for our own device when
 * memory is short (PR_SET_IO_FLUSHER).  Failures are warned of: the device works, only less
 * safely.
 */
void process_isolate(void);

/*
 * Drop all capabilities of the calling thread, for good.  What is open keeps working.  By each
 * thread.
 */
void privileges_drop(void);

/* The same for the process that controls the device, which must not wait for it either. */
void controller_confine(void);

#endif
