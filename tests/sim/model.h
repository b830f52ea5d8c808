/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a guest may expect of its disk, sector by sector.
 *
 * Every change has a version, which is the time when it started; so have flushes.  A sector that
 * a write has filled carries its own number and the version.  Zeros carry nothing: they stand for
 * any version that zeroed the sector.
 *
 * A version w may be read unless a change that started after w had ended was itself done before
 * the read started.  It may be found after a power cut unless a change that started after w had
 * ended was durable.  Changes that overlap in time may come out either way.
 */
#ifndef MODEL_H
#define MODEL_H

#include "pattern.h"

#define FLYING UINT32_MAX

enum change_kind {
	CHANGE_NONE, /* this moment was not the start of a change */
	CHANGE_WRITE,
	CHANGE_ZERO,
	CHANGE_FLUSH,
};

struct change {
	enum change_kind kind;
	bool acknowledged;
	bool optional; /* may also not have happened: the rest of a discard */
	version_t end; /* when; FLYING before */
	uint64_t first_sector;
	uint64_t sectors;
};

struct model_sector {
	version_t shown; /* when this life began; 0: zeros */
	version_t base; /* what is durable from before everything below; 0: zeros */
	version_t done; /* start of the newest acknowledged change of this life; 0: none */
	version_t durable; /* start of the newest change that must survive; 0: base must */
	version_t zeroed; /* end of the latest zeroing that has ended; 0: none */
	version_t snapshot; /* what the snapshot holds; 0: zeros */
	version_t cut; /* when it was behind the end of the disk last: then it began anew, as zeros; 0: never */
};

#define MODEL_PAGE_SECTORS 64u

struct model {
	uint64_t sectors; /* on the disk */
	uint64_t snapshot_sectors; /* of a snapshot; what it has behind them is not looked at */
	struct model_sector **page; /* NULL: zeros ever since */
	uint64_t *used;
	uint64_t nused;
	struct change *change; /* by version */
	version_t clock;
	version_t room;
	version_t life; /* when this life began */
	version_t based; /* when base was set */
	version_t *flying; /* versions of changes and flushes that have not ended */
	uint32_t nflying;
	version_t *ended; /* acknowledged changes, in order of their ends */
	uint32_t nended;
	uint32_t next_durable; /* among ended: flushes have not got to it */
	uint64_t changes; /* ever, of anything */
	uint64_t digested; /* when model_digest() looked last */
	uint64_t digest;
};

void model_init(struct model *model);
/* A disk of zeros. */
void model_reset(struct model *model, uint64_t sectors);

/* It becomes larger or smaller.  What was behind its end is as it was, unless it was said that it is zeros. */
void model_resize(struct model *model, uint64_t sectors);
void model_zero_behind(struct model *model);

/* Would something be lost if the disk ended at @sector?  @alone: nothing is below it.  The first such, or NO_SECTOR. */
#define NO_SECTOR UINT64_MAX
uint64_t model_first_written(const struct model *model, uint64_t sector, bool alone);

/* Before lanes run: the disk was made with these; 0 for zeros.  The version of all that. */
version_t model_made(struct model *model);
void model_set(struct model *model, uint64_t sector, version_t active, version_t snapshot);

/* A change, or a flush, starts: its version. */
version_t model_start(struct model *model, enum change_kind kind, uint64_t first_sector,
		      uint64_t sectors, bool optional);
/* It has ended. */
void model_end(struct model *model, version_t version, bool ok, bool fua);

/* A read starts: fill what it may not see anything older than. */
void model_read_start(struct model *model, uint64_t first_sector, uint64_t sectors,
		      version_t *seen);
/* NULL, or what is wrong with what it has read. */
const char *model_read_end(struct model *model, uint64_t first_sector, uint64_t sectors,
			   const version_t *seen, const uint8_t *bytes);

/* NULL, or what is wrong with this sector after a crash. */
const char *model_check(const struct model *model, uint64_t sector, const uint8_t *bytes);
const char *model_check_snapshot(const struct model *model, uint64_t sector, const uint8_t *bytes);
/* Short for what these, and the next, say of all sectors and bytes. */
uint64_t model_digest(struct model *model);
/* The same for a stretch that reads as zeros. */
const char *model_check_zeros(const struct model *model, uint64_t first_sector, uint64_t sectors,
			      bool snapshot, uint64_t *bad_sector);

/* How a life ended. */
enum ending {
	END_KILLED, /* nothing has become durable by that */
	END_DURABLE, /* a power cut, or a clean close: what is there is durable */
};

/* All in flight has ended, one way or the other. */
void model_life_over(struct model *model);
/* Then, for each sector that is not known to be zeros, what was found, which is right. */
void model_found(struct model *model, uint64_t sector, const uint8_t *bytes, enum ending ending);
void model_found_zeros(struct model *model, uint64_t first_sector, uint64_t sectors,
		       enum ending ending);
/* Then the next life begins. */
void model_life_begins(struct model *model, enum ending ending);

/* A clean close has ended well: everything done is durable. */
void model_closed(struct model *model);

#endif
