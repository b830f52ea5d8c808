/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copy mode: one arena per queue. */
#include "buffers.h"

#include <errno.h>
#include <sys/mman.h>

int buffers_make(struct buffers *buffers, unsigned tags, uint32_t tag_bytes)
{
	size_t bytes = (size_t)tags * tag_bytes;
	void *arena = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (arena == MAP_FAILED)
		return -errno;
	*buffers = (struct buffers){ .arena = arena, .bytes = bytes, .tag_bytes = tag_bytes };
	return 0;
}

void buffers_free(struct buffers *buffers)
{
	if (buffers->arena)
		munmap(buffers->arena, buffers->bytes);
	buffers->arena = NULL;
}

static uint8_t *tag_buffer(const struct buffers *buffers, unsigned tag)
{
	return buffers->arena + (size_t)tag * buffers->tag_bytes;
}

struct span buffers_span(const struct buffers *buffers, unsigned tag)
{
	return span_memory(tag_buffer(buffers, tag));
}

uint64_t buffers_addr(const struct buffers *buffers, unsigned tag)
{
	return (uintptr_t)tag_buffer(buffers, tag);
}
