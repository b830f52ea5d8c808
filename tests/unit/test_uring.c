/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writes in place over a real ring, in twos and not: all end, whatever the host refuses to do at once. */
#include "uring.h"

#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define BLOCK UINT64_C(4096)
#define TASKS 64u
#define ROUNDS 20u
#define CALLERS (TASKS - 1) /* in twos, with the read of the kick */

/*
 *	WRITE -> WROTE~
 *	WROTE -> READ~
 *	READ  -> WRITE DONE
 *	DONE
 */
#define WRITER_LIST(s) s(U_WRITE) s(U_WROTE) s(U_READ) s(U_DONE)
MACHINE_STATES(writer, WRITER_LIST);

struct writer {
	struct task task;
	struct io io;
	unsigned id;
	unsigned round;
	unsigned wrong;
	uint8_t *bytes;
};

static struct uring uring;
static struct lane lane;
static struct writer writer[TASKS];
static unsigned running;

/* Half of the rounds fill holes, for which a write must be able to wait; the others write there again. */
static struct host place_of(const struct writer *w)
{
	return (struct host){ (w->round / 2 * TASKS + w->id) * BLOCK };
}

static uint8_t pattern_of(const struct writer *w)
{
	return (uint8_t)(1 + w->id + 7 * w->round);
}

static enum step writer_step(struct task *t)
{
	struct writer *w = container_of(t, struct writer, task);
	struct span span = span_memory(w->bytes);

	switch (t->state) {
	case U_WRITE:
		memset(w->bytes, pattern_of(w), BLOCK);
		io_start_flags(t, &w->io, IO_WRITE, 0, span, place_of(w), BLOCK, IO_IN_PLACE);
		return await_io(t, U_WROTE);

	case U_WROTE:
		memset(w->bytes, 0, BLOCK);
		io_start(t, &w->io, IO_READ, 0, span, place_of(w), BLOCK);
		return await_io(t, U_READ);

	case U_READ:
		for (unsigned i = 0; i < BLOCK; i++)
			w->wrong += w->bytes[i] != pattern_of(w);
		w->round++;
		return go(t, w->round < ROUNDS ? U_WRITE : U_DONE);

	case U_DONE:
		/* The turn would wait for whatever comes next. */
		if (--running == 0)
			t->lane->ring->kick(t->lane->ring);
		return STEP_DONE;
	}
	abort();
}

static const struct machine writer_machine = { "writer", writer_step, writer_states };

/* --- who kicks while completions are taken in between ----------------------------------------------- */

/*
 *	WRITE -> DONE~
 *	DONE
 */
#define CALLER_LIST(s) s(V_WRITE) s(V_DONE)
MACHINE_STATES(caller, CALLER_LIST);

static enum step caller_step(struct task *t)
{
	struct writer *w = container_of(t, struct writer, task);

	switch (t->state) {
	case V_WRITE:
		io_start_flags(t, &w->io, IO_WRITE, 1, span_memory(w->bytes), place_of(w), BLOCK,
			       IO_STEPS);
		return await_io(t, V_DONE);

	case V_DONE:
		/* As another thread would, before the rest of them are submitted. */
		if (running-- == CALLERS)
			t->lane->ring->kick(t->lane->ring);
		return STEP_DONE;
	}
	abort();
}

static const struct machine caller_machine = { "caller", caller_step, caller_states };

/* All are complete at once, so that a turn that waits after them and has not heard the kick waits for ever. */
static void kick_between(void)
{
	running = CALLERS;
	for (unsigned i = 0; i < CALLERS; i++) {
		task_init(&writer[i].task, &lane, &caller_machine, V_WRITE);
		task_wake(&writer[i].task);
	}
	while (running) {
		uring.in_twos = true;
		uring_turn(&uring, &lane, 256);
	}
}

