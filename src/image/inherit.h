/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Going on where a dead process has ended: what it has left in its arena becomes ours, as if there had
 * been no end.  Nothing is written to the file: what the dead process had still to write is ours to
 * write, by the next flush.
 *
 * What was left is believed only as far as it can be checked, against itself and against the file.
 */
#ifndef INHERIT_H
#define INHERIT_H

#include "arena.h"
#include "engine.h"

/* Host clusters that something in the arena names. */
enum claimant { CLAIM_LINKED, CLAIM_RELEASED, CLAIM_STOCK, CLAIM_FOUND };

struct cluster_range {
	uint64_t cluster;
	uint32_t count;
	enum claimant claimant;
};

#define INHERIT_PIECES 16u

/* A look at the refcounts in the file. */
struct refcount_look {
	uint64_t index[INHERIT_PIECES]; /* of the piece, + 1 */
	uint8_t *bytes;
};

struct inheritance {
	struct image *image;
	bool there; /* there is something */
	bool resized; /* the header has what a resize was about to make durable */
	struct arena arena; /* the dead one's: only read */
	struct arena_shape shape;
	uint64_t host_clusters; /* in the file */
	uint8_t *unit; /* of the file: LIMIT_SLICE_BYTES */
	struct refcount_look look;
	struct references *release; /* the dead one's, copied */
	struct cluster_range *range;
	size_t ranges;
	size_t ranges_room;
	struct run run; /* of stock, that may become longer */
	unsigned next_lane; /* to get one */
	struct why *why;
};

/* Ask @handover what there is, and whether it is for us.  -errno with the sentence in @why. */
int inherit_find(struct inheritance *left, struct image *image, const struct handover *handover,
		 struct why *why);

/* Is there something, left by who had found the image to be corrupt? */
bool inherit_is_corrupt(const struct inheritance *left);

/*
 * How many slices the cache must have: as many as the dead one's, all of which may be newer than the file.
 * What this disk needs may be less, if it had been larger.  And how many releases: for all references that
 * are to be dropped, and for all stock, of which the lanes may find room for little.
 */
struct arena_least inherit_least(const struct inheritance *left);

/* Into how many shards a cache of so many @slices is divided: so few that those find room in theirs. */
uint32_t inherit_shards(const struct inheritance *left, uint32_t slices);

/*
 * Take it over: after everything of @image is open, before lanes run.  -ESTALE: the file has been changed
 * since, -EINVAL: it is damaged; -EIO, -ENOMEM.  The image is to be freed then.
 */
int inherit(struct inheritance *left);

void inherit_end(struct inheritance *left);

/* --- between its files ------------------------------------------------------------------------------ */

/* -EINVAL, with a sentence about what cannot be. */
int inherit_damaged(const struct inheritance *left, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* -ESTALE, the same. */
int inherit_changed(const struct inheritance *left, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* inherit_units.c: what is newer in memory than in the file.  In this order. */
int inherit_l1(struct inheritance *left);
int inherit_pieces(struct inheritance *left);
int inherit_slices(struct inheritance *left);

/* inherit_clusters.c: what is in no unit. */
int inherit_drop(struct inheritance *left);
int inherit_releases(struct inheritance *left);
int inherit_stock(struct inheritance *left);

/* Note who names clusters.  -ENOMEM. */
int inherit_note(struct inheritance *left, struct cluster_range range);

/* The @nth entry of a slice, and what it says about all of its cluster: which host cluster it has, if any. */
struct l2_word inherit_word(const struct geometry *geo, const struct be64_atomic *entries,
			    uint64_t nth);
struct l2_entry inherit_decode(const struct geometry *geo, struct l2_word word);

static inline bool l2_has_host(const struct l2_entry *entry)
{
	return entry->kind == L2_DATA || entry->kind == L2_ZERO_ALLOCATED ||
	       entry->kind == L2_ABSENT_ALLOCATED;
}

/* The refcount of a cluster, as it is to be; blocking. */
int inherit_refcount(struct inheritance *left, uint64_t cluster, uint64_t *refcount);

#endif
