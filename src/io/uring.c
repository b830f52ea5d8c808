/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How one host I/O is executed: struct io to SQE, CQE to io_complete().
 *
 * The low bits of user_data say what a completion belongs to; ios and commands are aligned.
 */
#include "uring.h"
#include "pool.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#define OP_FTRUNCATE 55 /* IORING_OP_FTRUNCATE, Linux 6.9; newer than the library's header */

/* An SQE has 32 bits for a length; what is left is continued as after a short transfer. */
#define TRANSFER_MAX (UINT64_C(1) << 30)

/* What uring_keep_pages() keeps of each buffer. */
#define KEPT_BYTES 4096u

enum user_data { USER_IO, USER_COMMAND, USER_KICK, USER_HOLD, USER_NOBODY, USER_MASK = 7 };

_Static_assert(_Alignof(struct io) > USER_MASK, "low bits of an io's address");
_Static_assert(_Alignof(struct uring_command) > USER_MASK, "low bits of a command's address");

static struct uring *uring_of(struct ring *ring)
{
	return container_of(ring, struct uring, ring);
}

/* --- behind struct ring ------------------------------------------------------------------------ */

static void uring_queue(struct ring *ring, struct io *io)
{
	struct uring *uring = uring_of(ring);
	struct list *list = &uring->ios;

	if (io->op == IO_COPY || io->op == IO_FETCH ||
	    (io->op == IO_ZEROS && span_is_memory(io->span)))
		list = &uring->fills;
	else if (io->op == IO_WORK)
		list = &uring->works;
	list_add_tail(list, &io->link);
}

static void uring_kick(struct ring *ring)
{
	/* Fails only when the counter is full: then the lane has long been told. */
	eventfd_write(uring_of(ring)->kick_fd, 1);
}

static uint64_t uring_now(struct ring *ring)
{
	(void)ring;
	return monotonic_ns();
}

void uring_command(struct uring *uring, struct uring_command *command)
{
	list_add_tail(&uring->commands, &command->link);
}

/* --- life -------------------------------------------------------------------------------------- */

int uring_prepare(struct uring *uring)
{
	memset(uring, 0, sizeof(*uring));
	uring->ring = (struct ring){ .queue = uring_queue, .kick = uring_kick, .now = uring_now };
	list_init(&uring->ios);
	list_init(&uring->commands);
	list_init(&uring->fills);
	list_init(&uring->held);
	list_init(&uring->works);
	uring->zero_fd = -1;
	uring->kick_fd = eventfd(0, EFD_CLOEXEC);
	if (uring->kick_fd < 0)
		return -errno;
	uring->zero_fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	if (uring->zero_fd < 0) {
		int err = -errno;

		uring_release(uring);
		return err;
	}
	return 0;
}

static int register_files(struct uring *uring, const int *file, unsigned files)
{
	int table[URING_FILES_MAX + 3];

	must(files <= URING_FILES_MAX);
	memcpy(table, file, files * sizeof(*file));
	table[files] = uring->kick_fd;
	table[files + 1] = uring->zero_fd;
	table[files + 2] = -1; /* see uring_hold() */
	uring->files = files;
	return io_uring_register_files(&uring->raw, table, files + 3);
}

/*
 * A ring is a way around what a thread may not do (seccomp(2)).  So it is made able to do what it is
 * for, to its own files, and nothing else.
 */
static int restrict_ring(struct uring *uring)
{
	struct io_uring_restriction only[] = {
		{ .opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED, .sqe_flags = IOSQE_FIXED_FILE },
		{ .opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED, .sqe_flags = IOSQE_ASYNC },
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_READ },
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_WRITE },
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_READ_FIXED },
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_WRITE_FIXED },
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_FSYNC },
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_FALLOCATE },
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_TIMEOUT },
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_URING_CMD },
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = OP_FTRUNCATE },
		{ .opcode = IORING_RESTRICTION_REGISTER_OP,
		  .register_op = IORING_REGISTER_BUFFERS },
		{ .opcode = IORING_RESTRICTION_REGISTER_OP,
		  .register_op = IORING_REGISTER_FILES_UPDATE },
		{ .opcode = IORING_RESTRICTION_REGISTER_OP,
		  .register_op = IORING_REGISTER_RING_FDS },
		{ .opcode = IORING_RESTRICTION_REGISTER_OP,
		  .register_op = IORING_UNREGISTER_RING_FDS },
	};
	unsigned fd = (unsigned)uring->raw.ring_fd;
	int err = io_uring_register(fd, IORING_REGISTER_RESTRICTIONS, only, ARRAY_SIZE(only));

	return err ? err : io_uring_register(fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
}

