/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Copy on write: how much around the guest's bytes has to come along when they get host clusters,
 * with what, and what the entries say afterwards.
 */
#ifndef COW_H
#define COW_H

#include "engine.h"

/*
 * Decide about part->extent, for which there are host clusters: new ones, or, with part->reuse,
 * those that are set aside.  Sets part->head, tail, copies and was_zero.  Under the shard's lock,
 * after the extent has been cut for the last time.
 */
void cow_plan(struct part *part, const struct slice *slice);

/*
 * The entry of the @nth cluster of part->extent, now at @host, with the guest's bytes and what came
 * along.  Under the shard's lock.
 */
struct l2_word cow_entry(const struct part *part, uint32_t nth, struct host host);

#endif
