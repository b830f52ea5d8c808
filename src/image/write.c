/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writing: in place where the cluster is ours alone, else into new clusters which are linked
 * when the bytes are there.
 *
 * What is around the guest's bytes in a new cluster is what the guest read there before: it is
 * copied, wherever it lies; or it was zeros, which are written, or, where the cluster is known to
 * read as zeros, left unwritten.  How much of it, says cow.h.
 */
#include "alone.h"
#include "bounce.h"
#include "cache.h"
#include "claim.h"
#include "copies.h"
#include "cow.h"
#include "entries.h"
#include "flush.h"
#include "map.h"
#include "overlap.h"
#include "part.h"
#include "reserve.h"
#include "sync.h"
#include "table.h"

#include <errno.h>
#include <stdlib.h>

/*
 *	MAP     -> DONE BAD NEXT~ DURABLE TABLE CLAIM BOUNCE
 *	DURABLE -> NEXT~ SYNCED~
 *	BAD     -> DONE
 *	TABLE   -> MAP MAP*
 *	CLAIM   -> BAD MAP MAP* RESERVE COPY WRITE
 *	RESERVE -> DONE CLAIM RESERVE*
 *	COPY    -> COPY* PLACE~
 *	PLACE   -> UNDO WRITE~
 *	WRITE   -> UNDO ROOM~ SYNCED~ BOUNCE
 *	BOUNCE  -> BOUNCE* MAP* ENCRYPT
 *	ENCRYPT -> ENCRYPTED ENCRYPTED~
 *	ENCRYPTED -> ROOM SYNCED NEXT
 *	ROOM    -> UNDO ROOM* LINK
 *	LINK    -> NEXT
 *	UNDO    -> DONE
 *	SYNCED  -> ROOM NEXT BELIEVE
 *	BELIEVE -> BELIEVE* NEXT
 *	NEXT    -> DONE MAP
 */
#define WRITE_LIST(s) \
	s(W_MAP) s(W_DURABLE) s(W_BAD) s(W_TABLE) s(W_CLAIM) s(W_RESERVE) s(W_COPY) s(W_PLACE) \
		s(W_WRITE) s(W_BOUNCE) s(W_ENCRYPT) s(W_ENCRYPTED) s(W_ROOM) s(W_LINK) s(W_UNDO) \
			s(W_SYNCED) s(W_BELIEVE) s(W_NEXT) s(W_DONE)
MACHINE_STATES(write, WRITE_LIST);

static bool is_fua(const struct part *part)
{
	return part->req->flags & REQ_FUA;
}

/* Will this write be durable by itself, though nobody has asked for it? */
static void guess_alone(struct part *part)
{
	if (!is_fua(part) && alone_take(part->image))
		sync_write_begin(part->image, &part->durable);
}

static unsigned durable_flag(const struct part *part)
{
	return part->durable.nth ? IO_DSYNC : 0;
}

/* From @span: the guest's bytes, or what became of them. */
static void write_in_place(struct part *part, struct span span)
{
	struct image *image = part->image;

	if (is_fua(part)) {
		if (sync_by_write(image->top.data) &&
		    slice_durable(&image->top, guest_slice(&image->top.geo, part->guest)) &&
		    !atomic_load_explicit(&image->inherited, memory_order_acquire))
			sync_write_begin(image, &part->durable);
		else
			part->flush_after = true;
	}
	io_start_flags(&part->task, &part->io[0], IO_WRITE, image->top.data->index, span,
		       part->extent.host, part->extent.len, IO_IN_PLACE | durable_flag(part));
}

/* Is there a place for data where a write in place would go? */
static bool target_is_bad(const struct part *part)
{
	const struct geometry *geo = &part->image->top.geo;
	uint64_t cluster = host_cluster(geo, part->extent.host);
	uint32_t clusters = clusters_touched(geo, part->guest, part->extent.len);

	if (geo->data_apart || overlap_allows(part->image, cluster, clusters))
		return false;
	image_corrupt(part->image, "guest offset %#llx is mapped to %s %#llx",
		      (unsigned long long)part->guest.byte,
		      overlap_hit(part->image, cluster, clusters) ?
			      "metadata at" :
			      "behind the end of the file, to",
		      (unsigned long long)part->extent.host.byte);
	return true;
}

/* --- claiming ------------------------------------------------------------------------------------ */

