/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Compressed clusters in memory: a few per lane, so that the pieces of one are decompressed once.
 *
 * A cluster is known by its layer and its L2 entry.  As long as an entry names a stream, what it
 * names does not change: this engine writes no streams, and a host cluster that once held some is
 * used for something else only when no entry names it any more.
 */
#ifndef UNPACK_H
#define UNPACK_H

#include "engine.h"

/* After the chain is known.  -ENOMEM. */
int unpack_open(struct image *image, const struct image_options *options);
void unpack_free(struct image *image);

/*
 * Get hold of the cluster with the bytes of part->extent, which is PACKED, as part->unpacked, to
 * be given back by unpack_put().  False: it is not in memory yet, and *@wait is what to park on:
 * until it is, or with part->unpacked NULL, until there is room, and the part looks again.  The
 * part is inside an epoch, which it may leave then.  Under unpack->lock.
 */
bool unpack_get(struct unpack *unpack, struct part *part, struct waitq **wait);

/* Begin to copy the bytes of part->extent to part->span.  The part's own lane. */
void unpack_copy(struct part *part);

/* Under unpack->lock. */
void unpack_put(struct unpack *unpack, struct part *part);

#endif
