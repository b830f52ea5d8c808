/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * DISCARD and WRITE_ZEROES: whole clusters change their mapping; of the rest, WRITE_ZEROES writes
 * what does not read as zeros already, and DISCARD leaves all as it is.
 *
 * What lies in a layer below must not come to light again: a dropped cluster leaves an entry that
 * says zero.  Version 2 has no such entry, so over a layer below there are no whole clusters.
 *
 * In an external data file a cluster's place is its guest's for ever: the hole is punched under the
 * claim, before the mapping says zero, since the next write to the cluster goes to the same place.
 * Until the change is durable the old mapping shows zeros, which is the new content.  When the data
 * file alone must say what the disk holds (raw), the zeros are put there and the mapping stays.
 *
 * Of an encrypted layer, a hole reads as anything: data files have none punched, and what must be zeros
 * there is written.
 */
#include "cache.h"
#include "claim.h"
#include "flush.h"
#include "map.h"
#include "part.h"
#include "table.h"

#include <errno.h>
#include <stdlib.h>

/*
 *	MAP    -> DONE NEXT CLAIM TABLE
 *	TABLE  -> MAP MAP*
 *	BAD    -> DONE
 *	CLAIM  -> DONE BAD NEXT MAP* TABLE PUNCH ROOM
 *	PUNCH  -> PUNCHED~
 *	PUNCHED -> ROOM UNCLAIM
 *	UNCLAIM -> NEXT
 *	ROOM   -> UNDO ROOM* CHANGE
 *	CHANGE -> NEXT
 *	UNDO   -> DONE
 *	NEXT   -> DONE MAP
 */
#define ZERO_LIST(s) \
	s(Z_MAP) s(Z_BAD) s(Z_TABLE) s(Z_CLAIM) s(Z_PUNCH) s(Z_PUNCHED) s(Z_UNCLAIM) s(Z_ROOM) \
		s(Z_CHANGE) s(Z_UNDO) s(Z_NEXT) s(Z_DONE)
MACHINE_STATES(zero, ZERO_LIST);

/*
 * Can an L2 entry say that a cluster reads as zeros?  In version 2 only by being absent, which says
 * something else where there is a layer below.
 */
static bool entry_can_be_zero(const struct part *part)
{
	const struct node *top = &part->image->top;

	return top->geo.version >= 3 || part->guest.byte >= top->backed_bytes;
}

/*
 * Bytes at the part's start that a change of the mapping can serve: whole clusters; the disk's last,
 * partial one counts as whole.
 */
static uint64_t whole_bytes(const struct part *part)
{
	const struct geometry *geo = &part->image->top.geo;

	if (guest_in_cluster(geo, part->guest) || !entry_can_be_zero(part))
		return 0;
	if (part->guest.byte + part->len == geo->size_bytes)
		return part->len;
	return round_down(part->len, geo->cluster_bytes);
}

/* Bytes up to the next cluster, or to the part's end. */
static uint64_t partial_bytes(const struct part *part)
{
	const struct geometry *geo = &part->image->top.geo;

	return min_u64(part->len, geo->cluster_bytes - guest_in_cluster(geo, part->guest));
}

/* Must zeros get into the data file, whatever the mapping says? */
static bool is_raw(const struct part *part)
{
	return part->image->top.data_raw && !mutant(RAW_DATA_STAYS);
}

/*
 * Must the zeros be bytes?  In a raw data file so when its space is to stay, or when it is encrypted:
 * then holes read as anything.
 */
static bool needs_bytes(const struct part *part)
{
	return is_raw(part) && (part->req->flags & REQ_NOUNMAP ||
				(part->image->top.cipher && !mutant(RAW_DATA_HOLES)));
}

/* What a discard that begins here has to leave as it is. */
static uint64_t undiscarded_bytes(const struct part *part)
{
	if (needs_bytes(part))
		return part->len;
	if (entry_can_be_zero(part))
		return partial_bytes(part);
	return min_u64(part->len, part->image->top.backed_bytes - part->guest.byte);
}