enum plan { PLAN_IN_PLACE, PLAN_WAIT, PLAN_BAD, PLAN_NO_STOCK, PLAN_CLAIMED };

/* Give the first clusters of the extent new host clusters; cut the extent to what there is. */
static bool take_clusters(struct part *part)
{
	struct image *image = part->image;
	const struct geometry *geo = &image->top.geo;
	uint32_t want = clusters_touched(geo, part->guest, part->extent.len);
	struct run run = reserve_take(image, image_lane(image, part->task.lane), want);

	if (!run.count)
		return false;
	part->host_cluster = run.cluster;
	part->clusters = run.count;
	part->host_word = run.word;
	/* Of encrypted bytes, zeros read as anything. */
	part->fresh_zero = run.zero && (!image->top.cipher || mutant(ENCRYPTED_FRESH));
	part->fresh_space = run.space;
	part->extent.len = min_u64(part->extent.len, ((uint64_t)run.count << geo->cluster_bits) -
							     guest_in_cluster(geo, part->guest));
	return true;
}

/* May the mapping be durable only after the bytes (law 2)? */
static bool mapping_waits(const struct part *part)
{
	/* An external data file is synced first in any case. */
	if (part->image->top.geo.data_apart)
		return false;
	/* What lies in a host cluster that is set aside is not known. */
	if (part->reuse)
		return !mutant(RESERVED_UNSYNCED);
	if (mutant(ENCRYPTED_ANY_ORDER) && part->image->top.cipher)
		return !part->was_zero;
	/* Zeros turn into zeros or the new bytes: any order is right. */
	return !part->fresh_zero || !part->was_zero;
}

/* Look once more, now under the shard's lock, and claim what needs a change. */
static enum plan plan_write(struct part *part, struct shard *shard, struct slice *slice,
			    struct waitq **wait)
{
	struct extent *extent = &part->extent;
	bool apart = part->image->top.geo.data_apart;

	if (map_lookup(&part->image->top, part->guest, bounce_write_bytes(part), extent))
		return PLAN_BAD;
	if (extent->kind == EXTENT_DATA && extent->in_place)
		return PLAN_IN_PLACE;
	extent_fill_cluster(&part->image->top.geo, part->guest, bounce_write_bytes(part), extent);

	struct claim *other = claim_in_the_way(shard, part);

	if (other) {
		*wait = &other->waiters;
		return PLAN_WAIT;
	}
	part->reuse = (extent->preallocated && extent->in_place) || apart;
	if (!part->reuse && !take_clusters(part))
		return PLAN_NO_STOCK;
	cow_plan(part, slice);
	part->data_first = mapping_waits(part);
	claim_begin(shard, part, slice);
	return PLAN_CLAIMED;
}

/* Must what is around the guest's bytes be read first? */
static bool needs_copy(const struct part *part)
{
	if (part->extent.kind == EXTENT_ABSENT && mutant(NO_BACKING_COPY))
		return false;
	return part->copies && !mutant(NO_COPY);
}

/* --- moving bytes ---------------------------------------------------------------------------------- */

/* Where the guest's bytes of this extent go. */
static struct host target(const struct part *part)
{
	const struct geometry *geo = &part->image->top.geo;

	if (geo->data_apart)
		return (struct host){ part->guest.byte };
	if (part->reuse)
		return part->extent.host;
	return (struct host){ cluster_host(geo, part->host_cluster).byte +
			      guest_in_cluster(geo, part->guest) };
}

/* What belongs around the guest's bytes. */
static void around(const struct part *part, struct span *before, struct span *behind)
{
	struct image *image = part->image;

	*before = *behind = span_memory(image->zeros);
	if (part->copy_buffer < 0)
		return;
	*before = span_memory(copies_head(image, part->copy_buffer));
	*behind = span_memory(copies_tail(part));
}

/* The guest's bytes to between what was read around them. */
static void place_guest(struct part *part)
{
	uint8_t *to = (uint8_t *)copies_head(part->image, part->copy_buffer) + part->head;

	if (span_is_memory(part->span))
		memcpy(to, span_address(part->span), part->extent.len);
	else
		io_start_fetch(&part->task, &part->io[1], to, part->span, part->extent.len);
}

/* With encryption they meet elsewhere. */
static bool places_guest(const struct part *part)
{
	return copies_whole(part) && !part->image->top.cipher;
}

