/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One hardware queue: a worker whose ring also carries the commands of the queue's tags.
 *
 * A tag is either with the kernel (a command is pending) or ours (its request is in the engine),
 * until the kernel takes it back for good (ABORT).  All fields belong to the queue's thread,
 * except where said.
 */
#ifndef QUEUE_H
#define QUEUE_H

#include "base.h"
#include "buffers.h"
#include "image.h"
#include "req.h"
#include "request.h"
#include "stats.h"
#include "worker.h"

#include <linux/ublk_cmd.h>
#include <sched.h>

struct queue;

struct tag {
	struct req req;
	struct uring_command command;
	struct queue *queue;
	uint16_t number;
	uint32_t turn; /* odd: its request is in the engine */
	uint32_t seen_turn; /* at the last look, and when this turn was seen first */
	uint64_t seen_at; /* monotonic nanoseconds */
};

/* What all queues of a device share; constant while they run, but for the size. */
struct disk {
	struct image *image;
	const char *name; /* /dev/ublkbN, for messages */
	struct request_limits limits;
	unsigned depth; /* tags per queue */
	enum data_mode data_mode;
	int fd; /* /dev/ublkcN */
	const int *file; /* the rings' table: the engine's files, then fd */
	unsigned files;
	int drained_fd; /* eventfd; each queue adds 1 when it has no tags any more */
};

/* Requests answered, by enum req_op; written by the queue's thread, read by any. */
struct queue_counters {
	_Atomic uint64_t requests[REQ_OPS];
	_Atomic uint64_t bytes[REQ_OPS];
	_Atomic uint64_t failed; /* of them, and those that were refused */
};

/* Two cache lines, as processors fetch them in pairs: queues must not share any. */
#define QUEUE_ALIGN 128

struct queue {
	struct worker worker; /* worker.lane is the queue's lane */
	const struct disk *disk;
	unsigned number;
	cpu_set_t *cpus; /* only until queue_await() */
	size_t cpus_bytes;
	struct buffers buffers;
	struct tag *tag; /* disk->depth of them */
	const uint8_t *desc; /* the kernel's descriptors, indexed by tag */
	size_t desc_bytes; /* of the mapping */
	unsigned gone; /* tags that were aborted */
	bool complained; /* about a request that the door refused */
	int refused; /* by a FETCH during the start */
	bool fetched; /* the kernel has the tags, or had them */
	struct why why; /* of a failed start */
	struct queue_counters counters;
	struct worker_call abort;
	struct worker_errand errand; /* of the thread that starts and stops */
} __attribute__((aligned(QUEUE_ALIGN)));

/*
 * Begin to start the queue's thread, near @cpus, which submit to it; they are the thread's until
 * queue_await(), which must follow a success.  Its lane has been made by worker_prepare().  -errno
 * with the sentence in @why.
 */
int queue_launch(struct queue *queue, const struct disk *disk, cpu_set_t *cpus, size_t cpus_bytes,
		 struct why *why);

/*
 * The same without a hardware queue: for lanes that the image was given and the device did not get
 * a queue for.
 */
int queue_launch_idle(struct queue *queue, const struct disk *disk, struct why *why);

/* Wait until its thread runs.  -errno with the sentence in @why; then there is none. */
int queue_await(struct queue *queue, struct why *why);

/*
 * Fetch every tag, so that the kernel has all or, when the process is killed meanwhile, none of
 * them: requests will be answered from now on.  Several queues do so at the same time; each begin has
 * its end.  -errno with the sentence in @why; then the thread has ended.
 */
void queue_fetch_begin(struct queue *queue);
int queue_fetch_end(struct queue *queue, struct why *why);

/* Add what its lane has under way to @look: see image_look().  On its thread, between two turns. */
void queue_look(struct queue *queue, struct live_list *look);

/*
 * Answer all requests, those under way and those to come, with an error, while their host I/O goes
 * on.  There is no way back: the process must end.  Does not wait for the thread, which may hang.
 */
void queue_abort(struct queue *queue);

/* End the thread.  Requests that it still owns fail when the device file is closed. */
void queue_stop(struct queue *queue);

/* Free its memory, after queue_stop() and after the device file was closed. */
void queue_free(struct queue *queue);

#endif
