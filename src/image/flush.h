/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a change of a mapping owes the flush, and the flush machine's outside. */
#ifndef FLUSH_H
#define FLUSH_H

#include "engine.h"

int flush_open(struct image *image);
void flush_free(struct image *image);

/*
 * Room for one change: a slice that becomes dirty and one release.  False: none now, park on
 * flush->starved.  Under flush->lock.
 */
bool flush_room_take(struct image *image);

/*
 * A change was made to @slice, for which room had been taken: @count references to host clusters
 * from @cluster on were dropped (0: none).  @data_first: it may be durable only after all data
 * written so far (law 2).  Under the shard's lock; takes flush->lock.
 */
void flush_changed(struct image *image, struct slice *slice, uint64_t cluster, uint32_t count,
		   bool data_first);

/*
 * The same for an entry of L1, which is stored here: false when there is no room now.  Under
 * tables.lock; takes flush->lock.
 */
bool flush_changed_l1(struct image *image, uint64_t l1_index, uint64_t entry, uint64_t old_cluster,
		      bool data_first);

/* The allocator is done with a release.  Takes flush->lock. */
void release_put(struct image *image, struct release *release);

#endif