/* To new clusters. */
static void start_write(struct part *part, unsigned nth, struct span span, struct host host,
			uint64_t len)
{
	unsigned flags = part->fresh_space && !part->reuse ? IO_IN_PLACE : 0;

	io_start_flags(&part->task, &part->io[nth], IO_WRITE, part->image->top.data->index, span,
		       host, len, flags | durable_flag(part));
}

static void write_whole(struct part *part)
{
	start_write(part, 0, span_memory(copies_head(part->image, part->copy_buffer)),
		    (struct host){ target(part).byte - part->head },
		    part->head + part->extent.len + part->tail);
}

static void start_writes(struct part *part)
{
	struct image *image = part->image;
	uint32_t head = part->head, tail = part->tail;
	struct host host = target(part);
	struct span before, behind;
	bool fill = part->reuse || !part->fresh_zero || part->copy_buffer >= 0;

	if (part->copy_buffer >= 0 && copies_whole(part)) {
		write_whole(part);
		return;
	}
	around(part, &before, &behind);
	if (mutant(NO_ZERO_FILL) && part->copy_buffer < 0)
		fill = false;
	if (mutant(RESERVED_READS_ZERO) && part->reuse && part->copy_buffer < 0)
		fill = false;
	if (mutant(DATA_FILE_FRESH) && part->copy_buffer < 0 && image->top.geo.data_apart)
		fill = false;
	if (fill && head)
		start_write(part, 0, before, (struct host){ host.byte - head }, head);
	start_write(part, 1, part->span, host, part->extent.len);
	if (fill && tail)
		start_write(part, 2, behind, (struct host){ host.byte + part->extent.len }, tail);
}

/* --- moving encrypted bytes ------------------------------------------------------------------------ */

/* What is written at once, and is next to each other in the buffer as well. */
struct stretch {
	struct host host; /* of the guest's bytes */
	uint32_t head, tail; /* bytes around them, in new clusters */
};

static struct stretch encrypted_stretch(const struct part *part)
{
	struct stretch stretch = { .host = part->extent.host };

	if (!part->claimed)
		return stretch;
	stretch.host = target(part);
	if (mutant(ENCRYPTED_FRESH) && part->fresh_zero && !part->reuse && part->copy_buffer < 0)
		return stretch;
	stretch.head = part->head;
	stretch.tail = part->tail;
	return stretch;
}

static uint64_t stretch_bytes(const struct part *part)
{
	struct stretch stretch = encrypted_stretch(part);

	return stretch.head + part->extent.len + stretch.tail;
}

static int encrypt_around(struct part *part, const struct stretch *stretch)
{
	uint64_t behind_at = stretch->head + part->extent.len;
	struct host host = stretch->host;
	struct span before, behind;
	int err;

	if (mutant(PLAIN_FILL) && part->copy_buffer < 0) {
		memset(part->bounce, 0, stretch->head);
		memset(part->bounce + behind_at, 0, stretch->tail);
		return 0;
	}
	if (mutant(IV_OF_OLD_PLACE) && part->extent.kind == EXTENT_DATA)
		host = part->extent.host;
	around(part, &before, &behind);
	err = bounce_encrypt(part, 0, before, (struct host){ host.byte - stretch->head },
			     stretch->head);
	return err ? err :
		     bounce_encrypt(part, behind_at, behind,
				    (struct host){ host.byte + part->extent.len }, stretch->tail);
}

/* The write at hand, in place or into new clusters, out of the part's buffer. */
static int start_encrypted(struct part *part)
{
	struct stretch stretch = encrypted_stretch(part);
	struct span bounce = span_memory(part->bounce);
	struct host host = stretch.host;
	int err;

	if (mutant(IV_OF_GUEST))
		host.byte = part->guest.byte;
	err = bounce_encrypt(part, stretch.head, part->span, host, part->extent.len);
	if (mutant(PLAIN_ZEROS) && part->writes_zeros)
		memset(part->bounce + stretch.head, 0, part->extent.len);
	if (!err)
		err = encrypt_around(part, &stretch);
	if (err)
		return err;
	guess_alone(part);
	if (part->claimed)
		start_write(part, 0, bounce, (struct host){ stretch.host.byte - stretch.head },
			    stretch_bytes(part));
	else
		write_in_place(part, bounce);
	return 0;
}

static void drop_copy_buffer(struct part *part)
{
	if (part->copy_buffer >= 0)
		copies_put(&part->image->copies, part->copy_buffer);
	part->copy_buffer = -1;
}

