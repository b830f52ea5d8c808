/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The service lane. */
#include "service.h"

#include <errno.h>
#include <time.h>

/* Background jobs are few; a close writes back many slices at a time. */
#define SERVICE_SQ 256
#define SERVICE_CQ 1024

int service_prepare(struct service *service, unsigned id, struct why *why)
{
	int err = worker_prepare(&service->worker, id);

	if (err)
		return why_set(why, err, "service lane: %s", strerror(-err));
	sem_init(&service->closed, 0, 0);
	return 0;
}

int service_start(struct service *service, const int *file, unsigned files, struct why *why)
{
	struct worker_options options = {
		.name = "service",
		.sizes = { .sq_entries = SERVICE_SQ, .cq_entries = SERVICE_CQ },
		.file = file,
		.files = files,
	};
	int err = worker_start(&service->worker, &options);

	if (err == -EPERM || err == -ENOSYS)
		return why_set(
			why, err,
			"io_uring_setup: %s; do kernel.io_uring_disabled or a seccomp filter forbid it?",
			strerror(-err));
	if (err)
		return why_set(why, err, "service thread: %s", strerror(-err));
	return 0;
}

/* --- close --------------------------------------------------------------------------------------- */

static void on_closed(void *arg, int err)
{
	struct service *service = arg;

	service->close_err = err;
	sem_post(&service->closed);
}

static void call_close(void *arg)
{
	struct service *service = arg;

	image_close_start(service->image, &service->worker.lane, on_closed, service);
}

static bool closed_within_a_second(struct service *service)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec++;
	while (sem_timedwait(&service->closed, &until))
		if (errno == ETIMEDOUT)
			return false;
	return true;
}

int service_close_image(struct service *service, struct image *image, void (*tick)(void *arg),
			void *arg)
{
	service->image = image;
	worker_call(&service->worker, call_close, service);
	while (!closed_within_a_second(service))
		tick(arg);
	return service->close_err;
}

void service_on_thread(struct service *service, void (*run)(void *arg), void *arg)
{
	worker_call(&service->worker, run, arg);
}

void service_stop(struct service *service)
{
	worker_stop(&service->worker);
}

void service_release(struct service *service)
{
	worker_release(&service->worker);
	sem_destroy(&service->closed);
}
