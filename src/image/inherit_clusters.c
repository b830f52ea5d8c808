/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Host clusters that no table refers to: what was in stock, and what is still to be dropped.
 *
 * Everything stands somewhere at any moment, and some things for a moment twice: a cluster that was
 * just linked is in stock as well, a run that moves stands at both places, and references which a
 * change is about to drop are noted before the change.  So the tables are asked first, then the
 * releases, and what is left of the stock is stock.
 */
#include "inherit.h"

#include "alloc.h"
#include "flush.h"
#include "overlap.h"
#include "refblock.h"
#include "reserve.h"

#include <errno.h>
#include <stdlib.h>

int inherit_note(struct inheritance *left, struct cluster_range range)
{
	if (left->ranges == left->ranges_room) {
		size_t room = left->ranges_room ? 2 * left->ranges_room : 1024;
		struct cluster_range *more = realloc(left->range, room * sizeof(*more));

		if (!more)
			return why_set(left->why, -ENOMEM, "%s: not enough memory",
				       left->image->top.file->name);
		left->range = more;
		left->ranges_room = room;
	}
	left->range[left->ranges++] = range;
	return 0;
}

/* What was only found may lie behind the end of the file, which grows before it is given. */
static bool can_be(const struct inheritance *left, uint64_t cluster, uint32_t count)
{
	return cluster > 0 && count > 0 && alloc_fits(left->image, cluster, count);
}

/* --- the reference that was being dropped ------------------------------------------------------------- */

static int copy_releases(struct inheritance *left)
{
	for (uint32_t i = 0; i < left->arena.releases + RELEASE_EXTRAS; i++) {
		uint64_t what = arena_get(&left->arena.release[i].what);
		struct references *release = &left->release[i];

		release->cluster = word_cluster(what);
		release->clusters = word_count(what);
		release->where = arena_get(&left->arena.release[i].where);
		if (what && !can_be(left, release->cluster, release->clusters))
			return inherit_damaged(left, "it drops cluster %llu",
					       (unsigned long long)release->cluster);
	}
	return 0;
}

/* Was it dropped?  If its piece has been changed at all, it is dropped now at the latest. */
static int finish_drop(struct inheritance *left, struct references *release, uint64_t refcount)
{
	const struct geometry *geo = &left->image->top.geo;
	struct ref_piece *piece =
		piece_cached(left->image, release->cluster >> geo->slice_refcounts_bits);
	uint64_t now;

	if (!piece)
		return 0;
	now = piece_refcount(left->image, piece, release->cluster);
	if (now != refcount && now != refcount + 1)
		return inherit_damaged(left, "the refcount of cluster %llu",
				       (unsigned long long)release->cluster);
	piece_set(left->image, piece, release->cluster, refcount);
	release->cluster++;
	release->clusters--;
	return 0;
}

int inherit_drop(struct inheritance *left)
{
	const struct arena_header *header = left->arena.header;
	uint64_t cluster = arena_get(&header->drop_cluster);
	uint64_t nth = arena_get(&header->drop_release);
	int err = copy_releases(left);

	if (err || !cluster || mutant(DROP_FORGOTTEN))
		return err;
	if (nth >= left->arena.releases + RELEASE_EXTRAS)
		return inherit_damaged(left, "the number of a release: %llu",
				       (unsigned long long)nth);
	if (left->release[nth].clusters && left->release[nth].cluster == cluster - 1)
		err = finish_drop(left, &left->release[nth], arena_get(&header->drop_refcount));
	return err;
}

/* --- releases ------------------------------------------------------------------------------------------ */