int uring_start(struct uring *uring, const struct uring_sizes *sizes, const int *file,
		unsigned files)
{
	struct io_uring_params params = {
		/*
		 * Completions are worked on only when this thread asks for them, without
		 * interrupting it; the flag tells when there is something to ask for.
		 */
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
			 IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CLAMP |
			 IORING_SETUP_CQSIZE | IORING_SETUP_R_DISABLED,
		.cq_entries = sizes->cq_entries,
	};
	int err = io_uring_queue_init_params(sizes->sq_entries, &uring->raw, &params);

	if (err)
		return err;
	uring->live = true;
	err = register_files(uring, file, files);
	if (err >= 0 && sizes->buffers)
		err = io_uring_register_buffers_sparse(&uring->raw, sizes->buffers);
	if (err >= 0)
		err = restrict_ring(uring);
	if (err < 0)
		return err;
	err = io_uring_register_ring_fd(&uring->raw);
	return err < 0 ? err : 0;
}

int uring_hold(struct uring *uring, int fd)
{
	int n = io_uring_register_files_update(&uring->raw, uring->files + 2, &fd, 1);

	return n < 0 ? n : 0;
}

void uring_keep_pages(struct uring *uring, uint8_t *first, size_t stride, unsigned count)
{
	struct iovec *page = calloc(count, sizeof(*page));

	if (!page)
		return;
	for (unsigned i = 0; i < count; i++)
		page[i] = (struct iovec){ .iov_base = first + i * stride, .iov_len = KEPT_BYTES };
	if (io_uring_register_buffers(&uring->raw, page, count) == 0) {
		uring->kept = (uintptr_t)first;
		uring->kept_stride = stride;
		uring->kept_bytes = count * stride;
	}
	free(page);
}

void uring_stop(struct uring *uring)
{
	if (!uring->live)
		return;
	/* Not unregistering the files: that would wait for everything that is in flight. */
	io_uring_queue_exit(&uring->raw);
	uring->live = false;
	/* What was under way in it is nothing to the next one. */
	uring->kick_armed = uring->kicked = uring->hold_armed = false;
	uring->in_twos = false;
	uring->scout = NULL;
	uring->kept = 0;
}

void uring_release(struct uring *uring)
{
	if (uring->kick_fd >= 0)
		close(uring->kick_fd);
	if (uring->zero_fd >= 0)
		close(uring->zero_fd);
	uring->kick_fd = -1;
	uring->zero_fd = -1;
}

/* --- writes in place ---------------------------------------------------------------------------- */

/*
 * Once in a tick of its clock a file system changes the file's time, for which a write must be
 * able to block.  io_uring would then give this and all further writes to its worker threads,
 * until one of these has got to it: most writes, where a queue submits faster than threads wake.
 * So writes in place are tried without blocking; the first that cannot goes to a worker as a
 * scout, and the others are held until the file's time has changed.  That is long before the scout
 * is back, where the disk is slow: HOLD_NS are enough for a thread to wake.
 */
#define HOLD_NS 200000u

static bool tries_nowait(const struct uring *uring, const struct io *io)
{
	return io->flags & IO_IN_PLACE && !uring->no_nowait;
}

/* True when the io goes on, as a scout, behind one, or without RWF_NOWAIT. */
static bool nowait_refused(struct uring *uring, struct io *io, int32_t res)
{
	bool unknown = res == -EOPNOTSUPP || res == -EINVAL;
	bool held = !unknown && uring->scout;

	if (!(io->flags & IO_IN_PLACE) || (res != -EAGAIN && !unknown))
		return false;
	uring->no_nowait |= unknown;
	io->flags &= (uint16_t)~IO_IN_PLACE; /* next time it may block */
	if (!unknown && !uring->scout)
		uring->scout = io;
	list_add_tail(held ? &uring->held : &uring->ios, &io->link);
	return true;
}

