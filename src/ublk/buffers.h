/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the bytes of a queue's requests are.
 *
 * Copy mode: each tag has a buffer in an arena of the queue, and the kernel copies to and from
 * it.  Zero copy: the client's pages are in the ring's table of buffers, at the tag's number,
 * where only io_uring gets at them; when the kernel could not put them there, the tag's buffer
 * is used and we copy.  Everybody else names the bytes by the span only.
 */
#ifndef BUFFERS_H
#define BUFFERS_H

#include "base.h"
#include "io.h"

enum data_mode { DATA_COPY, DATA_ZERO_COPY };

struct buffers {
	enum data_mode mode;
	int fd; /* /dev/ublkcN, for our own copies */
	unsigned queue; /* number of the hardware queue */
	uint8_t *arena; /* page aligned; the pages of a buffer appear when first touched */
	size_t bytes;
	uint32_t tag_bytes;
	bool renewed; /* requests from before that are not ours any more */
};

/*
 * The UBLK_F_* with which a device must be made for the best mode that @features allow.  @in_memory:
 * the CPU must see the bytes.
 */
uint64_t buffers_flags(uint64_t features, bool in_memory);

/* The mode of a device that was made with @flags. */
enum data_mode buffers_mode(uint64_t flags);

/*
 * Fill in the arena: buffers of @tag_bytes (a multiple of the page size) for @tags tags.  The
 * other fields are the caller's.  0 or -ENOMEM.
 */
int buffers_make(struct buffers *buffers, unsigned tags, uint32_t tag_bytes);
void buffers_free(struct buffers *buffers);

/*
 * Other memory, one buffer for all tags: what it gets is nobody's.  What there was stays as it is, for
 * those who may still use it, until the process ends.  Nothing is registered any more, and no bytes
 * of a request are to be had: a tag that is taken for its old request may carry another one.  Cannot
 * fail, as nothing is mapped: all memory may be locked, and more not to be had.
 */
void buffers_renew(struct buffers *buffers);

/*
 * Before a request goes to the engine: *@span are the @len bytes of the read or write that @tag
 * carries.  @registered: the kernel says that they are in the table.  0, or -EIO when the bytes
 * of a write cannot be had.
 */
int buffers_take(const struct buffers *buffers, unsigned tag, bool registered, bool write,
		 uint32_t len, struct span *span);

/*
 * Copy @len bytes at @from into a request of the queue's: to @to, a part of a span that is not
 * memory.  0 or -EIO.
 */
int buffers_copy(const struct buffers *buffers, struct span to, const void *from, uint64_t len);

/* The other way round: @len bytes of a request, at @from, to @to.  0 or -EIO. */
int buffers_fetch(const struct buffers *buffers, void *to, struct span from, uint64_t len);

/* After a read of @len bytes into @span: let the client have them.  0 or -EIO. */
int buffers_give(const struct buffers *buffers, unsigned tag, struct span span, uint32_t len);

/* The `addr` in the payload of FETCH and COMMIT commands (kernel docs: ublk, "Data plane"). */
uint64_t buffers_addr(const struct buffers *buffers, unsigned tag);

/* And the one in their SQE (the same, "Auto Buffer Registration"). */
uint64_t buffers_sqe_addr(const struct buffers *buffers, unsigned tag);

#endif
