/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Compressed clusters, made and read by the libraries alone: a second opinion. */
#ifndef PACK_H
#define PACK_H

#include "base.h"

/* Room that any stream of @bytes needs. */
uint64_t pack_bound(uint64_t bytes);

/* Compress; @level from 0 to 9.  How long the stream is. */
uint64_t pack(bool zstd, unsigned level, const uint8_t *in, uint64_t bytes, uint8_t *out);

/* False when @in is no stream that makes @bytes bytes. */
bool unpack(bool zstd, const uint8_t *in, uint64_t in_bytes, uint8_t *out, uint64_t bytes);

#endif