static void hold_ended(struct uring *uring)
{
	uring->scout = NULL;
	list_splice_tail(&uring->ios, &uring->held);
}

/* --- lists to SQEs ------------------------------------------------------------------------------ */

static struct io_uring_sqe *sqe_of(struct uring *uring, uint8_t op, unsigned file,
				   uint64_t user_data)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&uring->raw);

	if (!sqe)
		return NULL;
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = op;
	sqe->flags = IOSQE_FIXED_FILE;
	sqe->fd = (int32_t)file;
	sqe->user_data = user_data;
	return sqe;
}

/* Its buffer has been given back, whether it is under way or its turn has not come. */
static bool has_lost_buffer(const struct uring *uring, const struct io *io)
{
	return uring->bufferless && !span_is_memory(io_span(io));
}

/* The number of the kept page that has all of it, or -1. */
static int kept_page(const struct uring *uring, uintptr_t at, uint64_t len)
{
	uint64_t distance = at - uring->kept;

	if (!uring->kept || at < uring->kept || distance >= uring->kept_bytes ||
	    distance % uring->kept_stride + len > KEPT_BYTES)
		return -1;
	return (int)(distance / uring->kept_stride);
}

static void fill_transfer(struct io_uring_sqe *sqe, const struct uring *uring, const struct io *io)
{
	struct span span = io_span(io);
	bool write = io->op == IO_WRITE;

	sqe->addr = span.at;
	sqe->off = io_off(io);
	sqe->len = (uint32_t)min_u64(io_len(io), TRANSFER_MAX);
	if (span_is_memory(span)) {
		span.slot = kept_page(uring, span.at, sqe->len);
	} else if (has_lost_buffer(uring, io)) {
		sqe->user_data = USER_NOBODY; /* the ring refuses it, or it does nothing */
		return;
	}
	if (span.slot < 0) {
		sqe->opcode = write ? IORING_OP_WRITE : IORING_OP_READ;
	} else {
		sqe->opcode = write ? IORING_OP_WRITE_FIXED : IORING_OP_READ_FIXED;
		sqe->buf_index = (uint16_t)span.slot;
	}
	if (write && io->flags & IO_DSYNC)
		sqe->rw_flags = RWF_DSYNC;
	if (uring->scout == io)
		sqe->flags |= IOSQE_ASYNC;
	else if (tries_nowait(uring, io))
		sqe->rw_flags |= RWF_NOWAIT;
}

static void fill_fallocate(struct io_uring_sqe *sqe, const struct io *io, unsigned mode)
{
	sqe->opcode = IORING_OP_FALLOCATE;
	sqe->off = io->off.byte;
	sqe->addr = io->len;
	sqe->len = FALLOC_FL_KEEP_SIZE | mode;
}

/* Zeros for a registered buffer; those for memory never get here. */
static void fill_zeros(struct io_uring_sqe *sqe, const struct uring *uring, const struct io *io)
{
	fill_transfer(sqe, uring, io);
	sqe->fd = (int32_t)uring->files + 1;
	sqe->off = 0;
}

static void fill_timer(struct io_uring_sqe *sqe, struct uring *uring, const struct io *io)
{
	struct __kernel_timespec *timer = &uring->timer[uring->timers++];

	timer->tv_sec = (long long)(io->len / NS_PER_S);
	timer->tv_nsec = (long long)(io->len % NS_PER_S);
	sqe->opcode = IORING_OP_TIMEOUT;
	sqe->fd = -1;
	sqe->addr = (uintptr_t)timer;
	sqe->len = 1;
}

