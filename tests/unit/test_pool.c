/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The pool's threads: works are done, and whoever stands still is noticed. */
#include "pool.h"
#include "uring.h"

#include "check.h"

#include <semaphore.h>

static sem_t begun, go_on, ended;
static _Atomic unsigned errands;
static _Thread_local bool was_here;

/* A second time on one thread would be once too often. */
static void count_errand(void)
{
	errands += was_here ? 100 : 1;
	was_here = true;
}

/* The pool's only way out, in the place of the ring. */
void uring_worked(struct io *io, int result)
{
	io->result = result;
	sem_post(&ended);
}

static int stand_still(struct io *io, unsigned worker)
{
	(void)io;
	sem_post(&begun);
	sem_wait(&go_on);
	return (int)worker;
}

static void put(struct pool *pool, struct io *io)
{
	struct list works;

	*io = (struct io){ .work = stand_still };
	list_init(&works);
	list_add_tail(&works, &io->link);
	pool_put(pool, &works);
}

static void await_pulse(const struct pool *pool)
{
	while (!pool_has_pulse(pool))
		sched_yield();
}

int main(void)
{
	static struct pool pool;
	struct io io[2];

	sem_init(&begun, 0, 0);
	sem_init(&go_on, 0, 0);
	sem_init(&ended, 0, 0);
	pool_init(&pool);
	pool.threads = 2;
	CHECK_EQ(pool_start(&pool, NULL), 0);

	check_case("idle threads come by");
	CHECK(pool_has_pulse(&pool));
	for (int i = 0; i < 100; i++) {
		pool_ask_pulse(&pool);
		await_pulse(&pool);
	}

	check_case("each runs an errand, once");
	pool_on_each_thread(&pool, count_errand);
	CHECK_EQ(errands, 2);

	check_case("one of them stands still");
	put(&pool, &io[0]);
	sem_wait(&begun);
	pool_ask_pulse(&pool);
	/* The other one has come by twice, and so this one would have had to. */
	put(&pool, &io[1]);
	sem_wait(&begun);
	CHECK(!pool_has_pulse(&pool));
	sem_post(&go_on);
	sem_post(&go_on);
	sem_wait(&ended);
	sem_wait(&ended);
	await_pulse(&pool);
	CHECK((io[0].result ^ io[1].result) == 1);

	check_case("one that stands still with the lock");
	pthread_mutex_lock(&pool.lock);
	pool_ask_pulse(&pool);
	CHECK(!pool_has_pulse(&pool));
	pthread_mutex_unlock(&pool.lock);
	pool_ask_pulse(&pool);
	await_pulse(&pool);
	pool_stop(&pool);
	pool_release(&pool);
	return check_end();
}
