/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * All states that a power cut may leave at one moment, without looking at each of them.
 *
 * Each sector for itself holds one of a few things.  Which one is chosen when somebody makes something of
 * its bytes (sparse_ask()), and not at all when nobody does: what the reader has found is then found in all states
 * that agree in what it has read.  Who sees only whether a sector of the guest is right asks for all that
 * may be in it, for whether it is does not depend on others.  Then the last choice is changed, and so on, until
 * all have been made.  Who looks at bytes without asking finds what nobody wrote.
 *
 * A file's size survives or not apart from the bytes that made it grow, as in fate.c.
 */
#ifndef DOUBTS_H
#define DOUBTS_H

#include "disk.h"

#define DOUBTS_TRUNCATES 4u /* of a file that grows or shrinks more often, not all is known */

/* An image and its data file, of which the durable bytes are in doubt. */
struct doubts_files {
	struct disk *image, *data;
	const struct piece *piece; /* of the image first */
	uint32_t image_pieces, pieces;
	uint64_t cluster_bytes; /* sizes within one cluster are the same to the reader */
};

/* False when there are too many, of whatever; then nothing has begun. */
bool doubts_begin(const struct doubts_files *files);
/* All is as it was. */
void doubts_end(void);

/* Short for all that may be found; before the first doubts_next(). */
uint64_t doubts_digest(void);

/* The first choice has been made by doubts_begin(); the next one, false when there is none. */
bool doubts_next(void);

/*
 * What may be in this sector of a file as far as has been chosen; 0: what is there.  Good until the next question.
 */
uint32_t doubts_contents(const struct sparse *file, uint64_t sector, const uint8_t **contents);

/* Has somebody asked for @what about this sector before, with the same answer in all states?  From now on. */
bool doubts_known(const struct sparse *file, uint64_t sector, uint64_t what);

#endif
