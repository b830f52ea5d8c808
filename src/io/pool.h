/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Threads for what would hold up a lane: the IO_WORK of all lanes, oldest first.
 *
 * Life: pool_init() says how many threads there will be; pool_attach() each lane before its ring is
 * started; pool_start(); when all lanes have ended, pool_stop().
 */
#ifndef POOL_H
#define POOL_H

#include "base.h"
#include "io.h"
#include "task.h"

#include <pthread.h>

#define POOL_THREADS_MAX 4u

struct pool_thread {
	struct pool *pool;
	unsigned number;
	pthread_t thread;
	_Atomic unsigned pulse; /* pool->pulse_asked when it came by last */
	bool asked; /* to run the errand; under the lock */
};

struct pool {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct list works; /* struct io, oldest first; under the lock, as the next one */
	bool stopping;
	void (*errand)(void); /* see pool_on_each_thread(); under the lock, as the next one */
	unsigned errands; /* threads that have not run it */
	pthread_cond_t errand_done;
	unsigned threads;
	unsigned started; /* of them */
	_Atomic unsigned pulse_asked;
	void (*begin)(void);
	struct pool_thread thread[POOL_THREADS_MAX];
};

/* pool->threads is set: one for each CPU that we may run on, up to POOL_THREADS_MAX. */
void pool_init(struct pool *pool);

/* Let @lane, which must be a worker's, have its IO_WORK done by @pool. */
void pool_attach(struct pool *pool, struct lane *lane);

/*
 * Start the threads, each of which calls @begin first unless that is NULL.  They inherit the signal
 * mask, the mount namespace and PR_SET_IO_FLUSHER of the caller.  0, or -errno of
 * thread_start(); then as many run as could be started.
 */
int pool_start(struct pool *pool, void (*begin)(void));

/*
 * Run @run() once on each thread, when it has done what it is doing, and wait until all have.  By
 * one thread.
 */
void pool_on_each_thread(struct pool *pool, void (*run)(void));

/*
 * Ask all threads to come by; pool_has_pulse() says whether they have since.  Who has no work does at
 * once, who has some when that is done.  Waits for a second at most, should a thread stand still with
 * the lock.  By one thread.
 */
void pool_ask_pulse(struct pool *pool);
bool pool_has_pulse(const struct pool *pool);

/* Take all of @works, struct io that the lanes' rings were given.  Any thread. */
void pool_put(struct pool *pool, struct list *works);

/*
 * End the threads: what is being done is waited for, the rest never completes.  A no-op when they
 * do not run.  Before the lanes are released, and the memory that the works name.
 */
void pool_stop(struct pool *pool);

/* Free the rest. */
void pool_release(struct pool *pool);

#endif
