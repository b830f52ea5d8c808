/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Threads with a stack of known size, which costs little when all memory is locked, and a known end. */
#ifndef THREAD_H
#define THREAD_H

#include <pthread.h>

/*
 * As pthread_create(), for a thread called @name (at most 15 characters), with a small stack and a
 * guard below it.  It inherits the signal mask, the mount namespace and PR_SET_IO_FLUSHER of the
 * caller.  0, or -errno.
 */
int thread_start(pthread_t *thread, const char *name, void *(*run)(void *arg), void *arg);

/*
 * A file that polls readable, and stays so, when a thread of thread_start() has ended without a return of
 * its function: by a seccomp filter of somebody else's, say.  Its share of the work is never done then.
 * -1 if there can be none; before Linux 6.9 no end is noticed.  For the process's life; any thread.
 */
int thread_ends_fd(void);

#endif
