/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The service lane: the image's background jobs, and its close, on a thread of their own. */
#ifndef SERVICE_H
#define SERVICE_H

#include "base.h"
#include "image.h"
#include "worker.h"

#include <semaphore.h>

typedef void service_resize_fn(struct image *image, uint64_t bytes,
			       void (*done)(void *arg, int err), void *arg);

struct service {
	struct worker worker; /* worker.lane is the last lane of the image */
	struct image *image; /* being closed, or resized */
	struct worker_call resize;
	service_resize_fn *resize_start;
	uint64_t resize_bytes;
	void (*resized)(void *arg, int err);
	void *resized_arg;
	int close_err; /* of image_close_start(), before it is announced by `closed` */
	sem_t closed;
	struct worker_call flush_call;
	struct req flush;
	int flush_fd; /* readable when it has ended */
	bool flushing;
};

/* Make the lane with number @id.  -errno with the sentence in @why. */
int service_prepare(struct service *service, unsigned id, struct why *why);

/* Start the thread; @file[0..@files) are the engine's files.  -errno with the sentence in @why. */
int service_start(struct service *service, const int *file, unsigned files, struct why *why);

/* Have the lane's ring hold @fd: see uring_hold().  0 or -errno. */
int service_hold(struct service *service, int fd);

/*
 * Read @len bytes at @off of @image, both multiples of SECTOR_SIZE, for whom there is no queue yet.
 * Waits for a minute; -ETIME after that, and then the memory that is read into is never freed.
 */
int service_read(struct service *service, struct image *image, void *buf, uint32_t len,
		 uint64_t off);

/*
 * Flush @image.  Nothing waits: service_flush_fd(), which is -1 without a flush, is readable at the
 * end, and service_flush_end() says how it went: 0 or -errno.  One at a time.
 */
void service_flush_begin(struct service *service, struct image *image);
int service_flush_fd(const struct service *service);
int service_flush_end(struct service *service);

/*
 * Close @image: write back everything, while all lanes turn.  Waits, and calls @tick(@arg) every
 * second meanwhile.  0, or the first error of the image's close.
 */
int service_close_image(struct service *service, struct image *image, void (*tick)(void *arg),
			void *arg);

/*
 * Without waiting: @start, which is image_resize_start() or image_unused_start(); @done from the service's thread.
 */
void service_resize_image(struct service *service, struct image *image, service_resize_fn *start,
			  uint64_t bytes, void (*done)(void *arg, int err), void *arg);

/* Run @run(@arg) on the service's thread. */
void service_on_thread(struct service *service, void (*run)(void *arg), void *arg);

/* End the thread; a no-op when it does not run. */
void service_stop(struct service *service);

/* Free the lane, after all workers have ended. */
void service_release(struct service *service);

#endif
