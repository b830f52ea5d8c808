/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tasks (state machines) and lanes (the threads they live on).
 *
 * A machine is one switch in one step function.  Every transition is one line,
 * `return verb(task, NEXT)`; the verb says what resumes the task.
 */
#ifndef TASK_H
#define TASK_H

#include "base.h"
#include "io.h"
#include "stats.h"

#include <pthread.h>

struct lane;
struct task;

/* What a step told the lane; machines return it by the verbs below only. */
enum step { STEP_AGAIN, STEP_WAIT, STEP_DONE };

typedef enum step step_fn(struct task *task);

/* One kind of machine: its step function and the names of its states. */
struct machine {
	const char *name;
	step_fn *step;
	const char *const *states;
};

/*
 * One state machine.  It runs only on its home lane, one step at a time, so its fields need no
 * lock.  A step has at most one critical section and never holds a lock across its return.
 */
struct task {
	const struct machine *machine;
	struct lane *lane;
	uint16_t state;
	uint16_t inflight; /* ios and children started and not yet completed */
	bool queued; /* on a ready list or in an inbox */
	int err; /* the first error, or 0 */
	uint32_t weight; /* of its ios in statistics: how many of their like they stand for */
	struct list link; /* lane->ready, lane->inbox, or one wait queue */
	const char *parked; /* name of the queue it waits in, since when: while it is in one */
	uint64_t parked_at; /* monotonic nanoseconds */
};

/* Tasks that wait for a change of the object which holds the queue; guarded by its lock. */
struct waitq {
	struct list tasks;
	const char *name; /* of the object, as the code has it; for dumps */
};

#define LANE_TRACE 256

/* One step in the flight recorder. */
struct trace_entry {
	const struct task *task;
	const struct machine *machine;
	uint16_t state;
	int err;
};

/* The host I/O of a lane, by enum io_op. */
struct host_stats {
	struct live_histogram time; /* of each that was counted one by one */
	_Atomic uint64_t bytes; /* moved by these */
};

/*
 * One thread's way through the engine.  Only inbox, asleep and unsynced are touched by other
 * threads.
 */
struct lane {
	unsigned id;
	struct ring *ring;
	struct list ready;

	pthread_mutex_t post_lock; /* guards the two below; a leaf lock */
	struct list inbox;
	bool asleep; /* the ring may block: whoever posts must kick */

	/* Changes of host files that have ended and may not be durable; see lane_unsynced(). */
	_Atomic uint64_t unsynced;

	unsigned traced;
	struct trace_entry trace[LANE_TRACE];
	struct host_stats host[IO_HOST_OPS];
};

/* The lane of this thread, or NULL. */
extern _Thread_local struct lane *this_lane;
/* Engine locks held by this thread; 0 between any two steps. */
extern _Thread_local int locks_held;

/* Monotonic nanoseconds, by the lane's ring. */
static inline uint64_t lane_now(const struct lane *lane)
{
	return lane->ring->now(lane->ring);
}

void lane_init(struct lane *lane, unsigned id, struct ring *ring);
void lane_destroy(struct lane *lane);

/*
 * Take what was posted and run at most @budget steps.  Own thread only (this_lane is set by it).
 * True when there is more to run now.
 */
bool lane_run(struct lane *lane, unsigned budget);

/* May the ring block?  False when there is something to run.  Own thread only. */
bool lane_doze(struct lane *lane);

/* Print the flight recorder on standard error, newest last. */
void lane_dump(const struct lane *lane);

/*
 * How many changes of host files that the lane's tasks have made since lane_syncing() may still be
 * lost in a power cut: all that have ended, well or not, but durable writes (IO_DSYNC) that ended
 * well.  Not 0 before the first lane_syncing(), for what was there before.  Any thread; an I/O counts
 * before its task is resumed.
 */
static inline uint64_t lane_unsynced(const struct lane *lane)
{
	return atomic_load_explicit(&lane->unsynced, memory_order_acquire);
}

/* Who calls this then syncs all files, and waits for that.  Any thread. */
static inline void lane_syncing(struct lane *lane)
{
	atomic_exchange_explicit(&lane->unsynced, 0, memory_order_acq_rel);
}

/* Between two turns, before task_parked() is asked about the lane's tasks.  Own thread only. */
void lane_settle(struct lane *lane);

/* --- verbs: how a step ends ------------------------------------------------------------------ */

/* Nothing resumes it: run on, in a later turn. */
enum step go(struct task *task, int next);
/* Same, and the first error sticks. */
enum step fail(struct task *task, int err, int next);
/* The last of its ios and children resumes it (at once when there is none). */
enum step await_io(struct task *task, int next);
/* A change of what @queue belongs to; called under that object's lock. */
enum step park(struct task *task, struct waitq *queue, int next);

/* --- tasks ----------------------------------------------------------------------------------- */

