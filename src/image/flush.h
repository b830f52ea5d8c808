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
 * @slice is about to be changed, for which room had been taken; @dropped is what it does not refer to
 * afterwards.  @data_first: the change may be durable only after all data written so far (law 2).
 * Before the change, so that a kill in the middle of it is noticed; under the shard's lock, which is
 * held until the change is made; takes flush->lock.
 */
void flush_changing(struct image *image, struct slice *slice, struct references dropped,
		    bool data_first);

/*
 * The same for an entry of L1, which is stored here: false when there is no room now.  Under
 * flush->lock.
 */
bool flush_changed_l1(struct image *image, uint64_t l1_index, uint64_t entry, uint64_t old_cluster,
		      bool data_first);

/* References that a dead process has left to be dropped; false: no room.  Before lanes run. */
bool flush_inherit_release(struct image *image, struct references dropped);

/* How many releases a cache of so many slices needs. */
uint32_t flush_releases(uint32_t slices);

/*
 * Give back what the copies of the last run have taken, if none has copied anything since the last
 * call.  True: call again after a while.  Under flush->lock.
 */
bool flush_rest_locked(struct image *image);

/* The allocator is done with a release.  Takes flush->lock. */
void release_put(struct image *image, struct release *release);

#endif
