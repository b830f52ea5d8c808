/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The cache of decompressed clusters of a lane.
 *
 * Loading one is a task of its own, as with slices.  It takes over the epoch of the part that
 * began it, because the stream must stay where it is until it has been read; the part waits
 * outside.  A slot stays for whoever waits for it until they have looked, so no two parts can take
 * each other's clusters away for ever.
 */
#include "unpack.h"

#include "epoch.h"
#include "inflate.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#define UNPACK_ALIGN 4096u /* of buffers, for direct I/O */

/*
 * Up to here a lane is done before a worker would be awake: see "Decompression" in README.md.
 */
#define UNPACK_HERE_BYTES_DEFAULT (8 * KIB)

/*
 *	READ    -> INFLATE~
 *	INFLATE -> END END~
 *	END     -> DONE
 */
#define UNPACK_LIST(s) s(P_READ) s(P_INFLATE) s(P_END)
MACHINE_STATES(unpack, UNPACK_LIST);

/* The file range that is read: whole sectors, for direct I/O. */
static struct compressed_range sectors_of(const struct unpacked *slot)
{
	struct compressed_range range = l2_compressed_range(&slot->node->geo, slot->entry);
	uint32_t skip = (uint32_t)(range.off.byte % SECTOR_SIZE);

	range.off.byte -= skip;
	range.len += skip;
	return range;
}

static int inflate_slot(struct unpacked *slot, struct inflater *inflater)
{
	struct compressed_range range = l2_compressed_range(&slot->node->geo, slot->entry);
	enum inflate_kind kind = slot->node->header.compression_type ? INFLATE_ZSTD : INFLATE_ZLIB;
	int err = inflate_cluster(inflater, kind, slot->stream + range.off.byte % SECTOR_SIZE,
				  range.len, slot->bytes, slot->node->geo.cluster_bytes);

	if (err && log_is_worth(&slot->node->damage_told))
		log_error("%s: the compressed cluster at %#llx is damaged (at most %u are named)",
			  slot->node->file->name, (unsigned long long)range.off.byte, LOG_REPEATS);
	return err;
}

/* On the thread of a worker. */
static int inflate_work(struct io *io, unsigned worker)
{
	struct unpacked *slot = container_of(io, struct unpacked, io);

	return inflate_slot(slot, slot->node->image->inflater[worker]);
}

/* Does a lane decompress the clusters of @node by itself? */
static bool inflates_here(const struct image *image, const struct node *node)
{
	return !image->workers || node->geo.cluster_bytes <= image->unpack_here_bytes;
}

static void loaded(struct unpacked *slot, int err)
{
	if (err) {
		slot->state = UNPACKED_FREE;
		waitq_fail(&slot->waiters, err);
	} else {
		slot->state = UNPACKED_VALID;
		if (!mutant(NO_UNPACK_WAKE))
			waitq_wake(&slot->waiters);
	}
}

static enum step unpack_step(struct task *t)
{
	struct unpacked *slot = container_of(t, struct unpacked, task);
	struct image *image = slot->node->image;

	switch (t->state) {
	case P_READ: {
		struct compressed_range range = sectors_of(slot);
		io_start(t, &slot->io, IO_READ, slot->node->file->index, span_memory(slot->stream),
			 range.off, range.len);
		return await_io(t, P_INFLATE);
	}
	case P_INFLATE: {
		if (slot->epoch != EPOCH_OUTSIDE)
			epoch_leave(image, &image_lane(image, t->lane)->epoch, slot->epoch);
		if (t->err)
			return go(t, P_END);
		if (inflates_here(image, slot->node)) {
			int err = inflate_slot(slot, slot->unpack->inflater);
			return err ? fail(t, err, P_END) : go(t, P_END);
		}
		io_start_work(t, &slot->io, span_memory(slot->bytes), slot->unpack->slot_bytes,
			      inflate_work);
		if (mutant(UNPACKED_EARLY)) {
			CRITICAL(&slot->unpack->lock);
			loaded(slot, 0);
		}
		return await_io(t, P_END);
	}
	case P_END: {
		CRITICAL(&slot->unpack->lock);
		loaded(slot, t->err);
		return STEP_DONE;
	}
	}
	abort();
}

static const struct machine unpack_machine = { "unpack", unpack_step, unpack_states };

/* --- slots ---------------------------------------------------------------------------------------- */

static struct unpacked *find(struct unpack *unpack, const struct node *node, uint64_t entry)
{
	for (unsigned i = 0; i < UNPACK_SLOTS; i++) {
		struct unpacked *slot = &unpack->slot[i];

		if (slot->state != UNPACKED_FREE && slot->node == node && slot->entry == entry)
			return slot;
	}
	return NULL;
}

/* A slot that can be used for something else: a free one, or the one that is longest out of use. */
static struct unpacked *evict(struct unpack *unpack)
{
	struct unpacked *oldest = NULL;

	for (unsigned i = 0; i < UNPACK_SLOTS; i++) {
		struct unpacked *slot = &unpack->slot[i];

		if (slot->users || slot->state == UNPACKED_LOADING)
			continue;
		if (slot->state == UNPACKED_FREE)
			return slot;
		if (!oldest || slot->used < oldest->used)
			oldest = slot;
	}
	return oldest;
}

