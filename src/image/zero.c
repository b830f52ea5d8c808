/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * DISCARD and WRITE_ZEROES: whole clusters change their mapping; of the rest, WRITE_ZEROES writes
 * what does not read as zeros already, and DISCARD leaves all as it is.  With extended L2,
 * WRITE_ZEROES changes what the mapping says of whole subclusters, too; their cluster stays.
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
#include "entries.h"
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
 *	CLAIM  -> BAD NEXT MAP* TABLE PUNCH ROOM
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

	return top->geo.version >= 3 || part->guest.byte >= node_backed_bytes(top);
}

/* Must zeros get into the data file, whatever the mapping says? */
static bool is_raw(const struct part *part)
{
	return part->image->top.data_raw && !mutant(RAW_DATA_STAYS);
}

/* The least that a change of the mapping can serve: a cluster, which can be dropped; or a subcluster. */
static uint32_t unit_bytes(const struct part *part)
{
	const struct geometry *geo = &part->image->top.geo;
	bool by_cluster = part->req->op == REQ_DISCARD || is_raw(part);

	return by_cluster ? geo->cluster_bytes : 1u << geo->subcluster_bits;
}

/* Does the part begin with a whole cluster?  The disk's last, partial one counts as whole. */
static bool begins_with_cluster(const struct part *part)
{
	const struct geometry *geo = &part->image->top.geo;

	return !guest_in_cluster(geo, part->guest) &&
	       (part->len >= geo->cluster_bytes ||
		part->guest.byte + part->len == part->disk_bytes);
}

/*
 * Bytes at the part's start that a change of the mapping can serve: whole clusters; or whole units
 * of one cluster, of which the disk's last one counts as whole, too.
 */
static uint64_t whole_bytes(const struct part *part)
{
	const struct geometry *geo = &part->image->top.geo;
	bool to_end = part->guest.byte + part->len == part->disk_bytes;
	uint32_t in_cluster = guest_in_cluster(geo, part->guest);
	uint64_t rest = geo->cluster_bytes - in_cluster;

	if (!is_aligned(in_cluster, unit_bytes(part)) || !entry_can_be_zero(part))
		return 0;
	if (to_end && (!in_cluster || part->len <= rest))
		return part->len;
	if (begins_with_cluster(part))
		return round_down(part->len, geo->cluster_bytes);
	return round_down(min_u64(part->len, rest), unit_bytes(part));
}

/* Bytes up to the next unit, or to the part's end. */
static uint64_t partial_bytes(const struct part *part)
{
	uint32_t unit = unit_bytes(part);

	return min_u64(part->len, unit - part->guest.byte % unit);
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
	return min_u64(part->len, node_backed_bytes(&part->image->top) - part->guest.byte);
}

/* Does the space, if there is any, stay allocated?  So it does where others have the rest of it. */
static bool keeps_space(const struct part *part)
{
	if (!begins_with_cluster(part))
		return true;
	return part->req->op == REQ_WRITE_ZEROES && (part->req->flags & REQ_NOUNMAP) &&
	       part->image->top.geo.version >= 3 && extent_has_host(&part->extent);
}

/* What reads as zeros may be something else for who reads the data file alone; discards let it be. */
static bool needs_zeros(const struct part *part, bool reads_zero)
{
	return !reads_zero || (is_raw(part) && part->req->op == REQ_WRITE_ZEROES);
}

/* Is there something to punch in the data file? */
static bool needs_punch(const struct part *part)
{
	if (part->image->top.cipher && !mutant(DATA_FILE_HOLES) && !mutant(RAW_DATA_HOLES))
		return false;
	return part->image->top.geo.data_apart && !mutant(RAW_DATA_STAYS) &&
	       (is_raw(part) || (extent_has_host(&part->extent) && !keeps_space(part)));
}

static bool needs_change(const struct part *part, bool reads_zero)
{
	if (extent_has_host(&part->extent) && !keeps_space(part) && !is_raw(part))
		return true;
	return needs_zeros(part, reads_zero);
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

/* The entry of the part's @nth cluster, when the guest reads zeros there. */
static struct l2_word zero_entry(const struct part *part, uint32_t nth, bool keep)
{
	const struct geometry *geo = &part->image->top.geo;
	uint64_t from = guest_in_cluster(geo, part->guest);
	uint64_t start = (uint64_t)nth << geo->cluster_bits;
	struct l2_word word = slice_entry(part->slice, guest_slice_entry(geo, part->guest) + nth);
	uint64_t zeros;

	if (!keep) {
		bool says_zero = geo->version >= 3 && !mutant(DISCARD_UNCOVERS);

		word.entry = says_zero && !geo->extended ? ENTRY_ZERO : 0;
		word.bitmap = says_zero && geo->extended ? BITMAP_ALL_ZERO : 0;
	} else if (!geo->extended) {
		word.entry |= ENTRY_ZERO;
	} else {
		zeros = subclusters_touched(geo, start, from, from + part->extent.len);
		word.bitmap = (word.bitmap & ~zeros) | zeros << SUBCLUSTERS;
	}
	return word;
}

static void change_mapping(struct part *part)
{
	struct image *image = part->image;
	const struct geometry *geo = &image->top.geo;
	uint32_t first = guest_slice_entry(geo, part->guest);
	uint32_t clusters = clusters_touched(geo, part->guest, part->extent.len);
	bool keep = keeps_space(part);
	struct references old = { 0 };

	if (!keep)
		old = extent_references(geo, part->guest, &part->extent);
	flush_changing(image, part->slice, old, false);
	for (uint32_t i = 0; i < clusters; i++)
		slice_set_entry(part->slice, first + i, zero_entry(part, i, keep));
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

/* Does what is to be done change the mapping?  A stream has no subclusters. */
static bool is_mapping(const struct part *part)
{
	return whole_bytes(part) &&
	       (part->extent.kind != EXTENT_PACKED || begins_with_cluster(part));
}

/*
 * Under the shard's lock, since also "nothing to do" is only true while nobody changes the cluster:
 * a write that is about to be linked may bring older bytes back to light.
 */
static enum step look(struct part *part, struct shard *shard, struct slice *slice)
{
	struct task *t = &part->task;
	struct extent *extent = &part->extent;

	part->disk_bytes = node_bytes(&part->image->top);
	if (map_lookup(&part->image->top, part->guest, stretch_bytes(part), extent))
		return fail(t, -EIO, Z_BAD);
	extent_fill_cluster(&part->image->top.geo, part->guest, stretch_bytes(part), extent);

	struct claim *other = claim_in_the_way(shard, part);
	bool reads_zero = entries_read_zero(part, slice);

	if (other)
		return park(t, &other->waiters, Z_MAP);
	if (!is_mapping(part) && needs_zeros(part, reads_zero))
		return write_zeros(part);
	if (!is_mapping(part) || !needs_change(part, reads_zero))
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
	if (err || part->extent.kind != EXTENT_ABSENT || part->extent.preallocated)
		return go(t, Z_CLAIM);
	if (!needs_zeros(part, extent_reads_zero(&part->extent)))
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
		part->disk_bytes = node_bytes(&image->top);
		/* Also when nothing needs a change: it may have been changed a moment ago. */
		if (part->req->flags & REQ_FUA)
			part->flush_after = true;
		if (part->req->op == REQ_DISCARD && (needs_bytes(part) || !whole_bytes(part))) {
			/* The disk may have grown while it waited for the slice. */
			slice_looked(part);
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
