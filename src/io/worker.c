/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The thread of a lane: turn after turn, with a mailbox for calls from the main thread. */
#include "worker.h"
#include "thread.h"

#include <errno.h>

/* Steps in a turn: enough to keep system calls rare, few enough to keep the device busy. */
#define WORKER_BUDGET 256

int worker_prepare(struct worker *worker, unsigned id)
{
	int err = uring_prepare(&worker->uring);

	if (err)
		return err;
	lane_init(&worker->lane, id, &worker->uring.ring);
	atomic_init(&worker->calls, NULL);
	atomic_init(&worker->pulse_asked, 0);
	atomic_init(&worker->pulse, 0);
	sem_init(&worker->started, 0, 0);
	worker->running = false;
	return 0;
}

static void worker_answer(struct worker *worker)
{
	struct worker_call *call, *oldest = NULL;

	if (!atomic_load_explicit(&worker->calls, memory_order_relaxed))
		return;
	call = atomic_exchange(&worker->calls, NULL);
	while (call) {
		struct worker_call *next = call->next;

		call->next = oldest;
		oldest = call;
		call = next;
	}
	while (oldest) {
		call = oldest;
		oldest = call->next; /* it may be gone, or posted again, as soon as it is run */
		call->run(call->arg);
	}
}

static void worker_show_pulse(struct worker *worker)
{
	unsigned asked = atomic_load_explicit(&worker->pulse_asked, memory_order_relaxed);

	if (asked != atomic_load_explicit(&worker->pulse, memory_order_relaxed))
		atomic_store_explicit(&worker->pulse, asked, memory_order_relaxed);
}

/* The only way out of the loop is worker_stop(): a queue whose thread has left would hang. */
static void worker_loop(struct worker *worker)
{
	while (!worker->stopping) {
		uring_turn(&worker->uring, &worker->lane, WORKER_BUDGET);
		worker_answer(worker);
		worker_show_pulse(worker);
	}
}

static void *worker_main(void *arg)
{
	struct worker *worker = arg;
	const struct worker_options *options = &worker->options;
	int err = uring_start(&worker->uring, &options->sizes, options->file, options->files);

	if (!err && options->start)
		err = options->start(worker);
	worker->err = err;
	sem_post(&worker->started);
	if (!err)
		worker_loop(worker);
	if (options->end)
		options->end(worker);
	uring_stop(&worker->uring);
	return NULL;
}

static void wait_for(sem_t *sem)
{
	while (sem_wait(sem) && errno == EINTR)
		;
}

int worker_launch(struct worker *worker, const struct worker_options *options)
{
	worker->options = *options;
	worker->stopping = false;
	return thread_start(&worker->thread, options->name, worker_main, worker);
}

int worker_await(struct worker *worker)
{
	wait_for(&worker->started);
	if (worker->err)
		pthread_join(worker->thread, NULL);
	else
		worker->running = true;
	return worker->err;
}

int worker_start(struct worker *worker, const struct worker_options *options)
{
	int err = worker_launch(worker, options);

	return err ? err : worker_await(worker);
}

void worker_post(struct worker *worker, struct worker_call *call)
{
	call->next = atomic_load(&worker->calls);
	while (!atomic_compare_exchange_weak(&worker->calls, &call->next, call))
		;
	worker->uring.ring.kick(&worker->uring.ring);
}

static void run_awaited(void *arg)
{
	struct worker_errand *errand = arg;

	errand->run(errand->arg);
	sem_post(&errand->done);
}

void worker_call_begin(struct worker *worker, struct worker_errand *errand, void (*run)(void *arg),
		       void *arg)
{
	*errand = (struct worker_errand){
		.call = { .run = run_awaited, .arg = errand },
		.run = run,
		.arg = arg,
	};
	sem_init(&errand->done, 0, 0);
	worker_post(worker, &errand->call);
}

void worker_call_end(struct worker_errand *errand)
{
	wait_for(&errand->done);
	sem_destroy(&errand->done);
}

void worker_call(struct worker *worker, void (*run)(void *arg), void *arg)
{
	struct worker_errand errand;

	worker_call_begin(worker, &errand, run, arg);
	worker_call_end(&errand);
}

void worker_ask_pulse(struct worker *worker)
{
	atomic_fetch_add_explicit(&worker->pulse_asked, 1, memory_order_relaxed);
	worker->uring.ring.kick(&worker->uring.ring);
}

bool worker_has_pulse(const struct worker *worker)
{
	return atomic_load_explicit(&worker->pulse, memory_order_relaxed) ==
	       atomic_load_explicit(&worker->pulse_asked, memory_order_relaxed);
}

static void call_stop(void *arg)
{
	struct worker *worker = arg;

	worker->stopping = true;
}

void worker_stop(struct worker *worker)
{
	if (!worker->running)
		return;
	worker_call(worker, call_stop, worker);
	pthread_join(worker->thread, NULL);
	worker->running = false;
}

void worker_release(struct worker *worker)
{
	uring_release(&worker->uring);
	lane_destroy(&worker->lane);
	sem_destroy(&worker->started);
}
