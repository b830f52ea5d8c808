/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the bytes of a queue's requests are.
 *
 * Copy mode: each tag has a buffer in one arena of the queue, and the kernel copies to and from
 * it.  Everybody else names the bytes by buffers_span() and buffers_addr() only, so that other
 * modes (user copy, registered buffers) change nothing but this file.
 */
#ifndef BUFFERS_H
#define BUFFERS_H

#include "base.h"
#include "io.h"

struct buffers {
	uint8_t *arena; /* page aligned; the pages of a tag appear when first touched */
	size_t bytes;
	uint32_t tag_bytes;
};

/* Buffers of @tag_bytes (a multiple of the page size) for @tags tags.  0 or -ENOMEM. */
int buffers_make(struct buffers *buffers, unsigned tags, uint32_t tag_bytes);
void buffers_free(struct buffers *buffers);

/* The bytes of the request that @tag carries, for the engine. */
struct span buffers_span(const struct buffers *buffers, unsigned tag);

/* The `addr` of FETCH and COMMIT commands (kernel docs: ublk, "Data plane"). */
uint64_t buffers_addr(const struct buffers *buffers, unsigned tag);

#endif