/* Prepare a task in @state; it does not run before task_wake() or task_start(). */
static inline void task_init(struct task *task, struct lane *lane, const struct machine *machine,
			     int state)
{
	/* Field by field: this is on the hit path.  The last two mean nothing yet. */
	task->machine = machine;
	task->lane = lane;
	task->state = (uint16_t)state;
	task->inflight = 0;
	task->queued = false;
	task->err = 0;
	task->weight = 1;
	list_init(&task->link);
}

/* Make it run: any thread, under the lock of what it waited for. */
void task_wake(struct task *task);

/* The same for one that is in no queue and on its own lane, where the caller is. */
void task_resume(struct task *task);

/* Run its first step now, without a trip through the ready list.  Own lane, no lock held. */
void task_start(struct task *task);

/* A child of @parent has ended with @err: on the parent's lane. */
void task_child_done(struct task *parent, int err);

/* The name of what a task that has started and not ended is parked at, or NULL; see lane_settle(). */
const char *task_parked(const struct task *task);

/* The name of the state a task is in. */
const char *task_state(const struct task *task);

/* @queue: an expression that says what it is the queue of. */
#define waitq_init(queue) waitq_init_named(queue, #queue)

static inline void waitq_init_named(struct waitq *queue, const char *name)
{
	list_init(&queue->tasks);
	queue->name = name;
}

static inline bool waitq_empty(const struct waitq *queue)
{
	return list_empty(&queue->tasks);
}

/* Wake all; under the lock that guards the queue. */
void waitq_wake(struct waitq *queue);

/* Wake all with an error, which sticks if it is their first. */
void waitq_fail(struct waitq *queue, int err);

/* --- host I/O -------------------------------------------------------------------------------- */

/*
 * Start one io for a task on its own lane: it counts in task->inflight until it completes, and
 * its error, if any, becomes task->err.  May be called under a lock: it only stages.
 */
void io_start(struct task *task, struct io *io, enum io_op op, uint16_t file, struct span span,
	      struct host off, uint64_t len);

/* What all kinds of io have in common.  Field by field: this is on the hit path. */
static inline void io_prepare(struct task *task, struct io *io, enum io_op op, struct span span,
			      uint64_t len, bool timed)
{
	must(!io->flying);
	io->op = op;
	io->span = span;
	io->len = len;
	io->moved = 0;
	io->task = task;
	io->retries = 0;
	io->flying = timed ? IO_TIMED : IO_FLYING;
	if (timed)
		io->started = lane_now(task->lane);
	task->inflight++;
}

/* The same with enum io_flags. */
static inline void io_start_flags(struct task *task, struct io *io, enum io_op op, uint16_t file,
				  struct span span, struct host off, uint64_t len, unsigned flags)
{
	io_prepare(task, io, op, span, len, op < IO_HOST_OPS && !(flags & IO_UNTIMED));
	io->flags = (uint16_t)flags;
	io->file = file;
	io->off = off;
	task->lane->ring->queue(task->lane->ring, io);
}

/* The same for IO_COPY: @len bytes from @from to @span. */
void io_start_copy(struct task *task, struct io *io, struct span span, const void *from,
		   uint64_t len);

/* The same for IO_FETCH: @len bytes at @source, which is not memory, to @to. */
void io_start_fetch(struct task *task, struct io *io, void *to, struct span source, uint64_t len);

/* The same for IO_WORK, which reads and writes @len bytes at @span, in memory. */
void io_start_work(struct task *task, struct io *io, struct span span, uint64_t len,
		   io_work_fn *work);

/* One word, for people and reports. */
const char *io_name(enum io_op op);

/*
 * For rings: @res is what the host said, bytes or -errno.  Short transfers are continued, EAGAIN and
 * EINTR are tried again (up to IO_RETRIES times), ECANCELED until it is another, a read at end of file
 * gets zeros; then the task is resumed.  Own thread only.
 */
void io_complete(struct io *io, int64_t res);

#define IO_RETRIES 16

/* --- locks ----------------------------------------------------------------------------------- */

static inline pthread_mutex_t *critical_enter(pthread_mutex_t *lock)
{
	pthread_mutex_lock(lock);
	locks_held++;
	return lock;
}

static inline void critical_leave(pthread_mutex_t **lock)
{
	locks_held--;
	pthread_mutex_unlock(*lock);
}

/* Hold a lock until the end of the enclosing block: a return below it unlocks. */
#define CRITICAL(lock) \
	__attribute__((cleanup(critical_leave), unused)) \
	pthread_mutex_t *critical = critical_enter(lock)

/* Enum, and names for traces and dumps, from one list of states. */
#define STATE_ENUM(s) s,
#define STATE_NAME(s) #s,
#define MACHINE_STATES(machine_, LIST) \
	enum { LIST(STATE_ENUM) }; \
	static const char *const machine_##_states[] = { LIST(STATE_NAME) }

#endif
