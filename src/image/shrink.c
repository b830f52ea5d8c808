/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A smaller disk, while requests run.
 *
 * It is refused as long as the image has anything behind the new end.  So that nothing comes there after
 * the look, the door is closed first for what reaches behind it, and who was inside is waited for; if
 * something is there by then, the door opens again.  What was dropped there becomes durable, then the
 * header gets the size.  Up to then a crash leaves the disk as it was, with all that was in it.
 *
 * The tables of what is gone stay where they are: they are counted, say nothing but "absent" and "zero",
 * and are used again when the disk grows.  The last cluster may have bytes behind the end; they are made
 * zeros when the new size is durable and not before, for other programs: a disk that grows here makes them
 * so in any case.
 */
#include "shrink.h"

#include "door.h"
#include "part.h"
#include "resize.h"
#include "used.h"

#include <errno.h>
#include <stdlib.h>

/*
 *	ASK    -> END~
 *	CLOSE  -> END EMPTY
 *	EMPTY  -> EMPTY* OPEN LOOK
 *	LOOK   -> FLUSH FLUSH~
 *	FLUSH  -> OPEN HEADER~
 *	HEADER -> OPEN HEADED
 *	HEADED -> HEADED* OPEN ZERO
 *	ZERO   -> CUT CUT~
 *	CUT    -> END
 *	OPEN   -> END
 *	END    -> DONE
 */
#define SHRINK_LIST(s) \
	s(K_ASK) s(K_CLOSE) s(K_EMPTY) s(K_LOOK) s(K_FLUSH) s(K_HEADER) s(K_HEADED) s(K_ZERO) \
		s(K_CUT) s(K_OPEN) s(K_END)
MACHINE_STATES(shrink, SHRINK_LIST);

/* The end of the last cluster that stays, or of the disk as it was. */
static uint64_t tail(const struct image *image, uint64_t bytes)
{
	return min_u64(round_up(bytes, image->top.geo.cluster_bytes), image->resize.bytes_before);
}

/* Is anything behind it? */
static void start_look(struct image *image)
{
	uint64_t from = tail(image, image->resize.bytes), to = image->resize.bytes_before;

	if (from < to)
		resize_start_child(image, &used_machine, REQ_READ, from, to);
}

static enum step shrink_step(struct task *t)
{
	struct resize *resize = container_of(t, struct resize, task);
	struct image *image = container_of(resize, struct image, resize);
	uint64_t end = tail(image, resize->bytes);

	switch (t->state) {
	case K_ASK:
		start_look(image);
		return await_io(t, K_END);

	case K_CLOSE: {
		if (image_broken(image))
			return fail(t, -EIO, K_END);
		door_close(image, resize->bytes);
		CRITICAL(&image->alloc.lock);
		resize_order(image, RESIZE_EMPTY);
		return go(t, K_EMPTY);
	}
	case K_EMPTY: {
		CRITICAL(&image->alloc.lock);
		if (resize->order)
			return park(t, &resize->answered, K_EMPTY);
		if (resize->answer)
			return fail(t, resize->answer, K_OPEN);
		return go(t, K_LOOK);
	}
	case K_LOOK:
		if (mutant(NO_LAST_LOOK))
			return go(t, K_FLUSH);
		start_look(image);
		return await_io(t, K_FLUSH);

	case K_FLUSH:
		if (t->err)
			return go(t, K_OPEN);
		resize_start_child(image, &flush_machine, REQ_FLUSH, 0, 0);
		return await_io(t, K_HEADER);

	case K_HEADER: {
		if (t->err)
			return go(t, K_OPEN);
		resize_announce(image);
		CRITICAL(&image->alloc.lock);
		resize_order(image, RESIZE_HEADER);
		return go(t, K_HEADED);
	}
	case K_HEADED: {
		CRITICAL(&image->alloc.lock);
		if (resize->order)
			return park(t, &resize->answered, K_HEADED);
		if (resize->answer)
			return fail(t, resize->answer, K_OPEN);
		return go(t, K_ZERO);
	}
	case K_ZERO:
		if (resize->bytes == end)
			return go(t, K_CUT);
		resize_start_child(image, &zero_machine, REQ_WRITE_ZEROES, resize->bytes, end);
		return await_io(t, K_CUT);

	case K_CUT:
		/* The disk is smaller, whatever has come of the zeros. */
		if (t->err)
			log_warn("%s: what its last cluster holds behind the new end could not be "
				 "made zeros: %s",
				 image->top.file->name, strerror(-t->err));
		t->err = 0;
		resize_set_end(image, resize->bytes);
		return go(t, K_END);

	case K_OPEN:
		door_open(image, resize->bytes_before);
		return go(t, K_END);

	case K_END:
		resize_end(image, t->err);
		return STEP_DONE;
	}
	abort();
}

static const struct machine shrink_machine = { "shrink", shrink_step, shrink_states };

void image_unused_start(struct image *image, uint64_t bytes, void (*done)(void *arg, int err),
			void *arg)
{
	must(bytes <= image_disk_bytes(image));
	resize_begin(image, bytes, done, arg);
	task_init(&image->resize.task, service_lane(image), &shrink_machine, K_ASK);
	task_wake(&image->resize.task);
}

void shrink_start(struct image *image, uint64_t bytes, void (*done)(void *arg, int err), void *arg)
{
	resize_begin(image, bytes, done, arg);
	task_init(&image->resize.task, service_lane(image), &shrink_machine, K_CLOSE);
	task_wake(&image->resize.task);
}

uint64_t image_used(const struct image *image)
{
	return image->resize.used;
}