static bool stage_io(struct uring *uring, struct io *io)
{
	struct io_uring_sqe *sqe;

	if (io->op == IO_TIMER && uring->timers == URING_TIMERS)
		return false;
	sqe = sqe_of(uring, IORING_OP_NOP, io->file, (uintptr_t)io | USER_IO);
	if (!sqe)
		return false;
	switch (io->op) {
	case IO_READ:
	case IO_WRITE:
		fill_transfer(sqe, uring, io);
		break;
	case IO_SYNC:
		sqe->opcode = IORING_OP_FSYNC;
		sqe->fsync_flags = IORING_FSYNC_DATASYNC;
		break;
	case IO_PUNCH:
		fill_fallocate(sqe, io, FALLOC_FL_PUNCH_HOLE);
		break;
	case IO_ALLOCATE:
		fill_fallocate(sqe, io, 0);
		break;
	case IO_TRUNCATE:
		sqe->opcode = OP_FTRUNCATE;
		sqe->off = io->off.byte;
		break;
	case IO_ZEROS:
		fill_zeros(sqe, uring, io);
		break;
	case IO_TIMER:
		fill_timer(sqe, uring, io);
		break;
	case IO_COPY: /* these never get here */
	case IO_FETCH:
	case IO_WORK:
		break;
	}
	return true;
}

static bool stage_command(struct uring *uring, const struct uring_command *command)
{
	struct io_uring_sqe *sqe = sqe_of(uring, IORING_OP_URING_CMD, command->file,
					  (uintptr_t)command | USER_COMMAND);

	if (!sqe)
		return false;
	sqe->cmd_op = command->op;
	sqe->addr = command->addr;
	memcpy(sqe->cmd, command->payload, sizeof(command->payload));
	return true;
}

/* The read of the eventfd stands for the ring's whole life: it is what wakes the thread. */
static bool stage_kick(struct uring *uring)
{
	struct io_uring_sqe *sqe;

	if (uring->kick_armed)
		return true;
	sqe = sqe_of(uring, IORING_OP_READ, uring->files, USER_KICK);
	if (!sqe)
		return false;
	sqe->addr = (uintptr_t)&uring->kicks;
	sqe->len = sizeof(uring->kicks);
	uring->kick_armed = true;
	return true;
}

/* The end of a hold whose scout takes longer; who comes alone needs none. */
static bool stage_hold(struct uring *uring)
{
	static struct __kernel_timespec hold = { .tv_nsec = HOLD_NS };
	struct io_uring_sqe *sqe;

	if (list_empty(&uring->held) || uring->hold_armed)
		return true;
	sqe = sqe_of(uring, IORING_OP_TIMEOUT, 0, USER_HOLD);
	if (!sqe)
		return false;
	sqe->fd = -1;
	sqe->addr = (uintptr_t)&hold;
	sqe->len = 1;
	uring->hold_armed = true;
	return true;
}

/* --- system calls -------------------------------------------------------------------------------- */

/* True when the kernel has taken all SQEs. */
static bool submit(struct uring *uring, bool wait)
{
	int n = wait ? io_uring_submit_and_wait(&uring->raw, 1) : io_uring_submit(&uring->raw);

	/* EBUSY: completions must be taken first.  EAGAIN: the kernel is short of memory. */
	if (n < 0 && n != -EINTR && n != -EBUSY && n != -EAGAIN) {
		log_error("io_uring_enter: %s", strerror(-n));
		abort();
	}
	if (io_uring_sq_ready(&uring->raw) > 0)
		return false;
	uring->timers = 0;
	return true;
}

/* --- CQEs ---------------------------------------------------------------------------------------- */

/* True when that is no end of the io. */
static bool take_error(struct uring *uring, struct io *io, int32_t *res)
{
	if (nowait_refused(uring, io, *res))
		return true;
	/* A thread of the kernel looks for the buffer when it gets to it: it has not begun. */
	if (*res == -EFAULT && has_lost_buffer(uring, io))
		return true;
	if (*res == -ECANCELED && !uring->threadless) {
		uring->threadless = true;
		log_warn("the kernel cannot make a thread for I/O, which waits for that; see "
			 "pids.max of the process's groups, and RLIMIT_NPROC of its user");
	}
	if (io->op == IO_TIMER && *res == -ETIME)
		*res = 0;
	return false;
}

static void complete_io(struct uring *uring, struct io *io, int32_t res)
{
	if (res < 0 && take_error(uring, io, &res))
		return;
	if (uring->scout == io)
		hold_ended(uring);
	io_complete(io, res);
}

