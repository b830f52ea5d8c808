/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The device: /dev/ublkbN from ADD_DEV to DEL_DEV.
 *
 * Life: device_prepare() makes the process that controls it, and the lanes, for image_open();
 * device_ready() waits for the former; device_start() makes the device and serves it; device_stop() ends the requests, while the lanes go on for the close of the image;
 * device_delete() ends the lanes; device_free().  After a failed start the same calls clean up.
 * All by one thread, which is no queue's.
 */
#ifndef DEVICE_H
#define DEVICE_H

#include "base.h"
#include "image.h"

struct device;

struct device_options {
	int32_t id; /* the N of /dev/ublkbN; -1: the lowest that is free */
	unsigned queues; /* at most; no more than CPUs come of it */
	unsigned depth; /* requests per queue */
	uint32_t max_io_bytes; /* largest read or write; a multiple of 4096 */
	void (*confine)(void); /* called by the controlling process when it needs no privileges */
};

#define DEVICE_QUEUES_MAX 4096u
#define DEVICE_DEPTH_MAX 4096u
#define DEVICE_ID_MAX ((1 << 20) - 1) /* what a device number can hold */
#define DEVICE_MAX_IO_LEAST (4 * KIB) /* what the driver takes */
#define DEVICE_MAX_IO_MOST (32 * MIB) /* what user copy could address */

/*
 * Fork the controlling process, and make a lane per queue, with ids from 0.  Before threads, and
 * before anything is open that must not be inherited.  -errno with the sentence in @why; also
 * then *@device is to be freed, unless it is NULL.
 */
int device_prepare(struct device **device, const struct device_options *options, struct why *why);

/* Is the driver there, and may we use it?  -errno with the sentence in @why. */
int device_ready(struct device *device, struct why *why);

unsigned device_lanes(const struct device *device);
struct lane *device_lane(struct device *device, unsigned id);

/*
 * Add the device, serve @image on it and start it.  @file[0..@files) are the engine's files by
 * index.  Nothing may fork without exec from here on: a child would keep the device alive.
 * -errno with the sentence in @why.
 */
int device_start(struct device *device, struct image *image, const int *file, unsigned files,
		 struct why *why);

/* /dev/ublkbN, once the device is added. */
const char *device_name(const struct device *device);

struct device_facts {
	unsigned queues;
	unsigned depth; /* requests per queue */
	bool zero_copy;
	uint64_t requests; /* answered */
};

/* Once the device is added; any thread. */
struct device_facts device_facts(struct device *device);

/* Do all lanes turn?  False before device_start() has come that far. */
bool device_runs(const struct device *device);

/* Run @run(@arg) once on each queue's thread. */
void device_on_each_thread(struct device *device, void (*run)(void *arg), void *arg);

/* True, once, when the controlling process has ended: the device cannot be stopped in order. */
bool device_lost_control(struct device *device);

/*
 * Readable (poll(2)) when a queue has lost all its tags: after device_stop(), or because somebody
 * else stops the device.
 */
int device_drained_fd(const struct device *device);

/*
 * Stop the device: the kernel writes back what is dirty, waits for all requests, and takes the
 * tags back; then no request is in the engine and none will come.  @tick(@arg) is called every
 * second meanwhile.  A no-op before the device is added.  -ETIME with the sentence in @why when
 * no request has been answered for a long time: then requests are still in the engine.
 */
int device_stop(struct device *device, void (*tick)(void *arg), void *arg, struct why *why);

/*
 * End the threads, close and delete the device.  When device_stop() has failed, requests that
 * were not answered fail.  -errno with the sentence in @why if the device may have been left
 * behind.
 */
int device_delete(struct device *device, struct why *why);

/* After device_delete(), or instead of device_start(); the lanes are gone with it. */
void device_free(struct device *device);

#endif