/* They are dropped after the next flush, as those whose drop was not durable. */
static int give_release(struct inheritance *left, struct references dropped)
{
	uint64_t refcount = 0;
	int err = inherit_note(left, (struct cluster_range){
					     .cluster = dropped.cluster,
					     .count = dropped.clusters,
					     .claimant = CLAIM_RELEASED,
				     });

	for (uint32_t i = 0; i < dropped.clusters && !err; i++) {
		err = inherit_refcount(left, dropped.cluster + i, &refcount);
		if (!err && refcount == 0)
			err = inherit_changed(left, "cluster %llu has become free",
					      (unsigned long long)dropped.cluster + i);
	}
	if (!err && !flush_inherit_release(left->image, dropped))
		log_warn("%s: no room to take over what was to be dropped; %u clusters leak",
			 left->image->top.file->name, dropped.clusters);
	return err;
}

/* The entry that maps a guest cluster, when it is in a slice that was taken over: else it is in the file. */
static bool new_entry(const struct inheritance *left, uint64_t guest_cluster_, struct l2_word *word)
{
	const struct node *top = &left->image->top;
	uint64_t index = guest_cluster_ >> top->geo.slice_entries_bits;
	uint64_t nth = guest_cluster_ & ((UINT64_C(1) << top->geo.slice_entries_bits) - 1);
	const struct slice *slice;

	if (index >= top->cache.directory_entries)
		return false;
	slice = (const struct slice *)atomic_load(&top->cache.directory[index]);
	if (slice)
		*word = inherit_word(&top->geo, slice->entries, nth);
	return slice != NULL;
}

/* Had the change not been made yet that was to drop the first of these references? */
static bool still_held(const struct inheritance *left, const struct references *release)
{
	const struct node *top = &left->image->top;
	const struct geometry *geo = &top->geo;
	uint64_t index = release->where >> WHERE_BITS;
	struct l2_entry entry;
	struct l2_word word;

	switch ((enum where)(release->where & WHERE_KIND)) {
	case WHERE_DATA:
		if (!new_entry(left, index, &word))
			return false;
		entry = inherit_decode(geo, word);
		return l2_has_host(&entry) && host_cluster(geo, entry.host) == release->cluster;

	case WHERE_PACKED:
		if (!new_entry(left, index, &word) ||
		    inherit_decode(geo, word).kind != L2_COMPRESSED)
			return false;
		return host_cluster(geo, l2_compressed_range(geo, word.entry).off) ==
		       release->cluster;

	case WHERE_TABLE:
		return index < top->l1_entries &&
		       host_cluster(geo, l1_decode(geo, be64_load(&top->l1[index])).host) ==
			       release->cluster;
	case WHERE_NOT:
		return false;
	}
	return false;
}

/* Whose mapping is in several entries: some may have been changed, and others not. */
static int give_data_release(struct inheritance *left, struct references release)
{
	struct references dropped = { .where = release.where };
	int err = 0;

	for (; release.clusters && !err; release.clusters--) {
		if (!still_held(left, &release)) {
			if (!dropped.clusters++) {
				dropped.cluster = release.cluster;
				dropped.where = release.where;
			}
		} else if (dropped.clusters) {
			err = give_release(left, dropped);
			dropped.clusters = 0;
		}
		release.cluster++;
		release.where += UINT64_C(1) << WHERE_BITS;
	}
	return !err && dropped.clusters ? give_release(left, dropped) : err;
}

/* Does the header, with a table @at, name what was to replace the @old one? */
static bool was_switched(const struct inheritance *left, const struct references *old,
			 struct host at)
{
	uint64_t now = host_cluster(&left->image->top.geo, at);

	return now == old->where >> WHERE_BITS && now != old->cluster;
}

/*
 * Space for an L1 table, unless that is there: it was being counted, so behind the first that has no
 * refcount all are free.
 */
static int give_new_l1(struct inheritance *left, struct references space)
{
	uint32_t count = 0;
	int err = 0;

	if (space.cluster == host_cluster(&left->image->top.geo, left->image->top.header.l1) ||
	    mutant(NEW_L1_FORGOTTEN))
		return 0;
	for (; count < space.clusters && !err; count++) {
		uint64_t refcount = 0;

		err = inherit_refcount(left, space.cluster + count, &refcount);
		if (err || refcount == 0)
			break;
	}
	space.clusters = count;
	return err || !count ? err : give_release(left, space);
}

