/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Short histories, by number: a few small requests on a small image of one kind. */
#ifndef HISTORIES_H
#define HISTORIES_H

#include "config.h"
#include "req.h"

#define HISTORY_LENGTH 4u
#define HISTORY_LANES 3u /* two for requests */

/* One request; in clusters and sectors of the first clusters of the disk. */
struct letter {
	const char *name;
	enum req_op op;
	unsigned flags;
	unsigned first_cluster;
	unsigned first_sector; /* within it */
	unsigned sectors; /* 0: two clusters */
};

/* Which io completes first. */
enum order { OLDEST_FIRST, NEWEST_FIRST, SYNCS_LAST, ORDERS };

struct history {
	unsigned kind; /* of image */
	enum order order;
	unsigned length;
	const struct letter *letter[HISTORY_LENGTH];
	bool waits[HISTORY_LENGTH]; /* for all before it */
};

/* How many there are of this length. */
uint64_t histories(unsigned length);

/* How many kinds of images: the first so many histories of any length have one each. */
unsigned history_kinds(void);

struct history history_decode(uint64_t number, unsigned length);

/* The image, and the engine that it is played on. */
struct config history_config(const struct history *history);

/* The guest's bytes that a letter is about. */
void letter_range(const struct letter *letter, const struct shape *shape, uint64_t *guest,
		  uint64_t *len);

/* One line on standard error. */
void history_print(const struct history *history);

#endif
