/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The modes in which bytes go around. */
#include "buffers.h"

#include <errno.h>
#include <linux/ublk_cmd.h>
#include <sys/mman.h>
#include <unistd.h>

/* User copy is for requests that could not be registered. */
#define ZERO_COPY_FLAGS (UBLK_F_SUPPORT_ZERO_COPY | UBLK_F_AUTO_BUF_REG | UBLK_F_USER_COPY)

uint64_t buffers_flags(uint64_t features, bool in_memory)
{
	if (in_memory)
		return 0;
	return (features & ZERO_COPY_FLAGS) == ZERO_COPY_FLAGS ? ZERO_COPY_FLAGS : 0;
}

enum data_mode buffers_mode(uint64_t flags)
{
	return (flags & ZERO_COPY_FLAGS) == ZERO_COPY_FLAGS ? DATA_ZERO_COPY : DATA_COPY;
}

int buffers_make(struct buffers *buffers, unsigned tags, uint32_t tag_bytes)
{
	/* The last one is for all tags after buffers_renew(). */
	size_t bytes = ((size_t)tags + 1) * tag_bytes;
	void *arena = sparse_map(bytes);

	if (!arena)
		return -ENOMEM;
	buffers->arena = arena;
	buffers->bytes = bytes;
	buffers->tag_bytes = tag_bytes;
	return 0;
}

void buffers_free(struct buffers *buffers)
{
	if (buffers->arena)
		munmap(buffers->arena, buffers->bytes);
	buffers->arena = NULL;
}

static unsigned tags_of(const struct buffers *buffers)
{
	return (unsigned)(buffers->bytes / buffers->tag_bytes) - 1;
}

void buffers_renew(struct buffers *buffers)
{
	buffers->renewed = true;
}

static uint8_t *tag_buffer(const struct buffers *buffers, unsigned tag)
{
	size_t number = buffers->renewed ? tags_of(buffers) : tag;

	return buffers->arena + number * buffers->tag_bytes;
}

/* What follows is copied by the kernel without waiting, all or nothing. */

int buffers_copy(const struct buffers *buffers, struct span to, const void *from, uint64_t len)
{
	uint64_t pos = UBLK_USER_COPY_POS(buffers->queue, to.slot) + to.at;
	ssize_t n;

	if (buffers->renewed)
		return -EIO;
	do
		n = pwrite(buffers->fd, from, len, (off_t)pos);
	while (n < 0 && errno == EINTR);
	return n == (ssize_t)len ? 0 : -EIO;
}

int buffers_fetch(const struct buffers *buffers, void *to, struct span from, uint64_t len)
{
	uint64_t pos = UBLK_USER_COPY_POS(buffers->queue, from.slot) + from.at;
	ssize_t n;

	if (buffers->renewed)
		return -EIO;
	do
		n = pread(buffers->fd, to, len, (off_t)pos);
	while (n < 0 && errno == EINTR);
	return n == (ssize_t)len ? 0 : -EIO;
}

int buffers_take(const struct buffers *buffers, unsigned tag, bool registered, bool write,
		 uint32_t len, struct span *span)
{
	if (buffers->mode == DATA_ZERO_COPY && registered) {
		*span = (struct span){ .slot = (int32_t)tag };
		return 0;
	}
	*span = span_memory(tag_buffer(buffers, tag));
	if (buffers->mode == DATA_COPY || !write)
		return 0;
	return buffers_fetch(buffers, tag_buffer(buffers, tag),
			     (struct span){ .slot = (int32_t)tag }, len);
}

int buffers_give(const struct buffers *buffers, unsigned tag, struct span span, uint32_t len)
{
	if (buffers->mode == DATA_COPY || !span_is_memory(span))
		return 0;
	return buffers_copy(buffers, (struct span){ .slot = (int32_t)tag }, span_address(span),
			    len);
}

uint64_t buffers_addr(const struct buffers *buffers, unsigned tag)
{
	return buffers->mode == DATA_COPY ? (uintptr_t)tag_buffer(buffers, tag) : 0;
}

uint64_t buffers_sqe_addr(const struct buffers *buffers, unsigned tag)
{
	if (buffers->mode == DATA_COPY)
		return 0;
	/* Behind the end of the table there is no place. */
	return UBLK_AUTO_BUF_REG_FALLBACK | (buffers->renewed ? tags_of(buffers) : tag);
}
