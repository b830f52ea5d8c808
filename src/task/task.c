/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tasks: the verbs that end a step, and how a host I/O resumes its task.
 *
 * Objects never run tasks, they wake them, under their own lock, so that "look, then park" and
 * "change, then wake" cannot slip past each other.
 */
#include "task.h"

#include <errno.h>

enum step go(struct task *task, int next)
{
	task->state = (uint16_t)next;
	return STEP_AGAIN;
}

enum step fail(struct task *task, int err, int next)
{
	debug_assert(err < 0);
	if (!task->err)
		task->err = err;
	return go(task, next);
}

enum step await_io(struct task *task, int next)
{
	task->state = (uint16_t)next;
	return task->inflight ? STEP_WAIT : STEP_AGAIN;
}

enum step park(struct task *task, struct waitq *queue, int next)
{
	/* The queue's lock is held, and nothing else will resume the task. */
	must(locks_held > 0);
	must(task->inflight == 0);
	task->state = (uint16_t)next;
	task->parked = queue->name; /* others may begin anew with the queue when it is empty */
	task->parked_at = lane_now(task->lane);
	list_add_tail(&queue->tasks, &task->link);
	return STEP_WAIT;
}

const char *task_parked(const struct task *task)
{
	return task->inflight ? NULL : task->parked;
}

const char *task_state(const struct task *task)
{
	return task->machine->states[task->state];
}

void waitq_wake(struct waitq *queue)
{
	while (!list_empty(&queue->tasks))
		task_wake(container_of(queue->tasks.next, struct task, link));
}

void waitq_fail(struct waitq *queue, int err)
{
	debug_assert(err < 0);
	list_for_each(node, &queue->tasks) {
		struct task *task = container_of(node, struct task, link);

		if (!task->err)
			task->err = err;
	}
	waitq_wake(queue);
}

void task_child_done(struct task *parent, int err)
{
	must(parent->inflight > 0);
	if (err && !parent->err)
		parent->err = err;
	if (--parent->inflight == 0)
		task_resume(parent);
}

void io_start_copy(struct task *task, struct io *io, struct span span, const void *from,
		   uint64_t len)
{
	io_prepare(task, io, IO_COPY, span, len, false);
	io->flags = 0;
	io->from = from;
	task->lane->ring->queue(task->lane->ring, io);
}

void io_start_fetch(struct task *task, struct io *io, void *to, struct span source, uint64_t len)
{
	io_prepare(task, io, IO_FETCH, span_memory(to), len, false);
	io->flags = 0;
	io->source = source;
	task->lane->ring->queue(task->lane->ring, io);
}

void io_start_work(struct task *task, struct io *io, struct span span, uint64_t len,
		   io_work_fn *work)
{
	io_prepare(task, io, IO_WORK, span, len, false);
	io->flags = 0;
	io->work = work;
	task->lane->ring->queue(task->lane->ring, io);
}

void io_start(struct task *task, struct io *io, enum io_op op, uint16_t file, struct span span,
	      struct host off, uint64_t len)
{
	io_start_flags(task, io, op, file, span, off, len, 0);
}

static void io_again(struct io *io)
{
	struct ring *ring = io->task->lane->ring;

	ring->queue(ring, io);
}

const char *io_name(enum io_op op)
{
	static const char *const names[] = {
		[IO_READ] = "read",   [IO_WRITE] = "write",	  [IO_SYNC] = "sync",
		[IO_PUNCH] = "punch", [IO_TRUNCATE] = "truncate", [IO_ALLOCATE] = "allocate",
		[IO_ZEROS] = "zeros", [IO_COPY] = "copy",	  [IO_FETCH] = "fetch",
		[IO_TIMER] = "timer", [IO_WORK] = "work",
	};

	return names[op];
}

/*
 * A read that ended early: at end of file the rest is zeros.  The host ends a read in the middle
 * of a sector only there; at a sector's edge it may just have been interrupted, so ask again.
 */
static bool read_short(struct io *io, uint64_t moved)
{
	io->moved += moved;
	if (moved > 0 && is_aligned(moved, SECTOR_SIZE)) {
		io_again(io);
		return true;
	}
	if (span_is_memory(io->span)) {
		memset(span_address(io_span(io)), 0, io_len(io));
		return false;
	}
	io->op = IO_ZEROS;
	io_again(io);
	return true;
}

