/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a lane counts as not durable: a flush that finds nothing there syncs nothing.  And which errors of the
 * host are a lack of space.
 */
#include "task.h"

#include "check.h"

#include <errno.h>
#include <stdlib.h>

#define BYTES UINT64_C(4096)

/*
 *	START -> ENDED~
 *	ENDED
 */
#define OWNER_LIST(s) s(O_START) s(O_ENDED)
MACHINE_STATES(owner, OWNER_LIST);

static struct owner {
	struct task task;
	struct io io;
	enum io_op op;
	unsigned flags;
	uint64_t counted; /* when it went on */
} owner;

static struct lane lane;
static struct io *queued;

static void ring_queue(struct ring *ring, struct io *io)
{
	(void)ring;
	queued = io;
}

static void ring_kick(struct ring *ring)
{
	(void)ring;
}

static uint64_t ring_now(struct ring *ring)
{
	(void)ring;
	return 0;
}

static struct ring ring = { .queue = ring_queue, .kick = ring_kick, .now = ring_now };

static enum step owner_step(struct task *t)
{
	switch (t->state) {
	case O_START:
		io_start_flags(t, &owner.io, owner.op, 0, span_memory(&owner), (struct host){ 0 },
			       BYTES, owner.flags);
		return await_io(t, O_ENDED);

	case O_ENDED:
		owner.counted = lane_unsynced(t->lane);
		return STEP_DONE;
	}
	abort();
}

static const struct machine owner_machine = { "owner", owner_step, owner_states };

/* It ends with @res, in the middle of its way with @first, if that is not 0; how many count then. */
static uint64_t counted(enum io_op op, unsigned flags, int64_t first, int64_t res)
{
	owner.op = op;
	owner.flags = flags;
	lane_syncing(&lane);
	task_init(&owner.task, &lane, &owner_machine, O_START);
	task_start(&owner.task);
	if (first)
		io_complete(queued, first);
	io_complete(queued, res);
	while (lane_run(&lane, 1))
		;
	return owner.counted;
}

int main(void)
{
	lane_init(&lane, 0, &ring);
	this_lane = &lane;

	check_case("before the first sync, nobody knows what there was");
	CHECK(lane_unsynced(&lane) > 0);
	lane_syncing(&lane);
	CHECK_EQ(lane_unsynced(&lane), 0);

	check_case("changes count before their task goes on, and so do those that failed");
	CHECK_EQ(counted(IO_WRITE, 0, 0, BYTES), 1);
	CHECK_EQ(counted(IO_WRITE, IO_UNTIMED | IO_STEPS, 0, BYTES), 1);
	CHECK_EQ(counted(IO_WRITE, 0, 512, -ENOSPC), 1);
	CHECK_EQ(counted(IO_PUNCH, 0, 0, 0), 1);
	CHECK_EQ(counted(IO_PUNCH, 0, 0, -EIO), 1);
	CHECK_EQ(counted(IO_TRUNCATE, 0, 0, 0), 1);

	check_case("durable writes count when they failed, as a part may be written");
	CHECK_EQ(counted(IO_WRITE, IO_DSYNC, 0, BYTES), 0);
	CHECK_EQ(counted(IO_WRITE, IO_DSYNC, 512, (int64_t)BYTES - 512), 0);
	CHECK_EQ(counted(IO_WRITE, IO_DSYNC | IO_STEPS, 0, -EIO), 1);
	CHECK_EQ(counted(IO_WRITE, IO_DSYNC, 512, -ENOSPC), 1);

	check_case("a file that may not become so large has no space, as over a quota");
	CHECK_EQ(counted(IO_TRUNCATE, 0, 0, -EFBIG), 1);
	CHECK_EQ(owner.task.err, -ENOSPC);
	CHECK_EQ(counted(IO_WRITE, 0, 0, -EFBIG), 1);
	CHECK_EQ(owner.task.err, -EFBIG);

	check_case("what changes no bytes counts nothing");
	CHECK_EQ(counted(IO_READ, 0, 0, BYTES), 0);
	CHECK_EQ(counted(IO_READ, 0, 0, -EIO), 0);
	CHECK_EQ(counted(IO_SYNC, 0, 0, 0), 0);
	CHECK_EQ(counted(IO_ALLOCATE, 0, 0, 0), 0);

	lane_destroy(&lane);
	return check_end();
}