/* --- linking ----------------------------------------------------------------------------------------- */

static void link_clusters(struct part *part)
{
	struct image *image = part->image;
	const struct geometry *geo = &image->top.geo;
	const struct extent *extent = &part->extent;
	uint32_t entry = guest_slice_entry(geo, part->guest);
	uint32_t clusters = clusters_touched(geo, part->guest, extent->len);
	struct host host = { target(part).byte - guest_in_cluster(geo, part->guest) };
	struct references old = { 0 };

	if (!part->reuse)
		old = extent_references(geo, part->guest, extent);
	flush_changing(image, part->slice, old, part->data_first);
	for (uint32_t i = 0; i < clusters; i++, host.byte += geo->cluster_bytes)
		slice_set_entry(part->slice, entry + i, cow_entry(part, i, host));
	if (part->host_cluster)
		reserve_linked(image, image_lane(image, part->task.lane), part->host_word);
	count(&image->counters.clusters_allocated, part->reuse ? 0 : clusters);
	part->host_cluster = 0;
	drop_copy_buffer(part);
	claim_end(part);
}

static void undo(struct part *part)
{
	struct image_lane *lane = image_lane(part->image, part->task.lane);

	if (part->host_cluster)
		reserve_put(part->image, lane, part->host_cluster, part->clusters, part->host_word);
	part->host_cluster = 0;
	drop_copy_buffer(part);
	claim_end(part);
}

/* After the last byte of the part: on to what else its request needs. */
static enum step finish(struct part *part)
{
	struct task *t = &part->task;

	if (!t->err && part->later) {
		part->len = part->later;
		part->later = 0;
		part->writes_zeros = false;
		return part_become(part, &zero_machine);
	}
	if (!t->err && part->flush_after)
		return part_become(part, &flush_machine);
	part_end(part);
	return STEP_DONE;
}

static enum step write_step(struct task *t)
{
	struct part *part = container_of(t, struct part, task);
	struct image *image = part->image;
	struct shard *shard = cache_shard(&image->top, guest_slice(&image->top.geo, part->guest));
	struct bounce *bounce = &image_lane(image, t->lane)->bounce;

