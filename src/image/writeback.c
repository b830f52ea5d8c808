/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writeback: flushes that no guest asked for.
 *
 * Two tasks on the service lane.  The urgent one flushes because somebody waits for dirty slices
 * or releases to become free; the lazy one because discarded space is only given back after a
 * flush, and a guest that discards may not flush for long.  When there was none for a while, it gives
 * back the memory of the last one, too.
 */
#include "writeback.h"

#include "flush.h"
#include "part.h"

#include <stdlib.h>

/*
 *	IDLE  -> IDLE* FLUSH
 *	FLUSH -> IDLE IDLE~
 */
#define URGENT_LIST(s) s(U_IDLE) s(U_FLUSH)
MACHINE_STATES(urgent, URGENT_LIST);

/*
 *	IDLE  -> IDLE* TIMER
 *	TIMER -> FIRE~
 *	FIRE  -> IDLE
 */
#define LAZY_LIST(s) s(Y_IDLE) s(Y_TIMER) s(Y_FIRE)
MACHINE_STATES(lazy, LAZY_LIST);

void writeback_want_locked(struct image *image)
{
	/* Of an image that is only read, nothing is dirty: what is in use will be let go. */
	if (image->writeback.wanted || image->read_only || image_broken(image))
		return;
	image->writeback.wanted = true;
	waitq_wake(&image->writeback.idle);
}

void writeback_want(struct image *image)
{
	CRITICAL(&image->flush.lock);
	writeback_want_locked(image);
}

void writeback_lazily_locked(struct image *image)
{
	if (image->writeback.lazy_wanted || image_broken(image))
		return;
	image->writeback.lazy_wanted = true;
	waitq_wake(&image->writeback.idle);
}

bool writeback_end_locked(struct image *image)
{
	image->writeback.ended = true;
	return !image->writeback.flushing || mutant(CLOSE_EARLY);
}

/* A failure is told to whoever waits for the flush's effects; here it changes nothing. */
static void flush_done(struct req *req)
{
	struct writeback *writeback = container_of(req, struct writeback, flush);

	task_child_done(&writeback->urgent, 0);
}

static enum step urgent_step(struct task *t)
{
	struct writeback *writeback = container_of(t, struct writeback, urgent);
	struct image *image = container_of(writeback, struct image, writeback);

	switch (t->state) {
	case U_IDLE: {
		CRITICAL(&image->flush.lock);
		writeback->flushing = false;
		waitq_wake(&writeback->quiet);
		if (!writeback->wanted || writeback->ended)
			return park(t, &writeback->idle, U_IDLE);
		writeback->wanted = false;
		return go(t, U_FLUSH);
	}
	case U_FLUSH: {
		CRITICAL(&image->flush.lock);
		if (writeback->ended)
			return go(t, U_IDLE);
		writeback->flushing = true;
		writeback->flush = (struct req){ .op = REQ_FLUSH, .done = flush_done };
		t->inflight++;
		part_queue(image, t->lane, &writeback->flush, &flush_machine);
		return await_io(t, U_IDLE);
	}
	}
	abort();
}

static const struct machine urgent_machine = { "urgent", urgent_step, urgent_states };

static enum step lazy_step(struct task *t)
{
	struct writeback *writeback = container_of(t, struct writeback, lazy);
	struct image *image = container_of(writeback, struct image, writeback);

	switch (t->state) {
	case Y_IDLE: {
		CRITICAL(&image->flush.lock);
		if (!writeback->lazy_wanted)
			return park(t, &writeback->idle, Y_IDLE);
		return go(t, Y_TIMER);
	}
	case Y_TIMER:
		io_start(t, &writeback->timer, IO_TIMER, 0, span_memory(NULL), (struct host){ 0 },
			 WRITEBACK_LAZY_NS);
		return await_io(t, Y_FIRE);

	case Y_FIRE: {
		CRITICAL(&image->flush.lock);
		t->err = 0; /* a timer that failed has fired early */
		writeback->lazy_wanted = flush_rest_locked(image);
		if (!list_empty(&image->flush.pending))
			writeback_want_locked(image);
		return go(t, Y_IDLE);
	}
	}
	abort();
}

static const struct machine lazy_machine = { "lazy", lazy_step, lazy_states };

void writeback_open(struct image *image)
{
	struct writeback *writeback = &image->writeback;

	waitq_init(&writeback->idle);
	waitq_init(&writeback->quiet);
	task_init(&writeback->urgent, service_lane(image), &urgent_machine, U_IDLE);
	task_init(&writeback->lazy, service_lane(image), &lazy_machine, Y_IDLE);
	/* Parked from the start: the service lane need not run before there is something to do. */
	list_add_tail(&writeback->idle.tasks, &writeback->urgent.link);
	list_add_tail(&writeback->idle.tasks, &writeback->lazy.link);
}
