/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The watch over what is under way: which requests, for how long, and what they wait for.  It asks
 * each lane now and then, and when it is told to; lanes that do not answer are a finding too.
 *
 * By the main thread.  Costs requests nothing, and each lane one wake-up in a look.
 */
#ifndef WATCH_H
#define WATCH_H

#include "base.h"
#include "device.h"
#include "image.h"
#include "service.h"

struct watch_lane {
	struct worker_call call;
	struct watch *watch;
	unsigned id;
	_Atomic bool asked; /* what follows is the lane's, until it has answered */
	uint64_t asked_at; /* monotonic nanoseconds */
	struct live_list look;
};

struct watch {
	struct device *device;
	struct image *image;
	struct service *service;
	unsigned queues; /* lanes with a number below have one */
	unsigned lanes;
	struct watch_lane *lane; /* NULL: there is no watch */
	uint64_t limit_ns; /* what has been under way for longer hangs; 0: nothing does */
	uint64_t next_ns; /* when to look; monotonic, as all that follow */
	uint64_t deadline_ns; /* of the look that is under way; 0: none is */
	bool show; /* ... and to be shown */
	bool show_next;
	uint64_t hung_since; /* 0: nothing hangs */
	uint64_t reported_ns; /* how long that was when it was reported last */
	int answer_fd; /* eventfd; readable when lanes have answered */
};

/*
 * Begin.  @limit_s: see limit_ns.  Without memory a message says so, and there is no watch.  All
 * threads run; they may end before the watch does.
 */
void watch_begin(struct watch *watch, struct device *device, struct image *image,
		 struct service *service, uint64_t limit_s);

/* For poll(2): a file to be read, and lower @timeout_ms if need be. */
int watch_fd(const struct watch *watch, int *timeout_ms);

/* Is there anything to do?  Returns quickly; to be called in any case. */
void watch_turn(struct watch *watch);

/* Write all that is under way to the log, in a later turn. */
void watch_show(struct watch *watch);

/* For how many seconds requests have been hanging, or 0. */
uint64_t watch_hung_s(const struct watch *watch);

/* When all threads have ended. */
void watch_end(struct watch *watch);

#endif
