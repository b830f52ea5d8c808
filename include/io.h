/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ring border: one host I/O as data, and the two pointers behind which io_uring or the
 * simulator executes it.
 */
#ifndef IO_H
#define IO_H

#include "base.h"

struct io;
struct task;

/*
 * What takes so long that a lane should not do it by itself.  On a thread that is no lane's, while
 * nobody else touches the io's span and what the io's task keeps for it; takes no lock, wakes
 * nobody.  @worker: the thread's number; no two calls at once have the same.  0 or -errno.
 */
typedef int io_work_fn(struct io *io, unsigned worker);

enum io_op {
	IO_READ, /* file -> span; ends early only at end of file (io_complete() zero-fills) */
	IO_WRITE, /* span -> file */
	IO_SYNC, /* fdatasync of the file; covers what had completed when it was queued */
	IO_PUNCH, /* deallocate [off, off + len); reads as zeros afterwards; size kept */
	IO_TRUNCATE, /* set the file's size to off */
	IO_ALLOCATE, /* have space for [off, off + len); content and size stay */
	IO_HOST_OPS, /* those before go to the host; the others are done at home */
	IO_ZEROS = IO_HOST_OPS, /* fill the span with zeros; touches no file */
	IO_COPY, /* fill a span that is not memory with the bytes at from; touches no file */
	IO_FETCH, /* fill memory with those of source, which is not memory; touches no file */
	IO_TIMER, /* complete with 0 after len nanoseconds; touches no file */
	IO_WORK, /* have work() called on a thread that may take its time; touches no file */
};

enum io_flags {
	IO_DSYNC =
		1 << 0, /* a write that is durable when it completes (RWF_DSYNC): host_file.dsync */
	IO_IN_PLACE = 1 << 1, /* a write that most likely has its space, and waits for nothing */
	IO_UNTIMED = 1 << 2, /* not counted in the lane's statistics */
	IO_STEPS = 1 << 3, /* its end runs the task, with no trip through the ready list */
	IO_ONCE = 1 << 4, /* -EAGAIN and -EINTR have failed: they are not tried again */
};

/* Between io_start() and completion. */
enum io_flight {
	IO_LANDED,
	IO_FLYING,
	IO_TIMED, /* flying, and counted in the lane's statistics */
};

#define SPAN_MEMORY (-1)

/*
 * Where bytes are: in memory (slot is SPAN_MEMORY, at is an address), or in a buffer that the
 * ring knows by number (at is a byte offset into it; the CPU cannot see it).
 */
struct span {
	uintptr_t at;
	int32_t slot;
};

static inline struct span span_memory(const void *address)
{
	return (struct span){ .at = (uintptr_t)address, .slot = SPAN_MEMORY };
}

/* The part of a span that starts @bytes further on. */
static inline struct span span_skip(struct span span, uint64_t bytes)
{
	span.at += bytes;
	return span;
}

static inline bool span_is_memory(struct span span)
{
	return span.slot == SPAN_MEMORY;
}

/* Only for a span in memory. */
static inline void *span_address(struct span span)
{
	return (void *)span.at;
}

/*
 * One host I/O.  Owned by its task from io_start() until its completion; so is the memory that
 * it names.
 */
struct io {
	enum io_op op;
	uint16_t flags;
	uint16_t file; /* index into the files that every ring knows */
	struct span span;
	struct host off;
	union {
		const void *from; /* IO_COPY */
		struct span source; /* IO_FETCH */
		io_work_fn *work; /* IO_WORK */
	};
	uint64_t len; /* bytes */
	uint64_t moved; /* bytes of it already transferred by earlier, short completions */
	struct task *task;
	uint64_t started; /* monotonic nanoseconds, when it is timed */
	struct list link; /* for the ring, while it has it */
	uint8_t retries; /* after EAGAIN and EINTR */
	uint8_t flying; /* enum io_flight */
	int result; /* of IO_WORK, on its way back; the ring's */
};

/* What is left to do of a transfer that was short: the ring executes just this. */
static inline struct span io_span(const struct io *io)
{
	return span_skip(io->span, io->moved);
}

static inline uint64_t io_off(const struct io *io)
{
	return io->off.byte + io->moved;
}

static inline uint64_t io_len(const struct io *io)
{
	return io->len - io->moved;
}

/*
 * A lane's way to the host.  The ring calls io_complete() (task.h) once per queued io, on the
 * lane's own thread, never from inside queue().
 */
struct ring {
	/* Stage one io.  Own thread only; cannot fail, makes no system call. */
	void (*queue)(struct ring *ring, struct io *io);
	/* Make a blocked lane look at its inbox.  Any thread; may be spurious. */
	void (*kick)(struct ring *ring);
	/* Monotonic nanoseconds. */
	uint64_t (*now)(struct ring *ring);
};

/*
 * A host file as the engine sees it: a number that all rings know, and blocking calls for the
 * time before lanes run.  Owned by who opened it; it outlives the image.
 */
struct host_file {
	const char *name; /* as the user wrote it, for messages */
	uint16_t index;
	bool read_only;
	bool fixed_size; /* a block device: neither grows nor shrinks */
	bool direct; /* transfers go past the page cache */
	bool dsync; /* a write with IO_DSYNC is durable when it has ended */
	uint32_t align; /* offset and length of every transfer are multiples of this: 1 or 512 */
	uint64_t size; /* bytes, when opened */
	/* Read up to @len bytes at @off (multiples of align); the number read, or -errno. */
	int64_t (*read)(struct host_file *file, void *buf, size_t len, uint64_t off);
	/* Write all of it; 0 or -errno. */
	int (*write)(struct host_file *file, const void *buf, size_t len, uint64_t off);
	/* fdatasync(2); 0 or -errno. */
	int (*sync)(struct host_file *file);
};

#endif