static void complete(struct uring *uring, const struct io_uring_cqe *cqe)
{
	uint64_t what = cqe->user_data & USER_MASK;
	uintptr_t object = (uintptr_t)(cqe->user_data - what);

	if (what == USER_IO) {
		complete_io(uring, (struct io *)object, cqe->res);
	} else if (what == USER_COMMAND) {
		struct uring_command *command = (struct uring_command *)object;

		command->done(command, cqe->res);
	} else if (what == USER_HOLD) {
		uring->hold_armed = false;
		hold_ended(uring);
	} else if (what == USER_KICK) {
		uring->kick_armed = false;
		uring->kicked = true;
	}
}

static void reap(struct uring *uring)
{
	struct io_uring_cqe *cqe;
	unsigned head, n = 0;

	io_uring_for_each_cqe(&uring->raw, head, cqe)
	{
		complete(uring, cqe);
		n++;
	}
	io_uring_cq_advance(&uring->raw, n);
	/* The kernel keeps what does not fit, unless it is out of memory; then requests are lost. */
	must(*uring->raw.cq.koverflow == 0);
}

/* --- writes in twos ------------------------------------------------------------------------------ */

/*
 * Given more than two SQEs at a time, io_uring lets the block layer hold back what they transfer until the last
 * one of them (a plug).  A direct write to a file is then finished by a thread of the kernel, though the
 * device may complete at once: that costs as much as the write itself.  Where such writes are complete at
 * the end of a submission of two, and not of a larger one, they are submitted in twos.
 */
#define TWOS_WORTH 4u /* writes in a turn */
#define TWOS_LOOK 100u /* turns with as many, from one look to the next */
#define TWOS_IN_VAIN 4u /* turns, one after the other */

/* Is that a write that was staged last in twos? */
static bool is_of_two(const struct uring *uring, const struct io_uring_cqe *cqe)
{
	for (unsigned i = 0; i < uring->unsubmitted; i++)
		if (cqe->user_data == ((uintptr_t)uring->two[i] | USER_IO))
			return true;
	return false;
}

/* How many of these complete within their submission?  Others may complete meanwhile. */
static void submit_two(struct uring *uring)
{
	struct io_uring_cqe *cqe;
	unsigned head;

	submit(uring, false);
	io_uring_for_each_cqe(&uring->raw, head, cqe)
	{
		uring->at_once += is_of_two(uring, cqe);
	}
	uring->unsubmitted = 0;
}

/* Does most of what is staged not complete within its submission?  Others may be taken for it. */
static bool are_held_back(struct uring *uring)
{
	unsigned before = io_uring_cq_ready(&uring->raw);

	submit(uring, false);
	return io_uring_cq_ready(&uring->raw) - before < uring->writes / 2;
}

/* In twos, before another SQE, of a @write or not, is staged.  True: there may be completions. */
static bool keep_to_twos(struct uring *uring, bool write)
{
	if (io_uring_sq_ready(&uring->raw) < PLUG_FREE || !(write || uring->unsubmitted))
		return false;
	submit_two(uring);
	return true;
}

/* Everything is staged: do twos pay, or might they?  A turn says little: the host may have been busy. */
static void judge_twos(struct uring *uring)
{
	if (uring->in_twos) {
		uring->turns_in_vain =
			uring->at_once < uring->writes / 2 ? uring->turns_in_vain + 1 : 0;
		uring->in_twos = uring->turns_in_vain < TWOS_IN_VAIN;
	} else if (++uring->turns_since_look >= TWOS_LOOK) {
		uring->in_twos = are_held_back(uring);
		uring->turns_since_look = uring->turns_in_vain = 0;
	}
}

/* --- a turn's SQEs ------------------------------------------------------------------------------- */

static void count_write(struct uring *uring, const struct io *io)
{
	uring->writes++;
	/* More are staged where uring_flush() left some. */
	if (uring->in_twos && uring->unsubmitted < PLUG_FREE)
		uring->two[uring->unsubmitted++] = io;
}

static bool next_is_write(const struct uring *uring)
{
	return !list_empty(&uring->ios) &&
	       container_of(uring->ios.next, struct io, link)->op == IO_WRITE;
}

