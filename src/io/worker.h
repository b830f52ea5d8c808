/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A worker: one lane, its uring, and the thread that turns them.
 *
 * Life: worker_prepare() makes the lane, so that an image can be opened on it; worker_start()
 * makes the thread; worker_stop() ends it; worker_release() frees the lane.
 */
#ifndef WORKER_H
#define WORKER_H

#include "base.h"
#include "task.h"
#include "uring.h"

#include <pthread.h>
#include <semaphore.h>

struct worker;

struct worker_options {
	const char *name; /* of the thread, at most 15 characters */
	struct uring_sizes sizes;
	const int *file; /* see uring_start(); read before the start is over */
	unsigned files;
	/* On the thread, when the ring is up and before the first turn: 0 or -errno. May be NULL. */
	int (*start)(struct worker *worker);
	/* On the thread, before the ring goes: at the end, or after a failed start. May be NULL. */
	void (*end)(struct worker *worker);
};

/* Something that the worker's thread does between two turns. */
struct worker_call {
	void (*run)(void *arg);
	void *arg;
	struct worker_call *next; /* posted before it */
};

/* The same, for somebody who waits for it. */
struct worker_errand {
	struct worker_call call;
	void (*run)(void *arg);
	void *arg;
	sem_t done;
};

struct worker {
	struct lane lane;
	struct uring uring;
	_Atomic(struct worker_call *) calls; /* that were posted, newest first */
	_Atomic unsigned pulse_asked; /* by worker_ask_pulse() */
	_Atomic unsigned pulse; /* what was asked for when it turned last */
	bool stopping; /* own thread */
	bool running; /* the thread that starts and stops: there is a thread to stop */
	pthread_t thread;
	struct worker_options options;
	int err; /* of the start; before it is announced by `started` */
	sem_t started;
};

/* Make the lane with number @id.  0 or -errno of uring_prepare(). */
int worker_prepare(struct worker *worker, unsigned id);

/*
 * Start the thread and wait until it runs its lane.  It inherits the signal mask, the mount
 * namespace and PR_SET_IO_FLUSHER of the caller.  0, or -errno of thread_start(),
 * uring_start() or options->start(); then there is no thread.
 */
int worker_start(struct worker *worker, const struct worker_options *options);

/*
 * The same in two steps, so that several start at the same time: when worker_launch() has succeeded,
 * worker_await() must follow, by the same thread, and only then may the worker be called or stopped.
 */
int worker_launch(struct worker *worker, const struct worker_options *options);
int worker_await(struct worker *worker);

/*
 * Run @run(@arg) on the worker's thread, between two turns, and wait for it.  From any thread that
 * is no worker's; while the worker is running.
 */
void worker_call(struct worker *worker, void (*run)(void *arg), void *arg);

/* The same in two steps, so that several do it at the same time: @errand lives until the second. */
void worker_call_begin(struct worker *worker, struct worker_errand *errand, void (*run)(void *arg),
		       void *arg);
void worker_call_end(struct worker_errand *errand);

/*
 * Ask the thread for a turn, without waiting; worker_has_pulse() says whether it has made one
 * since.  An idle thread makes one at once.  As worker_call(): by one thread, while it is running.
 */
void worker_ask_pulse(struct worker *worker);
bool worker_has_pulse(const struct worker *worker);

/*
 * As worker_call() without waiting, for a thread that may hang: @call is the worker's until it is run,
 * which is never, should the worker end before.  Calls are run in the order of their posting.
 */
void worker_post(struct worker *worker, struct worker_call *call);

/*
 * End the thread, whatever its lane is doing, and release its io_uring; a no-op when it does not
 * run.  What is in flight is cancelled by the kernel, and its buffers must stay until the file
 * that it was for is closed.
 */
void worker_stop(struct worker *worker);

/* Free the lane: when every worker that may wake one of its tasks has been stopped. */
void worker_release(struct worker *worker);

#endif
