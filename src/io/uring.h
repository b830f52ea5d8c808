/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ring border on io_uring: one uring per lane.
 *
 * What is queued is staged in lists and becomes SQEs at the end of the turn, so that a turn makes
 * one io_uring_enter(2), but for writes in twos, and queueing cannot fail and may happen under a lock.
 */
#ifndef URING_H
#define URING_H

#include "base.h"
#include "io.h"
#include "task.h"

#include <liburing.h>

#define PLUG_FREE 2 /* SQEs for which io_uring does not plug the block layer */
#define URING_TIMERS 64 /* timers that one submission can carry; more wait for the next */
#define URING_FILES_MAX 256 /* the engine's files and the owner's, together */

/*
 * An io_uring command (IORING_OP_URING_CMD) on the same ring, for who drives a device.  Owned by
 * the caller, untouched from uring_command() to done().
 */
struct uring_command {
	uint32_t op; /* cmd_op of the SQE */
	uint16_t file; /* index into the ring's files */
	uint64_t addr; /* of the SQE */
	uint8_t payload[16]; /* the SQE's, at offset 48 */
	/* On the ring's own thread, between steps; may stage the same command again. */
	void (*done)(struct uring_command *command, int32_t res);
	struct list link; /* for the ring, while staged */
};

struct uring {
	struct ring ring; /* what the lane sees */
	struct io_uring raw;
	bool live; /* raw is set up */
	struct list ios; /* staged; own thread, as all below except kick_fd */
	struct list commands;
	struct list fills; /* IO_ZEROS in memory, IO_COPY and IO_FETCH, done at the end of the turn */
	struct list works; /* IO_WORK, handed to the pool at the end of the turn */
	struct pool *pool; /* who does it; NULL: nobody, and there must be none */
	_Atomic(struct list *) worked; /* a stack of those that were done: see uring_worked() */
	struct list held; /* writes in place that wait for what the scout does */
	struct io *scout; /* the write that may block for all of them; NULL: nobody is held */
	bool hold_armed; /* a timer runs that ends the hold */
	bool in_twos; /* see keep_to_twos() */
	unsigned turns_since_look; /* whether they should be */
	unsigned turns_in_vain; /* in which they were not complete at once */
	unsigned writes; /* staged in this turn */
	unsigned unsubmitted; /* of these, in twos */
	const struct io *two[PLUG_FREE]; /* they */
	unsigned at_once; /* complete within their submission */
	bool no_nowait; /* the host has no RWF_NOWAIT */
	bool threadless; /* the kernel had no thread for an I/O, which has been said */
	bool bufferless; /* the owner has given its registered buffers back */
	/* By the owner: execute IO_COPY and IO_FETCH without waiting; 0 or -errno.  NULL: there are none. */
	int (*copy)(struct uring *uring, struct span to, const void *from, uint64_t len);
	int (*fetch)(struct uring *uring, void *to, struct span source, uint64_t len);
	uintptr_t kept; /* the first of the buffers whose first page is kept; 0: none */
	size_t kept_stride;
	size_t kept_bytes; /* of all buffers */
	unsigned files; /* that the caller gave; ours follow in the ring's table */
	int kick_fd; /* eventfd; written by any thread */
	int zero_fd; /* /dev/zero, the source of zeros for registered buffers */
	uint64_t kicks; /* where the armed read of kick_fd goes */
	bool kick_armed;
	bool kicked; /* since the last turn: its end is where calls are answered */
	unsigned timers; /* used of timer[] since the last submission */
	struct __kernel_timespec timer[URING_TIMERS];
};

struct uring_sizes {
	unsigned sq_entries; /* a turn that stages more makes more than one system call */
	unsigned cq_entries; /* completions that can be pending at a time; at least twice the above */
	unsigned buffers; /* places in the table of registered buffers, empty at first */
};

/*
 * Make @uring->ring usable by lane_init() and kick(); the io_uring itself comes with
 * uring_start().  Any thread.  0, or -errno of eventfd(2) or open(2).
 */
int uring_prepare(struct uring *uring);

/*
 * Set up the io_uring (SINGLE_ISSUER, DEFER_TASKRUN, restricted to what this room does with it)
 * with @file[0..@files) as its registered files: io->file and command->file are indices into these.
 * By the thread that runs the turns.  0, or -errno of io_uring_setup(2) or io_uring_register(2):
 * -EPERM where a policy forbids io_uring, -ENOMEM.
 */
int uring_start(struct uring *uring, const struct uring_sizes *sizes, const int *file,
		unsigned files);

/*
 * Let the kernel keep hold of the first page of each of @count buffers, @stride bytes apart from
 * @first on, so that transfers within one of these pages need not look it up each time.  They are
 * named by their address as all other memory.  Costs a page each that stays in memory; a no-op
 * where the limit for that is too low.  Own thread, once, without sizes->buffers.
 */
void uring_keep_pages(struct uring *uring, uint8_t *first, size_t stride, unsigned count);

/*
 * Let the ring refer to one more file, which it never uses: it is open as long as anything that
 * the ring was given is under way.  Own thread, once.  0 or -errno.
 */
int uring_hold(struct uring *uring, int fd);

/* Stage a command.  Own thread; cannot fail, makes no system call. */
void uring_command(struct uring *uring, struct uring_command *command);

/*
 * The owner gives back the requests whose buffers are registered, or may have: what is not under way
 * of transfers with them is never begun, and so never completes.  For the end of the process.  Own
 * thread, between turns or in a call of worker_post().
 */
void uring_forget_buffers(struct uring *uring);

/*
 * One turn: run up to @budget steps of @lane, submit what is staged, wait for a completion when
 * nothing is left to run, and deliver what has completed, some of it while more is staged.  Own
 * thread, after uring_start().
 */
void uring_turn(struct uring *uring, struct lane *lane, unsigned budget);

/*
 * Submit what is staged, in one system call if the SQ has room for it, and deliver what has
 * completed by then; does not wait.  Own thread, between turns.
 */
void uring_flush(struct uring *uring);

/*
 * An IO_WORK has been done, with @result: any thread, once.  The lane hears of it in its next turn,
 * and is woken for it.
 */
void uring_worked(struct io *io, int result);

/*
 * Release the io_uring; a no-op without one.  By the thread that called uring_start().  What was
 * in flight is cancelled by the kernel and never completes here.
 */
void uring_stop(struct uring *uring);

/* Release the rest, when no thread can kick any more. */
void uring_release(struct uring *uring);

#endif
