/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A disk of another size: the machines, and what they have the allocator do, who owns refcounts and header. */
#ifndef RESIZE_H
#define RESIZE_H

#include "engine.h"

void resize_open(struct image *image);

/*
 * Bytes of memory for the L1 table, with @size_most as in struct image_options; a multiple of L1_BLOCK_BYTES,
 * so that the disk may become larger than that.
 */
uint64_t resize_l1_room(const struct node *top, uint64_t size_most);

/* Slices of the disk that there is to be room for, if it has not more already; 0: of what it has. */
uint64_t resize_slices(const struct image *image, uint64_t size_most);

/* How many L1 entries such a disk takes. */
uint64_t resize_l1_entries(const struct geometry *geo, uint64_t bytes);

/* Is there memory for all of its tables? */
bool resize_has_room(const struct image *image, uint64_t bytes);

/* --- for both machines ----------------------------------------------------------------------------- */

/* One begins: nobody else does, and the disk is not closed.  On the service lane. */
void resize_begin(struct image *image, uint64_t bytes, void (*done)(void *arg, int err), void *arg);

/* It has ended.  Takes alloc->lock. */
void resize_end(struct image *image, int err);

/* The allocator is to do this: see resize->order, and then resize->answer.  Under alloc->lock. */
void resize_order(struct image *image, enum resize_order what);

/* What the header may say from now on, as who comes after a kill is to find it. */
void resize_announce(struct image *image);

/* A request of our own for [@from, @to), which the machine awaits. */
void resize_start_child(struct image *image, const struct machine *machine, enum req_op op,
			uint64_t from, uint64_t to);

/* The engine's disk ends at @bytes; that of the guest has its own word, image->disk_bytes. */
void resize_set_end(struct image *image, uint64_t bytes);

/* --- for the allocator --------------------------------------------------------------------------- */

/* Is there an order that can be obeyed now?  Under alloc->lock. */
bool resize_is_due(struct image *image);

/* Space for a table that was not needed after all becomes work of the allocator's.  Under alloc->lock. */
bool resize_take_unused(struct image *image);

/* Start the write of the header, with what is to change in it. */
void resize_start_header(struct image *image);

/* It is durable: what it says is so from now on.  No lock held. */
void resize_header_durable(struct image *image);

/* What was ordered was done, or has failed.  Under alloc->lock. */
void resize_answer(struct image *image, int err);

#endif
