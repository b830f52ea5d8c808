/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Has a stretch of the disk anything in the image: bytes, or space that is set aside for some?
 *
 * That something says zero there is nothing: behind the end of the disk nobody reads it.
 */
#include "used.h"

#include "cache.h"
#include "map.h"
#include "part.h"

#include <errno.h>
#include <stdlib.h>

/*
 *	MAP   -> DONE SLICE NEXT
 *	SLICE -> MAP MAP*
 *	NEXT  -> DONE MAP
 */
#define USED_LIST(s) s(U_MAP) s(U_SLICE) s(U_NEXT) s(U_DONE)
MACHINE_STATES(used, USED_LIST);

static enum step used_step(struct task *t)
{
	struct part *part = container_of(t, struct part, task);
	struct image *image = part->image;
	struct node *top = &image->top;

	switch (t->state) {
	case U_MAP: {
		if (t->err)
			return go(t, U_DONE);
		int err = map_lookup(top, part->guest, part->len, &part->extent);
		slice_looked(part);
		if (err == -EAGAIN)
			return go(t, U_SLICE);
		if (err) {
			map_bad(part);
			return fail(t, err, U_DONE);
		}
		if (part->extent.kind != EXTENT_PACKED && !extent_has_host(&part->extent))
			return go(t, U_NEXT);
		image->resize.used = part->guest.byte;
		return fail(t, -EBUSY, U_DONE);
	}
	case U_SLICE: {
		uint64_t slice = guest_slice(&top->geo, part->guest);
		struct waitq *wait;

		CRITICAL(&cache_shard(top, slice)->lock);
		if (slice_look(top, slice, t->lane, &wait))
			return go(t, U_MAP);
		return park(t, wait, U_MAP);
	}
	case U_NEXT:
		return go(t, part_advance(part) ? U_MAP : U_DONE);

	case U_DONE:
		part_end(part);
		return STEP_DONE;
	}
	abort();
}

const struct machine used_machine = { "used", used_step, used_states };
