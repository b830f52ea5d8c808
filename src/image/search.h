/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which clusters of a piece of refcounts are free?  The allocator's task only. */
#ifndef SEARCH_H
#define SEARCH_H

#include "refblock.h"

/* Where the @nth run that was found and not given yet stands in the arena. */
_Atomic uint64_t *search_found_word(const struct image *image, uint32_t nth);

/*
 * Take free runs of [*@at, @end), all in this piece, for the order at hand.  *@at becomes where the
 * search may go on; -EIO when a cluster counts as free that cannot be.
 */
int search_piece(struct image *image, struct ref_piece *piece, uint64_t *at, uint64_t end);

/*
 * The first cluster of @count free ones that follow one another in [*@at, @end), all in this piece:
 * they are counted, and stand in alloc->new_l1.  False: there are none, *@at is @end.  -EIO as above.
 */
int search_row(struct image *image, struct ref_piece *piece, uint64_t *at, uint64_t end,
	       uint32_t count, bool *found);

/*
 * Refcount blocks of what the file had when it was opened are not made anew: if one is missing it may
 * have got lost, and what looks free is somebody's data.  On a device nothing tells.
 *
 * The first cluster behind these; 0 for a device.
 */
uint64_t search_opened_end(const struct image *image);

#endif