/* Does the space stay allocated? */
static bool keeps_space(const struct part *part)
{
	const struct extent *extent = &part->extent;

	return part->req->op == REQ_WRITE_ZEROES && (part->req->flags & REQ_NOUNMAP) &&
	       part->image->top.geo.version >= 3 &&
	       (extent->kind == EXTENT_DATA || extent->preallocated);
}

/* What reads as zeros may be something else for who reads the data file alone; discards let it be. */
static bool needs_zeros(const struct part *part)
{
	return !extent_reads_zero(&part->extent) ||
	       (is_raw(part) && part->req->op == REQ_WRITE_ZEROES);
}

/* Is there something to punch in the data file? */
static bool needs_punch(const struct part *part)
{
	if (part->image->top.cipher && !mutant(DATA_FILE_HOLES) && !mutant(RAW_DATA_HOLES))
		return false;
	return part->image->top.geo.data_apart && !mutant(RAW_DATA_STAYS) &&
	       (is_raw(part) || (extent_has_host(&part->extent) && !keeps_space(part)));
}

static bool needs_change(const struct part *part)
{
	if (is_raw(part))
		return needs_zeros(part);
	if (part->extent.preallocated)
		return !keeps_space(part);
	return !extent_reads_zero(&part->extent);
}

/* Zeros for a stretch of one cluster: that is a write; what is behind it comes afterwards. */
static enum step write_zeros(struct part *part)
{
	part->extent.len = min_u64(part->extent.len, partial_bytes(part));
	part->later = part->len - part->extent.len;
	part->len = part->extent.len;
	part->span = span_memory(part->image->zeros);
	part->writes_zeros = true;
	return part_become(part, &write_machine);
}

static void change_mapping(struct part *part)
{
	struct image *image = part->image;
	const struct geometry *geo = &image->top.geo;
	struct be64_atomic *entries = part->slice->entries;
	uint32_t first = guest_slice_entry(geo, part->guest);
	uint32_t clusters = clusters_touched(geo, part->guest, part->extent.len);
	bool keep = keeps_space(part);

	struct references old = { 0 };

	if (!keep)
		old = extent_references(geo, part->guest, &part->extent);
	flush_changing(image, part->slice, old, false);
	for (uint32_t i = first; i < first + clusters; i++) {
		uint64_t zero = geo->version >= 3 && !mutant(DISCARD_UNCOVERS) ? ENTRY_ZERO : 0;

		kill_point();
		be64_store(&entries[i], keep ? be64_load(&entries[i]) | ENTRY_ZERO : zero);
	}
	claim_end(part);
}

/* The claimed clusters, in the data file. */
static void start_punch(struct part *part)
{
	io_start(&part->task, &part->io[0], IO_PUNCH, part->image->top.data->index,
		 span_memory(NULL), (struct host){ part->guest.byte }, part->extent.len);
}

static enum step finish(struct part *part)
{
	if (!part->task.err && part->flush_after)
		return part_become(part, &flush_machine);
	part_end(part);
	return STEP_DONE;
}

/* How much of the part is looked at in one go. */
static uint64_t stretch_bytes(const struct part *part)
{
	uint64_t whole = whole_bytes(part);

	return whole ? whole : partial_bytes(part);
}

static bool has_table(const struct part *part)
{
	const struct image *image = part->image;
	uint64_t l1_index = guest_l1_index(&image->top.geo, part->guest);

	return l1_decode(&image->top.geo, be64_load(&image->top.l1[l1_index])).kind != L1_ABSENT;
}

/*
 * Under the shard's lock, since also "nothing to do" is only true while nobody changes the cluster:
 * a write that is about to be linked may bring older bytes back to light.
 */
static enum step look(struct part *part, struct shard *shard, struct slice *slice)
{
	struct task *t = &part->task;

	if (map_lookup(&part->image->top, part->guest, stretch_bytes(part), &part->extent))
		return fail(t, -EIO, Z_BAD);

	struct claim *other = claim_in_the_way(shard, part);

