/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Encrypted layers: what is written goes through a buffer of ours, where it is encrypted for the
 * place that it goes to; what was read is decrypted where it lies.
 */
#ifndef BOUNCE_H
#define BOUNCE_H

#include "engine.h"

/*
 * When the chain and the lanes are there: buffers, if the top is written to and encrypted.
 * @buffers: of each size and lane; 0: as many as are good.  0 or -ENOMEM.
 */
int bounce_open(struct image *image, unsigned reqs_per_lane, unsigned buffers);
void bounce_free(struct image *image);

/* How much of the part can be written in one piece, with what a new cluster needs around it. */
uint64_t bounce_write_bytes(const struct part *part);

/* How much of the extent that the part reads is read in one piece, so that others get a turn. */
uint64_t bounce_read_bytes(const struct part *part);

/*
 * A buffer of @bytes for the part.  False, and *@wait is where to park, when there is none: who has
 * one waits for nothing but the host.  Under bounce->lock of the part's lane.
 */
bool bounce_take(struct bounce *bounce, struct part *part, uint64_t bytes, struct waitq **wait);

/* Give it back, if the part has one; under the same lock. */
void bounce_put(struct bounce *bounce, struct part *part);

/* @bytes from @from into the part's buffer, from @at on, as they will lie at @host.  0 or -EIO. */
int bounce_encrypt(struct part *part, uint64_t at, struct span from, struct host host,
		   uint64_t bytes);

/* What the part has read of its extent.  0 or -EIO. */
int bounce_decrypt(struct part *part);

/* Is it encrypted? */
static inline bool extent_is_encrypted(const struct part *part)
{
	return part->extent.kind == EXTENT_DATA && part->node->cipher;
}

#endif
