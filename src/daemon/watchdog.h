/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The service manager's watchdog: it is told that we are well, again and again, as long as each
 * queue's thread, the service's and those of the pool make a turn when asked to.  An idle thread does;
 * so does one whose requests wait for the storage below, where a restart would change nothing.  By the main
 * thread, which thereby shows that it moves itself.
 */
#ifndef WATCHDOG_H
#define WATCHDOG_H

#include "device.h"
#include "pool.h"
#include "service.h"

struct watchdog {
	int64_t period_ms; /* 0: nobody watches */
	int64_t due_ms; /* of the next look */
	bool still; /* a thread was found that does not move */
	struct device *device;
	struct service *service;
	struct pool *pool;
};

/* When the device is served: as $WATCHDOG_USEC and $WATCHDOG_PID say. */
void watchdog_begin(struct watchdog *watchdog, struct device *device, struct service *service,
		    struct pool *pool);

/* *@timeout_ms (-1: none) is lowered to when watchdog_turn() is to be called. */
void watchdog_watch(const struct watchdog *watchdog, int *timeout_ms);

/* Feed the watchdog if it is time and all is well. */
void watchdog_turn(struct watchdog *watchdog);

/* The threads are about to go: feed no more. */
void watchdog_end(struct watchdog *watchdog);

#endif