	if (other)
		return park(t, &other->waiters, Z_MAP);
	if (!whole_bytes(part) && needs_zeros(part))
		return write_zeros(part);
	if (!whole_bytes(part) || !needs_change(part))
		return go(t, Z_NEXT);
	if (needs_bytes(part))
		return write_zeros(part);
	if (!table_owned(part->image, part->guest))
		return go(t, Z_TABLE);
	claim_begin(shard, part, slice);
	return go(t, needs_punch(part) ? Z_PUNCH : Z_ROOM);
}

/* Nothing was ever written to this layer there: what is below decides. */
static enum step look_without_table(struct part *part)
{
	struct task *t = &part->task;
	int err = map_lookup(&part->image->top, part->guest, stretch_bytes(part), &part->extent);

	/* Somebody has made the table this moment. */
	if (err || part->extent.kind != EXTENT_ABSENT)
		return go(t, Z_CLAIM);
	if (!needs_zeros(part))
		return go(t, Z_NEXT);
	if (whole_bytes(part))
		return go(t, Z_TABLE);
	return write_zeros(part);
}

static enum step zero_step(struct task *t)
{
	struct part *part = container_of(t, struct part, task);
	struct image *image = part->image;
	uint64_t index = guest_slice(&image->top.geo, part->guest);
	struct shard *shard = cache_shard(&image->top, index);
	struct waitq *wait;

	switch (t->state) {
	case Z_MAP:
		if (t->err || image_broken(image)) {
			slice_looked(part);
			return fail(t, -EIO, Z_DONE);
		}
		/* Also when nothing needs a change: it may have been changed a moment ago. */
		if (part->req->flags & REQ_FUA)
			part->flush_after = true;
		if (part->req->op == REQ_DISCARD && (needs_bytes(part) || !whole_bytes(part))) {
			part->extent.len = undiscarded_bytes(part);
			return go(t, Z_NEXT);
		}
		if (has_table(part))
			return go(t, Z_CLAIM);
		return look_without_table(part);

	case Z_BAD:
		map_bad(part);
		return go(t, Z_DONE);

	case Z_TABLE: {
		part_met(part, CAUSE_ALLOCATE);
		CRITICAL(&image->tables.lock);
		wait = table_make(image, part->guest, t->lane);
		if (!wait)
			return go(t, Z_MAP);
		return park(t, wait, Z_MAP);
	}
	case Z_CLAIM: {
		CRITICAL(&shard->lock);
		struct slice *slice = slice_get(&image->top, index, t->lane, &wait);
		slice_looked_locked(part);
		if (slice)
			return look(part, shard, slice);
		if (!wait)
			return fail(t, -EIO, Z_DONE);
		part_met(part, CAUSE_MISS);
		return park(t, wait, Z_MAP);
	}
	case Z_PUNCH:
		start_punch(part);
		return await_io(t, Z_PUNCHED);

	case Z_PUNCHED:
		/* Where the mapping says zero, space that stays allocated is no harm. */
		if (is_raw(part))
			return go(t, Z_UNCLAIM);
		t->err = 0;
		return go(t, Z_ROOM);

	case Z_UNCLAIM: {
		CRITICAL(&shard->lock);
		claim_end(part);
		if (!t->err)
			return go(t, Z_NEXT);
		/* The host punches no holes. */
		t->err = 0;
		return write_zeros(part);
	}
	case Z_ROOM: {
		CRITICAL(&image->flush.lock);
		if (t->err || image_broken(image))
			return fail(t, -EIO, Z_UNDO);
		if (!flush_room_take(image))
			return park(t, &image->flush.starved, Z_ROOM);
		return go(t, Z_CHANGE);
	}
	case Z_CHANGE: {
		CRITICAL(&shard->lock);
		change_mapping(part);
		return go(t, Z_NEXT);
	}
	case Z_UNDO: {
		CRITICAL(&shard->lock);
		claim_end(part);
		return go(t, Z_DONE);
	}
	case Z_NEXT:
		return go(t, part_advance(part) ? Z_MAP : Z_DONE);

	case Z_DONE:
		return finish(part);
	}
	abort();
}

const struct machine zero_machine = { "zero", zero_step, zero_states };