/* Is it not to be dropped, as the header names what it would have been replaced by? */
static bool is_void(const struct inheritance *left, uint32_t nth)
{
	const struct references *release = &left->release[nth];
	uint32_t extra = nth - left->arena.releases;

	if (!release->clusters || nth < left->arena.releases)
		return !release->clusters;
	if (extra == RELEASE_OLD_TABLE)
		return !was_switched(left, release, left->image->alloc.table_host);
	if (extra == RELEASE_OLD_L1)
		return !was_switched(left, release, left->image->top.header.l1) ||
		       mutant(OLD_L1_FORGOTTEN);
	return false;
}

int inherit_releases(struct inheritance *left)
{
	int err = 0;

	for (uint32_t i = 0; i < left->arena.releases + RELEASE_EXTRAS && !err; i++) {
		const struct references *release = &left->release[i];

		if (is_void(left, i))
			continue;
		if (i == left->arena.releases + RELEASE_NEW_L1)
			err = give_new_l1(left, *release);
		else if ((release->where & WHERE_KIND) == WHERE_DATA)
			err = give_data_release(left, *release);
		else if (!still_held(left, release))
			err = give_release(left, *release);
	}
	return err;
}

/* --- stock ----------------------------------------------------------------------------------------------- */

static bool is_stock(const struct cluster_range *range)
{
	return range->claimant == CLAIM_STOCK || range->claimant == CLAIM_FOUND;
}

static int compare(const void *one, const void *other)
{
	const struct cluster_range *a = one, *b = other;

	if (is_stock(a) != is_stock(b))
		return is_stock(a) ? 1 : -1;
	return a->cluster < b->cluster ? -1 : a->cluster > b->cluster;
}

static int note_words(struct inheritance *left, uint64_t first, uint64_t words,
		      enum claimant claimant)
{
	int err = 0;

	for (uint64_t i = first; i < first + words && !err; i++) {
		uint64_t word = arena_get(&left->arena.stock[i]);
		struct cluster_range range = {
			.cluster = word_cluster(word),
			.count = word_count(word),
			.claimant = claimant,
		};

		if (!word)
			continue;
		if (!can_be(left, range.cluster, range.count))
			return inherit_damaged(left, "it has cluster %llu in stock",
					       (unsigned long long)range.cluster);
		err = inherit_note(left, range);
	}
	return err;
}

/*
 * What is linked or released, as ranges that do not meet, in place; only references to be dropped may be
 * several.  How many, or -EINVAL.
 */
static int64_t join_taken(struct inheritance *left)
{
	uint64_t end = 0, linked_end = 0;
	size_t joined = 0;

	for (size_t i = 0; i < left->ranges && !is_stock(&left->range[i]); i++) {
		struct cluster_range range = left->range[i];
		bool linked = range.claimant == CLAIM_LINKED;
		struct cluster_range *last = &left->range[joined - (joined > 0)];

		if (range.cluster < (linked ? end : linked_end))
			return inherit_damaged(left, "cluster %llu has two uses",
					       (unsigned long long)range.cluster);
		if (joined && range.cluster <= end)
			last->count = (uint32_t)(max_u64(end, range.cluster + range.count) -
						 last->cluster);
		else
			left->range[joined++] = range;
		end = max_u64(end, range.cluster + range.count);
		if (linked)
			linked_end = range.cluster + range.count;
	}
	return (int64_t)joined;
}

