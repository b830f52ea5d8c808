/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lanes: how a task finds back to its own thread.
 *
 * A wake on the own lane is a list insert.  A wake across lanes goes through the inbox, and kicks
 * the other ring only when that lane has said that it is about to block.
 */
#include "task.h"

#include <stdio.h>

_Thread_local struct lane *this_lane;
_Thread_local int locks_held;

void lane_init(struct lane *lane, unsigned id, struct ring *ring)
{
	memset(lane, 0, sizeof(*lane));
	lane->id = id;
	lane->ring = ring;
	list_init(&lane->ready);
	list_init(&lane->inbox);
	pthread_mutex_init(&lane->post_lock, NULL);
	lane->unsynced = 1;
}

void lane_destroy(struct lane *lane)
{
	pthread_mutex_destroy(&lane->post_lock);
}

static void lane_collect(struct lane *lane)
{
	pthread_mutex_lock(&lane->post_lock);
	lane->asleep = false;
	list_splice_tail(&lane->ready, &lane->inbox);
	pthread_mutex_unlock(&lane->post_lock);
}

bool lane_doze(struct lane *lane)
{
	if (!list_empty(&lane->ready))
		return false;
	pthread_mutex_lock(&lane->post_lock);
	lane->asleep = list_empty(&lane->inbox);
	bool asleep = lane->asleep;
	pthread_mutex_unlock(&lane->post_lock);
	return asleep;
}

static void lane_post(struct lane *lane, struct task *task)
{
	pthread_mutex_lock(&lane->post_lock);
	list_add_tail(&lane->inbox, &task->link);
	bool kick = lane->asleep;
	lane->asleep = false;
	pthread_mutex_unlock(&lane->post_lock);
	if (kick)
		lane->ring->kick(lane->ring);
}

void task_wake(struct task *task)
{
	must(!task->queued);
	list_del(&task->link);
	task->queued = true;
	if (task->lane == this_lane)
		list_add_tail(&task->lane->ready, &task->link);
	else
		lane_post(task->lane, task);
}

void task_resume(struct task *task)
{
	must(!task->queued && list_empty(&task->link));
	debug_assert(task->lane == this_lane);
	task->queued = true;
	list_add_tail(&task->lane->ready, &task->link);
}

static void trace_step(struct lane *lane, const struct task *task)
{
	lane->trace[lane->traced++ % LANE_TRACE] =
		(struct trace_entry){ task, task->machine, task->state, task->err };
}

static void task_step(struct task *task)
{
	must(task->lane == this_lane);
	must(locks_held == 0);
	trace_step(task->lane, task);

	/* After WAIT and DONE the task may already be gone. */
	enum step step = task->machine->step(task);

	must(locks_held == 0);
	if (step == STEP_AGAIN)
		task_wake(task);
}

void task_start(struct task *task)
{
	must(!task->queued);
	task_step(task);
}

bool lane_run(struct lane *lane, unsigned budget)
{
	this_lane = lane;
	lane_collect(lane);
	while (budget-- && !list_empty(&lane->ready)) {
		struct task *task = container_of(lane->ready.next, struct task, link);

		list_del(&task->link);
		task->queued = false;
		task_step(task);
	}
	return !list_empty(&lane->ready);
}

/*
 * A task at rest is ready, or has something in flight, or is parked.  Who is parked may be woken
 * by other threads at any time, so it is not to be asked itself.
 */
void lane_settle(struct lane *lane)
{
	lane_collect(lane);
	list_for_each(node, &lane->ready)
		container_of(node, struct task, link)->parked = NULL;
}

void lane_dump(const struct lane *lane)
{
	unsigned first = lane->traced > LANE_TRACE ? lane->traced - LANE_TRACE : 0;

	for (unsigned i = first; i < lane->traced; i++) {
		const struct trace_entry *entry = &lane->trace[i % LANE_TRACE];

		fprintf(stderr, "lane %u  %-8s %p  %s", lane->id, entry->machine->name,
			(const void *)entry->task, entry->machine->states[entry->state]);
		if (entry->err)
			fprintf(stderr, "  (error %d)", entry->err);
		fputc('\n', stderr);
	}
}
