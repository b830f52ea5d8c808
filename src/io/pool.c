/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A queue, and threads that wait for something to be in it. */
#include "pool.h"
#include "thread.h"
#include "uring.h"

#include <sched.h>
#include <time.h>

#define PULSE_PATIENCE_S 1

static unsigned cpus(void)
{
	cpu_set_t set;
	int n = sched_getaffinity(0, sizeof(set), &set) ? 1 : CPU_COUNT(&set);

	return n > 0 ? (unsigned)n : 1;
}

void pool_init(struct pool *pool)
{
	memset(pool, 0, sizeof(*pool));
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->changed, NULL);
	pthread_cond_init(&pool->errand_done, NULL);
	list_init(&pool->works);
	pool->threads = (unsigned)min_u64(cpus(), POOL_THREADS_MAX);
}

void pool_attach(struct pool *pool, struct lane *lane)
{
	container_of(lane->ring, struct uring, ring)->pool = pool;
}

void pool_put(struct pool *pool, struct list *works)
{
	bool one = works->next == works->prev;

	pthread_mutex_lock(&pool->lock);
	list_splice_tail(&pool->works, works);
	pthread_mutex_unlock(&pool->lock);
	if (one)
		pthread_cond_signal(&pool->changed);
	else
		pthread_cond_broadcast(&pool->changed);
}

/* --- the watchdog ---------------------------------------------------------------------------------- */

void pool_ask_pulse(struct pool *pool)
{
	struct timespec until;
	int err;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += PULSE_PATIENCE_S;
	err = pthread_mutex_clocklock(&pool->lock, CLOCK_MONOTONIC, &until);
	atomic_fetch_add_explicit(&pool->pulse_asked, 1, memory_order_relaxed);
	if (err)
		return;
	pthread_mutex_unlock(&pool->lock);
	pthread_cond_broadcast(&pool->changed);
}

bool pool_has_pulse(const struct pool *pool)
{
	unsigned asked = atomic_load_explicit(&pool->pulse_asked, memory_order_relaxed);

	for (unsigned i = 0; i < pool->started; i++)
		if (atomic_load_explicit(&pool->thread[i].pulse, memory_order_relaxed) != asked)
			return false;
	return true;
}

static void show_pulse(struct pool_thread *thread)
{
	unsigned asked = atomic_load_explicit(&thread->pool->pulse_asked, memory_order_relaxed);

	atomic_store_explicit(&thread->pulse, asked, memory_order_relaxed);
}

/* --- the threads ----------------------------------------------------------------------------------- */

/* Under the lock, which is given up meanwhile. */
static void run_errand(struct pool_thread *thread)
{
	struct pool *pool = thread->pool;

	thread->asked = false;
	pthread_mutex_unlock(&pool->lock);
	pool->errand();
	pthread_mutex_lock(&pool->lock);
	if (--pool->errands == 0)
		pthread_cond_signal(&pool->errand_done);
}

/* NULL when it is time to end. */
static struct io *next_work(struct pool_thread *thread)
{
	struct pool *pool = thread->pool;
	struct io *io = NULL;

	pthread_mutex_lock(&pool->lock);
	show_pulse(thread);
	while (thread->asked || (!pool->stopping && list_empty(&pool->works))) {
		if (thread->asked)
			run_errand(thread);
		else
			pthread_cond_wait(&pool->changed, &pool->lock);
		show_pulse(thread);
	}
	if (!pool->stopping) {
		io = container_of(pool->works.next, struct io, link);
		list_del(&io->link);
	}
	pthread_mutex_unlock(&pool->lock);
	return io;
}

static void *pool_main(void *arg)
{
	struct pool_thread *thread = arg;
	struct io *io;

	if (thread->pool->begin)
		thread->pool->begin();
	while ((io = next_work(thread)))
		uring_worked(io, io->work(io, thread->number));
	return NULL;
}

int pool_start(struct pool *pool, void (*begin)(void))
{
	pool->begin = begin;
	while (pool->started < pool->threads) {
		struct pool_thread *thread = &pool->thread[pool->started];
		int err;

		thread->pool = pool;
		thread->number = pool->started;
		err = thread_start(&thread->thread, "pool", pool_main, thread);
		if (err)
			return err;
		pool->started++;
	}
	return 0;
}

void pool_on_each_thread(struct pool *pool, void (*run)(void))
{
	pthread_mutex_lock(&pool->lock);
	pool->errand = run;
	pool->errands = pool->started;
	for (unsigned i = 0; i < pool->started; i++)
		pool->thread[i].asked = true;
	pthread_cond_broadcast(&pool->changed);
	while (pool->errands > 0)
		pthread_cond_wait(&pool->errand_done, &pool->lock);
	pthread_mutex_unlock(&pool->lock);
}

void pool_stop(struct pool *pool)
{
	pthread_mutex_lock(&pool->lock);
	pool->stopping = true;
	pthread_mutex_unlock(&pool->lock);
	pthread_cond_broadcast(&pool->changed);
	for (; pool->started; pool->started--)
		pthread_join(pool->thread[pool->started - 1].thread, NULL);
}

void pool_release(struct pool *pool)
{
	pthread_cond_destroy(&pool->errand_done);
	pthread_cond_destroy(&pool->changed);
	pthread_mutex_destroy(&pool->lock);
}
