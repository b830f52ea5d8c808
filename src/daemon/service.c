/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The service lane. */
#include "service.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

/* Background jobs are few; a close writes back many slices at a time. */
#define SERVICE_SQ 256
#define SERVICE_CQ 1024

#define READ_ALIGN 4096u
#define READ_PATIENCE_S 60

int service_prepare(struct service *service, unsigned id, struct why *why)
{
	int err;

	service->flush_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (service->flush_fd < 0)
		return why_set(why, -errno, "eventfd: %m");
	err = worker_prepare(&service->worker, id);
	if (err) {
		close(service->flush_fd);
		return why_set(why, err, "service lane: %s", strerror(-err));
	}
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

/* --- the device's other end -------------------------------------------------------------------------- */

struct hold {
	struct uring *uring;
	int fd;
	int err;
};

static void call_hold(void *arg)
{
	struct hold *hold = arg;

	hold->err = uring_hold(hold->uring, hold->fd);
}

int service_hold(struct service *service, int fd)
{
	struct hold hold = { .uring = &service->worker.uring, .fd = fd };

	worker_call(&service->worker, call_hold, &hold);
	return hold.err;
}

/* --- read ---------------------------------------------------------------------------------------- */

struct reading {
	struct req req;
	struct image *image;
	struct lane *lane;
	void *bytes;
	sem_t done;
};

static void on_read(struct req *req)
{
	sem_post(&container_of(req, struct reading, req)->done);
}

static void call_read(void *arg)
{
	struct reading *reading = arg;

	image_submit(reading->image, reading->lane, &reading->req);
}

static bool posted_within(sem_t *sem, time_t seconds)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += seconds;
	while (sem_clockwait(sem, CLOCK_MONOTONIC, &until))
		if (errno == ETIMEDOUT)
			return false;
	return true;
}

int service_read(struct service *service, struct image *image, void *buf, uint32_t len,
		 uint64_t off)
{
	struct reading *reading = calloc(1, sizeof(*reading));
	void *bytes = aligned_alloc(READ_ALIGN, round_up(len, READ_ALIGN));
	int err;

	if (!reading || !bytes) {
		free(reading);
		free(bytes);
		return -ENOMEM;
	}
	*reading = (struct reading){
		.req = { .op = REQ_READ, .guest = { off }, .len = len, .done = on_read },
		.image = image,
		.lane = &service->worker.lane,
		.bytes = bytes,
	};
	reading->req.span = span_memory(bytes);
	sem_init(&reading->done, 0, 0);
	worker_call(&service->worker, call_read, reading);
	if (!posted_within(&reading->done, READ_PATIENCE_S))
		return -ETIME;
	err = reading->req.result;
	if (!err)
		memcpy(buf, bytes, len);
	sem_destroy(&reading->done);
	free(bytes);
	free(reading);
	return err;
}

/* --- flush --------------------------------------------------------------------------------------- */

static void on_flushed(struct req *req)
{
	struct service *service = container_of(req, struct service, flush);

	eventfd_write(service->flush_fd, 1);
}

static void call_flush(void *arg)
{
	struct service *service = arg;

	image_submit(service->image, &service->worker.lane, &service->flush);
}

void service_flush_begin(struct service *service, struct image *image)
{
	service->image = image;
	service->flush = (struct req){ .op = REQ_FLUSH, .done = on_flushed };
	service->flushing = true;
	service->flush_call = (struct worker_call){ .run = call_flush, .arg = service };
	worker_post(&service->worker, &service->flush_call);
}

int service_flush_fd(const struct service *service)
{
	return service->flushing ? service->flush_fd : -1;
}

int service_flush_end(struct service *service)
{
	eventfd_t ignored;

	must(service->flushing);
	eventfd_read(service->flush_fd, &ignored);
	service->flushing = false;
	return service->flush.result;
}

/* No request may be in the engine when it is closed. */
static void await_flush(struct service *service, void (*tick)(void *arg), void *arg)
{
	struct pollfd end = { .fd = service->flush_fd, .events = POLLIN };

	if (!service->flushing)
		return;
	while (poll(&end, 1, 1000) <= 0)
		tick(arg);
	service_flush_end(service);
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

int service_close_image(struct service *service, struct image *image, void (*tick)(void *arg),
			void *arg)
{
	await_flush(service, tick, arg);
	service->image = image;
	worker_call(&service->worker, call_close, service);
	while (!posted_within(&service->closed, 1))
		tick(arg);
	return service->close_err;
}

static void call_resize(void *arg)
{
	struct service *service = arg;

	service->resize_start(service->image, service->resize_bytes, service->resized,
			      service->resized_arg);
}

void service_resize_image(struct service *service, struct image *image, service_resize_fn *start,
			  uint64_t bytes, void (*done)(void *arg, int err), void *arg)
{
	service->image = image;
	service->resize_start = start;
	service->resize_bytes = bytes;
	service->resized = done;
	service->resized_arg = arg;
	service->resize = (struct worker_call){ .run = call_resize, .arg = service };
	worker_post(&service->worker, &service->resize);
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
	close(service->flush_fd);
	sem_destroy(&service->closed);
}