	switch (t->state) {
	case W_MAP: {
		if (t->err)
			return go(t, W_DONE);
		part_enter(part);
		int err = image_broken(image);
		if (!err)
			err = map_lookup(&image->top, part->guest, bounce_write_bytes(part),
					 &part->extent);
		if (err && err != -EAGAIN) {
			slice_looked(part);
			return fail(t, err, W_BAD);
		}
		if (!err && part->extent.kind == EXTENT_DATA && part->extent.in_place) {
			slice_looked(part);
			if (target_is_bad(part))
				return fail(t, -EIO, W_DONE);
			part_split(part);
			if (image->top.cipher)
				return go(t, W_BOUNCE);
			if (is_fua(part) || alone_next(image))
				return go(t, W_DURABLE);
			write_in_place(part, part->span);
			return await_io(t, W_NEXT);
		}
		part_leave(part);
		return go(t, table_owned(image, part->guest) ? W_CLAIM : W_TABLE);
	}
	case W_DURABLE:
		guess_alone(part);
		write_in_place(part, part->span);
		return await_io(t, part->durable.nth ? W_SYNCED : W_NEXT);

	case W_BAD:
		map_bad(part);
		return go(t, W_DONE);

	case W_TABLE: {
		slice_looked(part);
		part_met(part, CAUSE_ALLOCATE);
		CRITICAL(&image->tables.lock);
		struct waitq *wait = table_make(image, part->guest, t->lane);
		if (!wait)
			return go(t, W_MAP);
		return park(t, wait, W_MAP);
	}
	case W_CLAIM: {
		struct waitq *wait = NULL;
		CRITICAL(&shard->lock);
		struct slice *slice = slice_get(&image->top,
						guest_slice(&image->top.geo, part->guest), t->lane,
						&wait);
		slice_looked_locked(part);
		enum plan plan = PLAN_WAIT;
		if (slice)
			plan = plan_write(part, shard, slice, &wait);
		if (plan == PLAN_BAD)
			return fail(t, -EIO, W_BAD);
		if (!slice)
			part_met(part, CAUSE_MISS);
		if (plan == PLAN_WAIT)
			return park(t, wait, W_MAP);
		if (plan == PLAN_IN_PLACE)
			return go(t, W_MAP);
		if (plan == PLAN_NO_STOCK)
			return go(t, W_RESERVE);
		part_split(part);
		part_met(part, needs_copy(part) ? CAUSE_COPY : CAUSE_ALLOCATE);
		return go(t, needs_copy(part) ? W_COPY : W_WRITE);
	}
	case W_RESERVE: {
		struct image_lane *lane = image_lane(image, t->lane);
		CRITICAL(&image->alloc.lock);
		if (t->err)
			return go(t, W_DONE);
		if (reserve_ready(image, lane))
			return go(t, W_CLAIM);
		return park(t, &lane->reserve.waiters, W_RESERVE);
	}
	case W_COPY: {
		CRITICAL(&image->copies.lock);
		part->copy_buffer = copies_take(&image->copies);
		if (part->copy_buffer < 0)
			return park(t, &image->copies.waiters, W_COPY);
		copies_read(part, part->head, part->tail);
		if (mutant(EARLY_GUEST_BYTES) && places_guest(part))
			place_guest(part);
		return await_io(t, W_PLACE);
	}
	case W_PLACE:
		if (t->err)
			return go(t, W_UNDO);
		if (places_guest(part) && !mutant(EARLY_GUEST_BYTES))
			place_guest(part);
		return await_io(t, W_WRITE);

	case W_WRITE:
		if (mutant(FETCH_UNCHECKED))
			t->err = 0;
		if (t->err)
			return go(t, W_UNDO);
		if (part->reuse && target_is_bad(part))
			return fail(t, -EIO, W_UNDO);
		if (image->top.cipher)
			return go(t, W_BOUNCE);
		guess_alone(part);
		start_writes(part);
		return await_io(t, part->durable.nth ? W_SYNCED : W_ROOM);

	case W_BOUNCE: {
		struct waitq *wait;
		CRITICAL(&bounce->lock);
		if (bounce_take(bounce, part, stretch_bytes(part), &wait))
			return go(t, W_ENCRYPT);
		if (part->claimed)
			return park(t, wait, W_BOUNCE);
		/* Nothing keeps the mapping as it is: look again. */
		part_leave(part);
		return park(t, wait, mutant(BOUNCE_BLIND) ? W_BOUNCE : W_MAP);
	}
	case W_ENCRYPT: {
		int err = start_encrypted(part);
		if (err)
			return fail(t, err, W_ENCRYPTED);
		if (mutant(BOUNCE_EARLY))
			bounce_put(bounce, part);
		return await_io(t, W_ENCRYPTED);
	}
	case W_ENCRYPTED: {
		CRITICAL(&bounce->lock);
		bounce_put(bounce, part);
		if (part->durable.nth)
			return go(t, W_SYNCED);
		return go(t, part->claimed ? W_ROOM : W_NEXT);
	}

	case W_ROOM: {
		if (t->err)
			return go(t, W_UNDO);
		CRITICAL(&image->flush.lock);
		if (image_broken(image))
			return fail(t, -EIO, W_UNDO);
		if (!flush_room_take(image))
			return park(t, &image->flush.starved, W_ROOM);
		return go(t, W_LINK);
	}
	case W_LINK: {
		CRITICAL(&shard->lock);
		if (is_fua(part))
			part->flush_after = true;
		link_clusters(part);
		return go(t, W_NEXT);
	}
	case W_UNDO: {
		CRITICAL(&shard->lock);
		undo(part);
		return go(t, W_DONE);
	}
	case W_SYNCED:
		sync_write_end(image, &part->durable, t->err);
		if (part->claimed)
			return go(t, W_ROOM);
		/* A guess is believed by the flush that follows. */
		return go(t, t->err || !is_fua(part) ? W_NEXT : W_BELIEVE);

	case W_BELIEVE: {
		CRITICAL(&image->flush.lock);
		if (!sync_believable(image, &part->sync_wait))
			return park(t, &image->syncs.waiters, W_BELIEVE);
		if (image_broken(image))
			return fail(t, -EIO, W_NEXT);
		return go(t, W_NEXT);
	}
	case W_NEXT:
		if (t->err || !part_advance(part))
			return go(t, W_DONE);
		return go(t, W_MAP);

	case W_DONE:
		return finish(part);
	}
	abort();
}

const struct machine write_machine = { "write", write_step, write_states };
