/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The host's file: what reads see, what is on the medium, and the operations in between that no
 * completed sync covers.
 */
#ifndef DISK_H
#define DISK_H

#include "base.h"
#include "rng.h"
#include "sparse.h"

enum hostop_kind { HOSTOP_WRITE, HOSTOP_PUNCH, HOSTOP_TRUNCATE };

#define NEVER UINT64_MAX

/* An operation that has been done to the visible bytes (or is about to), in order of doing. */
struct hostop {
	enum hostop_kind kind;
	bool forced; /* durable by itself: a DSYNC write that has completed */
	bool spent; /* durable already, although it has not completed */
	bool guest; /* a guest's bytes, not the engine's */
	uint64_t off; /* TRUNCATE: the size */
	uint64_t len;
	uint64_t completed; /* disk->clock then, or NEVER */
	uint8_t data[]; /* WRITE */
};

struct disk {
	struct sparse visible;
	struct sparse durable;
	struct hostop **op; /* not covered by a completed sync; oldest first */
	uint32_t ops;
	uint32_t room;
	uint64_t clock; /* counts completions and syncs begun */
	uint64_t syncs; /* that have ended */
	uint64_t limit; /* no byte at or beyond it: the host file system is full */
	/* Pages that may differ between visible and durable. */
	uint64_t *touched;
	uint64_t ntouched;
	uint8_t *is_touched;
};

/* What becomes of the operations that no sync covers when the power fails. */
struct cut {
	uint32_t keep_percent; /* of them survive */
	uint32_t keep_guest_percent; /* ... of the guest's bytes */
	bool tear; /* decided for each sector instead of each operation */
	uint32_t special; /* this one is treated the other way round; UINT32_MAX: none */
};

void disk_init(struct disk *disk);
void disk_reset(struct disk *disk);

/* Everything that is visible is durable. */
void disk_settle(struct disk *disk);

/* Make an operation for pending lists; @data of a write is copied. */
struct hostop *hostop_make(enum hostop_kind kind, uint64_t off, uint64_t len, const void *data);

/* Do it to the visible bytes; the disk owns it from here on. */
void disk_do(struct disk *disk, struct hostop *op);

/* Done but not seen: for operations in flight when the power fails. */
void disk_append(struct disk *disk, struct hostop *op);

/* Its completion has been reported: syncs begun from now on cover it. */
void disk_completed(struct disk *disk, struct hostop *op);

/* A sync begins; what to hand to disk_sync_end(). */
uint64_t disk_sync_begin(struct disk *disk);

/*
 * The sync that began at @begun has ended.  When it failed, what it covers is on the medium or
 * not by chance, and no later sync changes that: the host has forgotten that it was dirty.
 */
void disk_sync_end(struct disk *disk, uint64_t begun, bool failed, struct rng *rng);

/*
 * What the host writes back by itself fails: what has been done so far, also by whom it was not yet told, is
 * on the medium or not by chance, and no later sync changes that.
 */
void disk_write_back_fails(struct disk *disk, struct rng *rng);

struct cut cut_draw(const struct disk *disk, struct rng *rng);

/* The power fails: the durable bytes become what is left, and visible. */
void disk_power_cut(struct disk *disk, struct cut cut, struct rng *rng);

/* What would be left is in durable until disk_peek_end(); operations from @keep_ops on go. */
void disk_peek_begin(struct disk *disk, struct cut cut, struct rng *rng);
void disk_peek_end(struct disk *disk, uint32_t keep_ops);

/* What of an operation survives as a whole or not at all: a sector, a page of a hole, a size. */
struct piece {
	const struct hostop *op;
	uint64_t off;
	uint64_t len;
};

/* All pieces, oldest operation first; @max at most, the number of all of them is returned. */
uint32_t disk_pieces(const struct disk *disk, struct piece *piece, uint32_t max);

/* As disk_peek_begin(), with the pieces that survive. */
void disk_peek_pieces(struct disk *disk, const struct piece *piece, uint32_t pieces,
		      const bool *survives);

/* Operations from @keep_ops on go. */
void disk_drop(struct disk *disk, uint32_t keep_ops);

/* Instead of disk_peek_end(): the power has failed. */
void disk_peek_stays(struct disk *disk);

#endif