static bool is_passing(int64_t res)
{
	return res == -EAGAIN || res == -EINTR;
}

/*
 * Rings cancel nothing: who was cancelled has not begun, for want of a thread of the kernel, for which the
 * kernel itself has waited.  A sync that counts as failed would be the end of an image that has no fault.
 */
static bool is_tried_again(struct io *io, int64_t res)
{
	return res == -ECANCELED ||
	       (is_passing(res) && !(io->flags & IO_ONCE) && io->retries++ < IO_RETRIES);
}

/* True when the io was queued once more. */
static bool io_continue(struct io *io, int64_t *res)
{
	if (is_tried_again(io, *res)) {
		io_again(io);
		return true;
	}
	/* Zeros that are not for memory are read from a device that may end early, too. */
	if (*res < 0 || (io->op != IO_READ && io->op != IO_WRITE && io->op != IO_ZEROS))
		return false;
	if ((uint64_t)*res >= io_len(io))
		return false;
	if (io->op == IO_READ)
		return read_short(io, (uint64_t)*res);
	if (*res == 0) {
		*res = -EIO; /* it makes no progress */
		return false;
	}
	io->moved += (uint64_t)*res;
	io_again(io);
	return true;
}

/* A durable write that has failed may have written something all the same. */
static bool leaves_unsynced(const struct io *io, int err)
{
	return (io->op == IO_WRITE && (!(io->flags & IO_DSYNC) || err)) || io->op == IO_PUNCH ||
	       io->op == IO_TRUNCATE;
}

/*
 * Who takes the count at the same time may find it again: a sync too many.  Kept out of
 * io_complete(), as a read needs nothing of it.
 */
__attribute__((noinline)) static void count_unsynced(const struct io *io, int err)
{
	struct lane *lane = io->task->lane;
	uint64_t before = atomic_load_explicit(&lane->unsynced, memory_order_relaxed);

	if (leaves_unsynced(io, err))
		atomic_store_explicit(&lane->unsynced, before + 1, memory_order_release);
}

static void io_end(struct io *io, int err)
{
	struct task *task = io->task;

	if (io->op != IO_READ)
		count_unsynced(io, err);
	io->flying = IO_LANDED;
	if (!(io->flags & IO_STEPS)) {
		task_child_done(task, err);
		return;
	}
	must(task->inflight == 1);
	task->inflight = 0;
	task->err = err;
	task_start(task);
}

static void io_count(const struct io *io)
{
	struct lane *lane = io->task->lane;
	/* What began as a read of the host may have met the end of the file. */
	enum io_op op = io->op == IO_ZEROS ? IO_READ : io->op;
	struct host_stats *host = &lane->host[op];
	uint64_t weight = io->task->weight;

	histogram_count(&host->time, lane_now(lane) - io->started, weight);
	if (op == IO_READ || op == IO_WRITE)
		stats_add(&host->bytes, io->len * weight);
}

/*
 * A quota is a disk that is full, and like one it may have space again.  So is a file that is as large as it
 * may become: there may be space within it.
 */
static bool is_lack_of_space(const struct io *io, int64_t res)
{
	return (res == -EDQUOT && io->op != IO_SYNC) || (res == -EFBIG && io->op == IO_TRUNCATE);
}

/* Kept out of io_complete(), whose registers it would need. */
__attribute__((noinline)) static void io_complete_rest(struct io *io, int64_t res)
{
	must(io->flying);
	if (io_continue(io, &res))
		return;
	if (io->flying == IO_TIMED)
		io_count(io);
	if (is_passing(res))
		res = -EIO;
	if (is_lack_of_space(io, res))
		res = -ENOSPC;
	io_end(io, res < 0 ? (int)res : 0);
}

void io_complete(struct io *io, int64_t res)
{
	/* Nearly always: all of it at once. */
	if (io->flying == IO_FLYING && res > 0 && (uint64_t)res == io->len)
		io_end(io, 0);
	else
		io_complete_rest(io, res);
}
