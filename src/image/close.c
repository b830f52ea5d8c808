/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Closing: a last flush, then the allocator gives back what nobody used.
 *
 * Flushes that nobody asked for have come to their end before: from the last flush on nobody but the
 * allocator writes or syncs, so that its last sync may be believed.
 */
#include "alloc.h"
#include "arena.h"
#include "part.h"
#include "writeback.h"

#include <stdlib.h>

/*
 *	BEGIN -> DONE BEGIN* QUIET
 *	QUIET -> QUIET* FLUSH
 *	FLUSH -> ALLOC~
 *	ALLOC -> WAIT
 *	WAIT  -> WAIT* DONE
 */
#define CLOSE_LIST(s) s(C_BEGIN) s(C_QUIET) s(C_FLUSH) s(C_ALLOC) s(C_WAIT) s(C_DONE)
MACHINE_STATES(close, CLOSE_LIST);

static void flush_done(struct req *req)
{
	struct closer *closer = container_of(req, struct closer, flush);

	task_child_done(&closer->task, req->result);
}

static enum step close_step(struct task *t)
{
	struct closer *closer = container_of(t, struct closer, task);
	struct image *image = container_of(closer, struct image, closer);

	switch (t->state) {
	case C_BEGIN: {
		if (image->read_only)
			return go(t, C_DONE);
		CRITICAL(&image->alloc.lock);
		if (image->resize.busy)
			return park(t, &image->resize.ended, C_BEGIN);
		return go(t, C_QUIET);
	}
	case C_QUIET: {
		CRITICAL(&image->flush.lock);
		if (!writeback_end_locked(image))
			return park(t, &image->writeback.quiet, C_QUIET);
		return go(t, C_FLUSH);
	}
	case C_FLUSH:
		closer->flush = (struct req){ .op = REQ_FLUSH, .done = flush_done };
		t->inflight++;
		part_queue(image, t->lane, &closer->flush, &flush_machine);
		return await_io(t, C_ALLOC);

	case C_ALLOC:
		/* Also after a failed flush: what was reserved is given back all the same. */
		alloc_close_start(image);
		return go(t, C_WAIT);

	case C_WAIT: {
		CRITICAL(&image->alloc.lock);
		if (!image->alloc.closed_down)
			return park(t, &image->alloc.closed, C_WAIT);
		if (image->alloc.close_err)
			return fail(t, image->alloc.close_err, C_DONE);
		return go(t, C_DONE);
	}
	case C_DONE:
		/* What could not be saved stands there for the next process, unless it is past saving. */
		if (!t->err || image_broken(image))
			arena_closed(image);
		closer->done(closer->arg, t->err);
		return STEP_DONE;
	}
	abort();
}

static const struct machine close_machine = { "close", close_step, close_states };

void image_close_start(struct image *image, struct lane *lane, void (*done)(void *arg, int err),
		       void *arg)
{
	struct closer *closer = &image->closer;

	closer->done = done;
	closer->arg = arg;
	task_init(&closer->task, lane, &close_machine, C_BEGIN);
	task_wake(&closer->task);
}
