/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The device: /dev/ublkbN from ADD_DEV to DEL_DEV, or from the death of one server to the next.
 *
 * Life: device_prepare() makes the processes that it needs, and device_ready() waits for them;
 * device_find() looks for what a dead server has left, and device_take() makes sure that nothing
 * of that server is left otherwise; device_make_lanes(), for image_open(); device_start() makes
 * the device, or goes on with the dead server's, and serves it; device_hold() before a stop;
 * device_stop() ends the requests, while the lanes go on for the close of the image;
 * device_delete() ends the lanes; device_free().  After a failed start the same calls clean up;
 * a device that was found and could not be served is left as it was.
 * All by one thread, which is no queue's.
 */
#ifndef DEVICE_H
#define DEVICE_H

#include "base.h"
#include "hold.h"
#include "image.h"
#include "worker.h"

struct device;

/* What the device wants of whoever has it.  By the same thread, from inside the calls below. */
struct device_host {
	/*
	 * Claim device @id, which bears our mark: 0 when it is ours and its server dead; -EBUSY
	 * when its server lives, -EINPROGRESS when it is about to end, -ENOENT when nothing is
	 * known of it; or -errno.
	 */
	int (*claim)(void *arg, int32_t id);
	/* The same for a device that was just made.  -errno with the sentence in @why. */
	int (*added)(void *arg, int32_t id, struct why *why);
	/* The other end, which whoever does I/O on the image has to hold: -errno with a sentence. */
	int (*opened)(void *arg, int fd, struct why *why);
	/* Read the disk, before it is served: 0, -errno, or -ETIME for no answer: then no more. */
	int (*read)(void *arg, void *buf, uint32_t len, uint64_t off);
	/* Should we rather end than wait? */
	bool (*cancelled)(void *arg);
	void *arg;
};

struct device_options {
	int32_t id; /* the N of /dev/ublkbN; -1: the lowest that is free */
	unsigned queues; /* at most; no more than CPUs come of it */
	unsigned depth; /* requests per queue */
	uint32_t max_io_bytes; /* largest read or write; a multiple of 4096 */
	bool recoverable; /* the device outlives this process, unless that stops it */
	void (*confine)(void); /* called by the controlling process when it needs no privileges */
	void (*confine_helper)(void); /* see helper_spawn() */
	struct device_host host;
};

#define DEVICE_QUEUES_MAX 4096u
#define DEVICE_DEPTH_MAX 4096u
#define DEVICE_ID_MAX ((1 << 20) - 1) /* what a device number can hold */
#define DEVICE_MAX_IO_LEAST (4 * KIB) /* what the driver takes */
#define DEVICE_MAX_IO_MOST (32 * MIB) /* what user copy could address */

/*
 * Fork the processes.  Before threads, and before anything is open that must not be inherited.
 * -errno with the sentence in @why; also then *@device is to be freed, unless it is NULL.
 */
int device_prepare(struct device **device, const struct device_options *options, struct why *why);

/* Is the driver there, and may we use it?  -errno with the sentence in @why. */
int device_ready(struct device *device, struct why *why);

/*
 * Look for a device with @mark, which our own is to bear too, that a dead server has left and that
 * can be claimed; remains of devices that were never started are deleted.  *@found says if there is
 * one.  Waits for servers that are about to end.  -EBUSY when a living one serves such a device,
 * whose number is in *@id; -EEXIST, the same, when nothing is known of its server.  -errno with the
 * sentence in @why.
 */
int device_find(struct device *device, uint64_t mark, bool *found, int32_t *id, struct why *why);

/*
 * Of the device that was found: wait until the kernel has ended all I/O of the dead server, to
 * the image too, and forgotten it.  That takes as long as the storage below the image wants;
 * messages tell.  A device that is stopped meanwhile, as a stop of the dead server's may go on, is
 * deleted, and then none was found: see device_is_left().  -errno with the sentence in @why.
 */
int device_take(struct device *device, struct why *why);

/*
 * Give it up instead: its users get errors.  No sooner than all I/O of the dead server has ended, and until
 * then it is left as it was.  -errno with the sentence in @why.
 */
int device_abandon(struct device *device, struct why *why);

/* Make a lane per queue, with ids from 0.  -errno with the sentence in @why. */
int device_make_lanes(struct device *device, struct why *why);

unsigned device_lanes(const struct device *device);
struct lane *device_lane(struct device *device, unsigned id);

/* Requests that each lane can have at a time. */
unsigned device_depth(const struct device *device);

/*
 * Add the device and start it, or go on with the one that was taken, and serve @image on it.
 * @file[0..@files) are the engine's files by index.  Nothing may fork without exec from here on:
 * a child would keep the device alive.  -errno with the sentence in @why.
 */
int device_start(struct device *device, struct image *image, const int *file, unsigned files,
		 struct why *why);

