/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading: the bytes of one extent, from the layer that has them, then the next. */
#include "bounce.h"
#include "cache.h"
#include "map.h"
#include "part.h"
#include "unpack.h"

#include <errno.h>
#include <stdlib.h>

/*
 *	MAP      -> DONE SLICE UNPACK DECRYPT~ NEXT~
 *	SLICE    -> MAP MAP*
 *	UNPACK   -> COPY COPY* MAP*
 *	COPY     -> COPIED~
 *	COPIED   -> DONE NEXT
 *	DECRYPT  -> NEXT
 *	NEXT     -> DONE MAP
 */
#define READ_LIST(s) \
	s(R_MAP) s(R_SLICE) s(R_UNPACK) s(R_COPY) s(R_COPIED) s(R_DECRYPT) s(R_NEXT) s(R_DONE)
MACHINE_STATES(read, READ_LIST);

static void read_extent(struct part *part)
{
	const struct extent *extent = &part->extent;
	enum io_op op = extent_reads_zero(extent) ? IO_ZEROS : IO_READ;

	if (op == IO_ZEROS && span_is_memory(part->span)) {
		memset(span_address(part->span), 0, extent->len);
		return;
	}
	io_start(&part->task, &part->io[0], op, part->node->data->index, part->span, extent->host,
		 extent->len);
}

static enum step read_step(struct task *t)
{
	struct part *part = container_of(t, struct part, task);
	struct unpack *unpack = &image_lane(part->image, t->lane)->unpack;

	switch (t->state) {
	case R_MAP: {
		if (t->err)
			return go(t, R_DONE);
		part_enter(part);
		int err = map_chain(part);
		slice_looked(part);
		if (err == -EAGAIN)
			return go(t, R_SLICE);
		if (err) {
			map_bad(part);
			return fail(t, err, R_DONE);
		}
		part->extent.len = bounce_read_bytes(part);
		part_split(part);
		if (part->extent.kind == EXTENT_PACKED)
			return go(t, R_UNPACK);
		read_extent(part);
		return await_io(t, extent_is_encrypted(part) ? R_DECRYPT : R_NEXT);
	}
	case R_SLICE: {
		struct node *node = part->node;
		uint64_t slice = guest_slice(&node->geo, part->guest);
		struct waitq *wait;

		part_leave(part);
		part_met(part, CAUSE_MISS);
		CRITICAL(&cache_shard(node, slice)->lock);
		if (slice_look(node, slice, t->lane, &wait))
			return go(t, R_MAP);
		return park(t, wait, R_MAP);
	}
	case R_UNPACK: {
		struct waitq *wait;
		part_met(part, CAUSE_UNPACK);
		CRITICAL(&unpack->lock);
		if (unpack_get(unpack, part, &wait))
			return go(t, R_COPY);
		/* The load has the epoch now, if there is one. */
		part_leave(part);
		if (part->unpacked)
			return park(t, wait, R_COPY);
		/* From the top: the part may have become shorter since the walk began. */
		part->node = NULL;
		return park(t, wait, R_MAP);
	}
	case R_COPY:
		if (!t->err)
			unpack_copy(part);
		return await_io(t, R_COPIED);

	case R_COPIED: {
		CRITICAL(&unpack->lock);
		unpack_put(unpack, part);
		return go(t, t->err ? R_DONE : R_NEXT);
	}
	case R_DECRYPT: {
		int err = t->err ? t->err : bounce_decrypt(part);
		return err ? fail(t, err, R_NEXT) : go(t, R_NEXT);
	}
	case R_NEXT:
		if (t->err || !part_advance(part))
			return go(t, R_DONE);
		return go(t, R_MAP);

	case R_DONE:
		part_end(part);
		return STEP_DONE;
	}
	abort();
}

const struct machine read_machine = { "read", read_step, read_states };
