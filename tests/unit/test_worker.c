/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A worker that was stopped can be started again: what it is told then is heard. */
#include "worker.h"

#include "check.h"

#include <fcntl.h>
#include <unistd.h>

static void count(void *arg)
{
	++*(unsigned *)arg;
}

/* The last thing that its thread does is to wait for the next kick. */
static void leave(void *arg)
{
	struct worker *worker = arg;

	worker->stopping = true;
	uring_flush(&worker->uring);
}

static void leave_armed(struct worker *worker)
{
	struct worker_call call = { .run = leave, .arg = worker };

	worker_post(worker, &call);
	pthread_join(worker->thread, NULL);
	worker->running = false;
}

int main(void)
{
	int file = open("/dev/null", O_RDWR);
	struct worker_options options = {
		.name = "worker",
		.sizes = { .sq_entries = 64, .cq_entries = 256 },
		.file = &file,
		.files = 1,
	};
	static struct worker worker;
	unsigned calls = 0;

	check_case("a worker that is started again");
	CHECK_EQ(worker_prepare(&worker, 0), 0);
	for (unsigned i = 1; i <= 3; i++) {
		CHECK_EQ(worker_start(&worker, &options), 0);
		worker_call(&worker, count, &calls);
		CHECK_EQ(calls, i);
		worker_stop(&worker);
	}
	check_case("... whose thread has left in another way");
	CHECK_EQ(worker_start(&worker, &options), 0);
	leave_armed(&worker);
	CHECK_EQ(worker_start(&worker, &options), 0);
	worker_call(&worker, count, &calls);
	worker_stop(&worker);
	worker_release(&worker);
	close(file);
	return check_end();
}