/*
 * The device was made by a process that has not come to serve it: have the kernel read the partition
 * table, if a driver that reads it during START_DEV may have met an error instead.
 */
void device_find_partitions(struct device *device);

/* /dev/ublkbN, once there is one. */
const char *device_name(const struct device *device);

struct device_facts {
	unsigned queues;
	unsigned depth; /* requests per queue */
	bool zero_copy;
	bool recoverable;
};

/* Of a device that was started; exact.  Any thread. */
struct device_facts device_facts(const struct device *device);

/* Requests that were answered. */
struct device_traffic {
	uint64_t requests[REQ_OPS];
	uint64_t bytes[REQ_OPS];
	uint64_t failed;
};

/* Those of a queue, added to @sum.  Any thread. */
void device_traffic(const struct device *device, unsigned queue, struct device_traffic *sum);

/*
 * Can the driver change the size of a device that is served?  -EOPNOTSUPP with the sentence in @why.
 */
int device_can_resize(const struct device *device, struct why *why);

/*
 * The image has grown to @bytes: so does the device, and its users hear of it.  -errno with the
 * sentence in @why; then it may be tried again.
 */
int device_resize(struct device *device, uint64_t bytes, struct why *why);

/* Do all lanes turn?  False before device_start() has come that far. */
bool device_runs(const struct device *device);

/*
 * After a failed start: let all lanes turn that do not, so that the image can be closed in order.
 * @file[0..@files) as in device_start().  -errno with the sentence in @why.
 */
int device_run_idle(struct device *device, const int *file, unsigned files, struct why *why);

/* After device_delete(): is a dead server's device left that was not taken over? */
bool device_is_left(const struct device *device);

/*
 * Was a dead server's device taken over, or may it have been?  It may be in use, so without a hold it
 * must not be stopped, and its image not be closed: _exit() leaves it to the next server, and nothing
 * is lost.
 */
bool device_is_taken_over(const struct device *device);

/* Run @run(@arg) once on each queue's thread, on all at the same time. */
void device_on_each_thread(struct device *device, void (*run)(void *arg), void *arg);

/*
 * Ask each queue's thread for a turn, without waiting.  device_still_queue() says which has made
 * none since: the lowest such number, or -1.
 */
void device_ask_pulse(struct device *device);
int device_still_queue(const struct device *device);

/* True, once, when the controlling process has ended: the device cannot be stopped in order. */
bool device_lost_control(struct device *device);

/* True, once, when the helper process has ended: device_hold() fails from then on. */
bool device_lost_helper(struct device *device);

/*
 * Readable (poll(2)) when a queue has lost all its tags: after device_stop(), or because somebody
 * else stops the device.
 */
int device_drained_fd(const struct device *device);

/*
 * Make sure that a stop loses nothing that was written to the device: see hold.h.  Begins, and
 * answers come when device_hold_fd(), which is -1 without this, is readable; the device is served
 * meanwhile.  A second call begins anew; but it waits for the same answer, if there has been none, or it
 * is being written back, and it adds no force.  -errno with the sentence in @why.
 */
int device_hold(struct device *device, bool force, struct why *why);
int device_hold_fd(const struct device *device);
enum hold_answer device_hold_answer(struct device *device, struct why *text);
bool device_hold_writes(const struct device *device); /* its last answer was HOLD_WRITES */
void device_hold_end(struct device *device);

/*
 * Stop the device: the kernel waits for all requests, and takes the
 * tags back; then no request is in the engine and none will come.  @tick(@arg) is called every
 * second meanwhile.  A no-op before the device is added.  -ETIME with the sentence in @why when
 * no request has been answered for a long time, other errors when STOP cannot be sent: then requests
 * are still in the engine, and all that may follow is device_give_up(), after -ETIME, and _exit().
 */
int device_stop(struct device *device, void (*tick)(void *arg), void *arg, struct why *why);

/*
 * The storage below the image does not answer, and the device is to go all the same, by force or
 * because device_stop() has waited for long enough: answer all requests with errors, stop the device
 * if that can be done within seconds, and have the controller delete it when this process has ended,
 * which it must do at once, by _exit(): host I/O is under way.  What can be done is done; nothing is
 * waited for that may hang.
 */
void device_give_up(struct device *device);

/*
 * Post @call to lane @id, see worker_post(), to call device_look() there.  Any thread.
 */
void device_post(struct device *device, unsigned id, struct worker_call *call);
void device_look(struct device *device, unsigned id, struct live_list *look);

/*
 * End the threads, close and delete the device.  Not when device_stop() has failed: DEL waits for a STOP
 * that was not answered, and with it ADD and DEL of all devices of the machine.  -errno with the
 * sentence in @why if the device may have been left behind.
 */
int device_delete(struct device *device, struct why *why);

/* After device_delete(), or instead of device_start(); the lanes are gone with it. */
void device_free(struct device *device);

#endif
