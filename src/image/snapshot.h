/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The snapshots of an image; which one is meant, and what it needs to be read like an image. */
#ifndef SNAPSHOT_H
#define SNAPSHOT_H

#include "engine.h"

/* The table, entry by entry. */
struct snapshots {
	const struct node *node;
	uint32_t number; /* of the next entry */
	struct host at; /* where it is */
	uint8_t *window; /* bytes of the file in memory: */
	uint64_t start, there;
	uint8_t *bytes; /* of this entry, among them */
	struct snapshot entry; /* decoded; its faults say what must not be used */
};

/*
 * Begin before the first entry of the node, whose header has been read; snapshots_next() decodes
 * one after the other, as many as the header says.  Blocking.  -EINVAL when it is damaged, -EIO,
 * -ENOMEM; the sentence is in @why.
 */
int snapshots_begin(struct snapshots *snapshots, const struct node *node, struct why *why);
int snapshots_next(struct snapshots *snapshots, struct why *why);
void snapshots_end(struct snapshots *snapshots);

/*
 * Make @node, whose header has been read, show the snapshot with the id or else the name @wanted
 * instead of the present content: header and geometry get its L1 table and its size.  Before the
 * L1 table is read; blocking.  -ENOENT when there is none, -EINVAL when it is damaged, -EIO,
 * -ENOMEM; the sentence is in @why.
 */
int snapshot_choose(struct node *node, const char *wanted, struct why *why);

#endif