static int open_file(int flags)
{
	const char *folder = getenv("TMPDIR");

	return open(folder ? folder : "/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC | flags, 0600);
}

static void run(unsigned writers, bool twos)
{
	unsigned wrong = 0, errors = 0;
	bool timed = false, alone = writers == 1 && !uring.hold_armed;

	running = writers;
	for (unsigned i = 0; i < writers; i++) {
		struct writer *w = &writer[i];

		*w = (struct writer){ .id = i, .bytes = w->bytes };
		task_init(&w->task, &lane, &writer_machine, U_WRITE);
		task_wake(&w->task);
	}
	while (running) {
		uring.in_twos = twos;
		uring_turn(&uring, &lane, 256);
		timed |= uring.hold_armed;
	}
	/* Who may have to wait for the host holds nobody up. */
	if (alone)
		CHECK(!timed);
	for (unsigned i = 0; i < writers; i++) {
		wrong += writer[i].wrong;
		errors += writer[i].task.err != 0;
	}
	CHECK_EQ(wrong, 0);
	CHECK_EQ(errors, 0);
}

/* --- the kernel has no thread for an I/O -------------------------------------------------------------- */

static void (*queue_really)(struct ring *ring, struct io *io);
static unsigned cancels;

static void queue_or_cancel(struct ring *ring, struct io *io)
{
	if (cancels == 0) {
		queue_really(ring, io);
		return;
	}
	cancels--;
	io_complete(io, -ECANCELED);
}

/* However long that lasts, it is no error of the storage. */
static void cancel_often(void)
{
	queue_really = uring.ring.queue;
	uring.ring.queue = queue_or_cancel;
	cancels = 1000;
	run(1, false);
	CHECK_EQ(cancels, 0);
	uring.ring.queue = queue_really;
}

/* --- a quota is exceeded ------------------------------------------------------------------------------- */

static struct io *kept;

static void queue_for_us(struct ring *ring, struct io *io)
{
	(void)ring;
	kept = io;
}

/* A write that the ring has not got. */
static void keep_write(void)
{
	running = 1;
	queue_really = uring.ring.queue;
	uring.ring.queue = queue_for_us;
	task_init(&writer[0].task, &lane, &caller_machine, V_WRITE);
	task_wake(&writer[0].task);
	lane_run(&lane, 1);
	uring.ring.queue = queue_really;
}

/* Nobody takes such a write for one that has failed for good. */
static void exceed_quota(void)
{
	keep_write();
	io_complete(kept, -EDQUOT);
	while (running)
		lane_run(&lane, 1);
	CHECK_EQ(writer[0].task.err, -ENOSPC);
}

/* --- a buffer is given back ---------------------------------------------------------------------------- */

static bool is_told(const struct io *io)
{
	struct io_uring_cqe *cqe;
	unsigned head;

	io_uring_for_each_cqe(&uring.raw, head, cqe)
	{
		if (cqe->user_data == (uintptr_t)io)
			return true;
	}
	return false;
}

/*
 * A thread of the kernel finds the buffer gone when the write's turn comes: that is no failure of the
 * image.  Before Linux 6.15 it is looked for, and held, when the write is submitted: nothing to see there.
 */
static void lose_buffer(void)
{
	struct io_uring_cqe *cqe;

	keep_write();
	kept->span = (struct span){ .slot = 0 };
	uring.scout = kept;
	queue_really(&uring.ring, kept);
	uring_flush(&uring);
	lane_run(&lane, 1);
	if (!running)
		return;
	uring_forget_buffers(&uring);
	while (!is_told(kept))
		CHECK_EQ(io_uring_wait_cqe_nr(&uring.raw, &cqe, io_uring_cq_ready(&uring.raw) + 1),
			 0);
	uring_flush(&uring);
	lane_run(&lane, 1);
	CHECK_EQ(running, 1);
}

int main(void)
{
	static const unsigned writers[] = { 1, 2, 3, TASKS };
	static const struct uring_sizes sizes = { .sq_entries = 128,
						  .cq_entries = 512,
						  .buffers = 1 };
	int file[] = { open_file(O_DIRECT), open("/dev/null", O_WRONLY | O_CLOEXEC) };

	if (file[0] < 0)
		file[0] = open_file(0);
	must(file[0] >= 0 && file[1] >= 0);
	for (unsigned i = 0; i < TASKS; i++)
		must(!posix_memalign((void **)&writer[i].bytes, BLOCK, BLOCK));
	check_case("a ring can be had");
	CHECK_EQ(uring_prepare(&uring), 0);
	lane_init(&lane, 0, &uring.ring);
	CHECK_EQ(uring_start(&uring, &sizes, file, ARRAY_SIZE(file)), 0);

	/* First, while there is no timer that would end a wait. */
	check_case("a kick in between");
	kick_between();

	for (unsigned i = 0; i < 2 * ARRAY_SIZE(writers); i++) {
		bool twos = i % 2;

		must(!ftruncate(file[0], 0));
		check_case("%u at a time%s", writers[i / 2], twos ? ", in twos" : "");
		run(writers[i / 2], twos);
	}

	check_case("cancelled very often");
	cancel_often();
	check_case("over quota");
	exceed_quota();
	check_case("without its buffer");
	lose_buffer();

	uring_stop(&uring);
	uring_release(&uring);
	lane_destroy(&lane);
	for (unsigned i = 0; i < TASKS; i++)
		free(writer[i].bytes);
	return check_end();
}