/* Runs of stock go to the lanes in turn; what they have no room for is given back. */
static int give_run(struct inheritance *left)
{
	struct image *image = left->image;
	struct run run = left->run;

	left->run.count = 0;
	for (unsigned tries = 0; tries < image->lanes; tries++) {
		struct image_lane *lane = &image->lane[left->next_lane++ % image->lanes];

		if (reserve_inherit(image, lane, run.cluster, run.count))
			return 0;
	}
	return give_release(left, (struct references){
					  .cluster = run.cluster,
					  .clusters = run.count,
					  .where = where_make(0, WHERE_NOT),
				  });
}

/* Pieces of one run that were taken from it, one behind the other, are one again. */
static int add_to_run(struct inheritance *left, uint64_t cluster, uint32_t count)
{
	struct run *run = &left->run;
	int err = 0;

	if (run->count && run->cluster + run->count == cluster &&
	    run->count + count <= WORD_COUNT_MAX) {
		run->count += count;
		return 0;
	}
	if (run->count)
		err = give_run(left);
	*run = (struct run){ .cluster = cluster, .count = count };
	return err;
}

/*
 * What the allocator had found and not given yet: it was counting, so behind the first that has no
 * refcount all are free.
 */
static int give_found(struct inheritance *left, uint64_t cluster, uint32_t count)
{
	struct alloc *alloc = &left->image->alloc;

	if (alloc->founds == RESERVE_RUNS)
		return inherit_damaged(left, "too many clusters were found");
	alloc_inherit(left->image, cluster, count);
	return 0;
}

/* A stretch of a word's clusters that is nobody else's. */
static int give(struct inheritance *left, enum claimant claimant, uint64_t cluster, uint32_t count)
{
	if (overlap_hit(left->image, cluster, count))
		return inherit_damaged(left, "metadata at cluster %llu is in stock",
				       (unsigned long long)cluster);
	for (uint32_t i = 0; i < count; i++) {
		uint64_t refcount = 0;
		int err = inherit_refcount(left, cluster + i, &refcount);

		if (err)
			return err;
		if (refcount == 1)
			continue;
		if (refcount || claimant != CLAIM_FOUND)
			return inherit_changed(left, "cluster %llu, which was in stock",
					       (unsigned long long)cluster + i);
		count = i;
	}
	if (!count)
		return 0;
	return claimant == CLAIM_FOUND ? give_found(left, cluster, count) :
					 add_to_run(left, cluster, count);
}

/* The stock without what is in @taken ranges, and each cluster once. */
static int give_stock(struct inheritance *left, size_t taken, size_t first)
{
	size_t next = 0, last = left->ranges;
	uint64_t done = 0;

	for (size_t i = first; i < last; i++) {
		const struct cluster_range range = left->range[i];
		uint64_t end = range.cluster + range.count;
		uint64_t at = max_u64(range.cluster, done);

		while (at < end) {
			const struct cluster_range *other = &left->range[next];
			uint64_t stop = next < taken ? min_u64(other->cluster, end) : end;
			uint64_t behind = next < taken ? other->cluster + other->count : end;
			int err = 0;

			if (next < taken && behind <= at) {
				next++;
				continue;
			}
			/* It may note more ranges, for which all of them move. */
			if (stop > at)
				err = give(left, range.claimant, at, (uint32_t)(stop - at));
			if (err)
				return err;
			at = stop < end ? behind : end;
		}
		done = max_u64(done, end);
	}
	return left->run.count ? give_run(left) : 0;
}

int inherit_stock(struct inheritance *left)
{
	uint64_t words = (uint64_t)left->shape.lanes * left->shape.lane_words;
	size_t claims = left->ranges;
	int64_t taken;
	int err = note_words(left, 0, words, CLAIM_STOCK);

	if (!err)
		err = note_words(left, words, RESERVE_RUNS, CLAIM_FOUND);
	if (err)
		return err;
	if (left->ranges)
		qsort(left->range, left->ranges, sizeof(*left->range), compare);
	taken = join_taken(left);
	return taken < 0 ? (int)taken : give_stock(left, (size_t)taken, claims);
}
