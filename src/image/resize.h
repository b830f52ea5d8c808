/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A larger disk: the machine, and what it has the allocator do, who owns refcounts and header. */
#ifndef RESIZE_H
#define RESIZE_H

#include "engine.h"

void resize_open(struct image *image);

/* What a disk may grow to, with @size_most as in struct image_options; 0: it may not. */
uint64_t resize_most(const struct node *top, uint64_t size_most);

/* Bytes of memory that the L1 table of a disk of @options->size_most needs; a multiple of L1_BLOCK_BYTES. */
uint64_t resize_l1_room(const struct node *top, uint64_t size_most);

/* Slices of the disk that there is to be room for; 0: of what it has. */
uint64_t resize_slices(const struct image *image, uint64_t size_most);

/* --- for the allocator --------------------------------------------------------------------------- */

/* Space for a table that was not needed after all becomes work of the allocator's.  Under alloc->lock. */
bool resize_take_unused(struct image *image);

/* Start the write of the header, with what is to change in it. */
void resize_start_header(struct image *image);

/* It is durable: what it says is so from now on.  No lock held. */
void resize_header_durable(struct image *image);

/* What was ordered was done, or has failed.  Under alloc->lock. */
void resize_answer(struct image *image, int err);

#endif
