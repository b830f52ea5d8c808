/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Refcounts in memory: pieces of refcount blocks.  The allocator's task only. */
#ifndef REFBLOCK_H
#define REFBLOCK_H

#include "engine.h"

int refblock_open(struct image *image);
void refblock_free(struct image *image);

enum piece_kind {
	PIECE_READY,
	PIECE_LOADING, /* a load was started as a child of the allocator: await it, look again */
	PIECE_NO_BLOCK, /* there is no refcount block: all of its refcounts are 0 */
	PIECE_BAD, /* the refcount table is damaged there */
};

/* The piece that has the refcount of @cluster. */
enum piece_kind piece_get(struct image *image, uint64_t cluster, struct ref_piece **piece);

/* First cluster behind those of the piece that has @cluster. */
static inline uint64_t piece_end(const struct geometry *geo, uint64_t cluster)
{
	return ((cluster >> geo->slice_refcounts_bits) + 1) << geo->slice_refcounts_bits;
}

uint64_t piece_refcount(const struct image *image, const struct ref_piece *piece, uint64_t cluster);
void piece_set(struct image *image, struct ref_piece *piece, uint64_t cluster, uint64_t refcount);

/* Where a piece lies in the file; 0: there is no block.  -EINVAL: the refcount table is damaged there. */
int piece_host(const struct image *image, uint64_t index, struct host *host);

/* The piece, when it is in memory. */
struct ref_piece *piece_cached(struct image *image, uint64_t index);

/* Before lanes run: the @nth piece is this one, changed; the file has @file of it. */
void piece_adopt(struct image *image, uint32_t nth, uint64_t index, const void *file,
		 const void *bytes);

/* Start writes of all dirty pieces as ios of the allocator's task. */
void pieces_write(struct image *image);
/* They have all succeeded. */
void pieces_written(struct image *image);

#endif