/* What has completed in twos is taken: there may be more to stage then, or a scout to wait for. */
static bool stage_ios(struct uring *uring)
{
	for (;;) {
		struct io *io;

		if (uring->in_twos && keep_to_twos(uring, next_is_write(uring)))
			reap(uring);
		if (list_empty(&uring->ios))
			return true;
		io = container_of(uring->ios.next, struct io, link);
		if (uring->scout && uring->scout != io && tries_nowait(uring, io)) {
			list_del(&io->link);
			list_add_tail(&uring->held, &io->link);
			continue;
		}
		if (!stage_io(uring, io))
			return false;
		list_del(&io->link);
		if (io->op == IO_WRITE)
			count_write(uring, io);
	}
}

/* As much as the SQ has room for; the host's I/O first, so that it is under way early. */
static bool stage(struct uring *uring)
{
	if (!stage_kick(uring) || !stage_ios(uring) || !stage_hold(uring))
		return false;
	while (!list_empty(&uring->commands)) {
		struct uring_command *command =
			container_of(uring->commands.next, struct uring_command, link);

		if (uring->in_twos)
			keep_to_twos(uring, false);
		if (!stage_command(uring, command))
			return false;
		list_del(&command->link);
	}
	return true;
}

/* True when everything staged is with the kernel, or will be with the next submission. */
static bool stage_all(struct uring *uring)
{
	while (!stage(uring))
		if (!submit(uring, false))
			return false;
	return true;
}

static int64_t fill(struct uring *uring, const struct io *io)
{
	int err = 0;

	if (io->op == IO_COPY)
		err = uring->copy ? uring->copy(uring, io->span, io->from, io->len) : -EIO;
	else if (io->op == IO_FETCH)
		err = uring->fetch ?
			      uring->fetch(uring, span_address(io->span), io->source, io->len) :
			      -EIO;
	else
		memset(span_address(io_span(io)), 0, io_len(io));
	return err ? err : (int64_t)io_len(io);
}

/* True when there were any; their tasks can run now. */
static bool complete_fills(struct uring *uring)
{
	struct list fills;

	if (list_empty(&uring->fills))
		return false;
	list_init(&fills);
	list_splice_tail(&fills, &uring->fills);
	while (!list_empty(&fills)) {
		struct io *io = container_of(fills.next, struct io, link);

		list_del(&io->link);
		io_complete(io, fill(uring, io));
	}
	return true;
}

/* --- work that others do ------------------------------------------------------------------------- */

static void hand_over_works(struct uring *uring)
{
	if (list_empty(&uring->works))
		return;
	must(uring->pool);
	pool_put(uring->pool, &uring->works);
}

/* Who finds the stack empty kicks; whoever comes before the lane has looked need not. */
void uring_worked(struct io *io, int result)
{
	struct uring *uring = uring_of(io->task->lane->ring);
	struct list *first = atomic_load_explicit(&uring->worked, memory_order_relaxed);

	io->result = result;
	do
		io->link.next = first;
	while (!atomic_compare_exchange_weak(&uring->worked, &first, &io->link));
	/* The lane may have it by now, but not the ring. */
	if (!first)
		uring_kick(&uring->ring);
}

/* True when there were any; their tasks can run now. */
static bool complete_works(struct uring *uring)
{
	struct list *link = NULL;

	if (atomic_load_explicit(&uring->worked, memory_order_relaxed))
		link = atomic_exchange(&uring->worked, NULL);
	if (!link)
		return false;
	while (link) {
		struct io *io = container_of(link, struct io, link);

		link = link->next;
		list_init(&io->link);
		io_complete(io, io->result);
	}
	return true;
}

void uring_forget_buffers(struct uring *uring)
{
	uring->bufferless = true;
}

void uring_flush(struct uring *uring)
{
	stage_all(uring);
	submit(uring, false);
	reap(uring);
}

void uring_turn(struct uring *uring, struct lane *lane, unsigned budget)
{
	bool more = lane_run(lane, budget);
	bool staged = stage_all(uring);

	if (uring->writes >= TWOS_WORTH)
		judge_twos(uring);
	if (uring->writes)
		uring->writes = uring->at_once = uring->unsubmitted = 0;
	hand_over_works(uring);
	more |= complete_fills(uring);
	more |= complete_works(uring);
	/* Whoever posts after lane_doze() kicks.  Who has kicked before, in twos, is looked after first. */
	submit(uring, !more && staged && !uring->kicked && lane_doze(lane));
	reap(uring);
	uring->kicked = false;
}