static void start_load(struct unpacked *slot, const struct part *part)
{
	struct image_lane *lane = image_lane(part->image, part->task.lane);

	count(&part->image->counters.clusters_unpacked, 1);
	slot->state = UNPACKED_LOADING;
	slot->node = part->node;
	slot->entry = part->extent.entry;
	slot->epoch = EPOCH_OUTSIDE;
	must(part->epoch != EPOCH_OUTSIDE);
	if (!mutant(NO_UNPACK_EPOCH)) {
		slot->epoch = part->epoch;
		epoch_share(&lane->epoch, part->epoch);
	}
	task_init(&slot->task, part->task.lane, &unpack_machine, P_READ);
	task_wake(&slot->task);
}

bool unpack_get(struct unpack *unpack, struct part *part, struct waitq **wait)
{
	struct unpacked *slot = find(unpack, part->node, part->extent.entry);

	if (!slot) {
		slot = evict(unpack);
		if (!slot) {
			*wait = &unpack->starved;
			return false;
		}
		start_load(slot, part);
	}
	slot->users++;
	slot->used = ++unpack->clock;
	part->unpacked = slot;
	*wait = &slot->waiters;
	return slot->state == UNPACKED_VALID;
}

void unpack_copy(struct part *part)
{
	const struct geometry *geo = &part->unpacked->node->geo;
	const uint8_t *from = part->unpacked->bytes + guest_in_cluster(geo, part->guest);

	if (span_is_memory(part->span))
		memcpy(span_address(part->span), from, part->extent.len);
	else
		io_start_copy(&part->task, &part->io[0], part->span, from, part->extent.len);
}

void unpack_put(struct unpack *unpack, struct part *part)
{
	struct unpacked *slot = part->unpacked;

	part->unpacked = NULL;
	must(slot->users > 0);
	if (--slot->users == 0)
		waitq_wake(&unpack->starved);
}

/* --- open ------------------------------------------------------------------------------------------ */

/* What there is to decompress in the chain. */
struct packed {
	size_t largest; /* cluster, in bytes; 0: there can be none */
	unsigned kinds_here; /* bits by enum inflate_kind: what lanes decompress */
	unsigned kinds_there; /* ... and workers */
};

static struct packed look_down(const struct image *image)
{
	struct packed packed = { 0 };

	for (const struct node *node = &image->top; node; node = node->below) {
		unsigned kind = node->header.compression_type ? INFLATE_ZSTD : INFLATE_ZLIB;

		if (node->raw)
			continue;
		packed.largest = max_u64(packed.largest, node->geo.cluster_bytes);
		if (inflates_here(image, node))
			packed.kinds_here |= 1u << kind;
		else
			packed.kinds_there |= 1u << kind;
	}
	return packed;
}

/* Who decompresses nothing has none: they take 25 KiB each, and more when they are used. */
static int open_inflater(struct inflater **inflater, unsigned kinds)
{
	if (!kinds)
		return 0;
	*inflater = inflater_open(kinds);
	return *inflater ? 0 : -ENOMEM;
}

static int open_lane(struct unpack *unpack, const struct packed *packed)
{
	size_t cluster_bytes = packed->largest;
	size_t bytes = round_up(cluster_bytes, UNPACK_ALIGN);
	/* A descriptor can name up to two clusters, and the sector that the stream begins in. */
	size_t stream = round_up(2 * cluster_bytes + SECTOR_SIZE, UNPACK_ALIGN);

	/* Address space, used when there are compressed clusters. */
	unpack->slot_bytes = bytes + stream;
	unpack->memory_bytes = UNPACK_SLOTS * unpack->slot_bytes;
	unpack->memory = sparse_map(unpack->memory_bytes);
	if (!unpack->memory)
		return -ENOMEM;
	for (unsigned i = 0; i < UNPACK_SLOTS; i++) {
		struct unpacked *slot = &unpack->slot[i];

		slot->unpack = unpack;
		slot->bytes = unpack->memory + i * unpack->slot_bytes;
		slot->stream = slot->bytes + bytes;
		waitq_init(&slot->waiters);
	}
	return open_inflater(&unpack->inflater, packed->kinds_here);
}

static int open_workers(struct image *image, unsigned kinds)
{
	image->inflater = calloc(image->workers, sizeof(struct inflater *));
	if (image->workers && !image->inflater)
		return -ENOMEM;
	for (unsigned i = 0; i < image->workers; i++) {
		int err = open_inflater(&image->inflater[i], kinds);

		if (err)
			return err;
	}
	return 0;
}

int unpack_open(struct image *image, const struct image_options *options)
{
	struct packed packed;

	image->workers = options->workers;
	image->unpack_here_bytes = options->unpack_here_bytes ? options->unpack_here_bytes :
								UNPACK_HERE_BYTES_DEFAULT;
	packed = look_down(image);
	for (unsigned i = 0; i < image->lanes; i++) {
		struct unpack *unpack = &image->lane[i].unpack;

		pthread_mutex_init(&unpack->lock, NULL);
		waitq_init(&unpack->starved);
		if (open_lane(unpack, &packed))
			return -ENOMEM;
	}
	return open_workers(image, packed.kinds_there);
}

void unpack_free(struct image *image)
{
	for (unsigned i = 0; i < image->lanes; i++) {
		struct unpack *unpack = &image->lane[i].unpack;

		if (unpack->memory)
			munmap(unpack->memory, unpack->memory_bytes);
		inflater_free(unpack->inflater);
	}
	for (unsigned i = 0; image->inflater && i < image->workers; i++)
		inflater_free(image->inflater[i]);
	free(image->inflater);
}
