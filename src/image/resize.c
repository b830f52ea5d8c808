/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A larger disk, while requests run.
 *
 * First a larger L1 table, if it takes one, in new clusters: they are counted, then the table is
 * durable, then the header names it, then the old one's clusters are free (laws 1, 3, 4).  While it
 * moves no flush runs, and nothing is linked in it, so that it is the same in both places.
 *
 * Then the new end of the disk is made to read as zeros, whatever another program has left there, or
 * a longer layer below has; and only when all of that is durable, the header gets the size.  Up to
 * then a crash leaves the disk as it was, and nobody can ask for what is behind its end.
 */
#include "resize.h"

#include "arena.h"
#include "flush.h"
#include "overlap.h"
#include "part.h"
#include "sync.h"

#include <errno.h>
#include <stdlib.h>

/*
 *	BEGIN      -> END ORDER GROW
 *	ORDER      -> SPACE
 *	SPACE      -> SPACE* BACK GATE
 *	GATE       -> BACK GATE* TABLE
 *	TABLE      -> TABLE_SYNC~
 *	TABLE_SYNC -> OPEN NAME TABLE_SYNCED~
 *	TABLE_SYNCED -> TABLE_BELIEVE
 *	TABLE_BELIEVE -> TABLE_BELIEVE* OPEN NAME
 *	NAME       -> NAMED
 *	NAMED      -> NAMED* OPEN
 *	OPEN       -> BACK GROW
 *	BACK       -> END
 *	GROW       -> SIZE FLUSH~
 *	FLUSH      -> END SIZE~
 *	SIZE       -> END SIZED
 *	SIZED      -> SIZED* END
 *	END        -> DONE
 */
#define RESIZE_LIST(s) \
	s(S_BEGIN) s(S_ORDER) s(S_SPACE) s(S_GATE) s(S_TABLE) s(S_TABLE_SYNC) s(S_TABLE_SYNCED) \
		s(S_TABLE_BELIEVE) s(S_NAME) s(S_NAMED) s(S_OPEN) s(S_BACK) s(S_GROW) s(S_FLUSH) \
			s(S_SIZE) s(S_SIZED) s(S_END)
MACHINE_STATES(resize, RESIZE_LIST);

/* --- how large? ---------------------------------------------------------------------------------- */

static uint64_t entries_for(const struct geometry *geo, uint64_t bytes)
{
	return div_round_up(bytes, UINT64_C(1) << (geo->cluster_bits + geo->l2_bits));
}

uint64_t resize_most(const struct node *top, uint64_t size_most)
{
	return size_most ? max_u64(size_most, 2 * top->geo.size_bytes) : 0;
}

uint64_t resize_l1_room(const struct node *top, uint64_t size_most)
{
	uint64_t wanted = resize_most(top, size_most);
	uint64_t bytes = min_u64(entries_for(&top->geo, wanted), LIMIT_L1_ROOM / sizeof(*top->l1)) *
			 sizeof(*top->l1);

	return round_up(max_u64(bytes, top->l1_bytes), L1_BLOCK_BYTES);
}

uint64_t resize_slices(const struct image *image, uint64_t size_most)
{
	const struct geometry *geo = &image->top.geo;
	uint64_t entries = image->arena.l1_room / sizeof(*image->top.l1);

	return size_most ? entries << (geo->cluster_bits - geo->slice_bits) : 0;
}

/* Is there memory for all of its tables? */
static bool is_room(const struct image *image, uint64_t bytes)
{
	const struct node *top = &image->top;
	unsigned covered_bits = top->geo.cluster_bits + top->geo.slice_entries_bits;

	return bytes <= LIMIT_HOST_OFFSET &&
	       entries_for(&top->geo, bytes) * sizeof(*top->l1) <= image->arena.l1_room &&
	       div_round_up(bytes, UINT64_C(1) << covered_bits) <= top->cache.directory_entries;
}

static int refuse(const struct image *image, int err, const char *what, struct why *why)
{
	return why_set(why, err, "%s: %s", image->top.file->name, what);
}

/* What the image is, and stays. */
static int check_kind(const struct image *image, struct why *why)
{
	const struct node *top = &image->top;

	if (image->read_only)
		return refuse(image, -EROFS, "is served read-only and cannot be resized", why);
	if (image_broken(image))
		return refuse(image, -EIO, "nothing is written to it any more, after an error",
			      why);
	if (top->data_raw)
		return refuse(image, -ENOTSUP,
			      "has a raw external data file; resize it with qemu-img when it is not "
			      "served",
			      why);
	if (top->bitmaps.bitmaps && top->header.autoclear & QCOW2_BITMAPS)
		return refuse(image, -ENOTSUP,
			      "has persistent bitmaps, which would be of another size; remove them "
			      "with qemu-img bitmap --remove",
			      why);
	if (top->header.snapshots && top->geo.version < 3)
		return refuse(image, -ENOTSUP,
			      "is of version 2 and has internal snapshots, which do not say how "
			      "large the disk was; convert it with qemu-img amend -o compat=1.1",
			      why);
	if (image->snapshots_incomplete)
		return refuse(image, -ENOTSUP,
			      "has internal snapshots that do not say how large the disk was; "
			      "repair them with qcow2-ublkd check --repair all",
			      why);
	return 0;
}

/* Is there something to grow into? */
static int check_room(const struct image *image, uint64_t bytes, struct why *why)
{
	const struct node *top = &image->top;
	const struct geometry *geo = &top->geo;
	uint64_t entries = entries_for(geo, bytes);
	uint64_t clusters = div_round_up(entries * sizeof(*top->l1), geo->cluster_bytes);

	if (!is_room(image, bytes))
		return refuse(image, -EFBIG,
			      "that is more than there is room for while it is served; resize it "
			      "with qemu-img when it is not",
			      why);
	if (geo->data_apart && top->data->fixed_size && top->data->size < bytes)
		return refuse(image, -EFBIG, "its data file is a device, and that is too small",
			      why);
	if (entries > top->l1_entries && (clusters >= UINT64_C(1) << geo->slice_refcounts_bits ||
					  image->resize.moves == RESIZE_MOVES_MOST))
		return refuse(image, -EFBIG,
			      "the L1 table that this takes cannot be made while it is served; "
			      "resize it with qemu-img when it is not",
			      why);
	if (geo->version < 3 && top->below && node_bytes(top->below) > image_disk_bytes(image))
		return refuse(image, -ENOTSUP,
			      "is of version 2, and its backing file is longer than the disk: that "
			      "the new end is zeros cannot be said; convert it with qemu-img amend "
			      "-o compat=1.1",
			      why);
	return 0;
}

int image_resize_check(const struct image *image, uint64_t bytes, struct why *why)
{
	uint64_t now = image_disk_bytes(image);
	int err = check_kind(image, why);

	if (err)
		return err;
	if (!bytes || !is_aligned(bytes, SECTOR_SIZE))
		return refuse(image, -EINVAL, "a disk's size is a multiple of 512 bytes", why);
	if (bytes < now)
		return refuse(image, -ENOTSUP,
			      "cannot become smaller while it is served; stop it, and use qemu-img "
			      "resize --shrink",
			      why);
	return bytes == now ? 0 : check_room(image, bytes, why);
}

/* --- what the allocator does for us ---------------------------------------------------------------- */

/* Under alloc->lock. */
static void order(struct image *image, enum resize_order what)
{
	image->resize.order = what;
	waitq_wake(&image->alloc.idle);
}

void resize_answer(struct image *image, int err)
{
	image->resize.order = RESIZE_NOTHING;
	image->resize.answer = err;
	waitq_wake(&image->resize.answered);
}

bool resize_take_unused(struct image *image)
{
	struct alloc *alloc = &image->alloc;

	if (!image->resize.unused)
		return false;
	image->resize.unused = false;
	count(&image->counters.clusters_dropped, alloc->new_l1.count);
	list_add_tail(&alloc->work, &alloc->new_l1.link);
	return true;
}

/* What a header may say from now on, as who comes after a kill is to find it. */
static void announce(struct image *image)
{
	const struct resize *resize = &image->resize;
	struct arena_header *header = image->arena.header;
	struct alloc *alloc = &image->alloc;
	struct release *old = &alloc->old_l1;
	const struct node *top = &image->top;

	if (!resize->moving) {
		arena_set(&header->disk_bytes[ARENA_NEXT], resize->bytes);
		return;
	}
	old->cluster = host_cluster(&top->geo, top->header.l1);
	old->count = (uint32_t)div_round_up((uint64_t)top->l1_entries * sizeof(*top->l1),
					    top->geo.cluster_bytes);
	old->where = where_make(alloc->new_l1.cluster, WHERE_NOT);
	arena_set_release(old);
	if (mutant(MOVE_NOT_MARKED))
		return;
	arena_set(&header->l1_host[ARENA_NEXT],
		  cluster_host(&top->geo, alloc->new_l1.cluster).byte);
	arena_set(&header->l1_entries[ARENA_NEXT], resize->l1_entries);
}

void resize_start_header(struct image *image)
{
	struct resize *resize = &image->resize;
	struct node *top = &image->top;
	struct be64 bytes = be64_make(resize->bytes);
	struct be32 entries = be32_make(resize->l1_entries);
	struct be64 host = be64_make(cluster_host(&top->geo, image->alloc.new_l1.cluster).byte);

	if (resize->moving) {
		memcpy(top->header_sector + QCOW2_AT_L1, &entries, sizeof(entries));
		memcpy(top->header_sector + QCOW2_AT_L1 + sizeof(entries), &host, sizeof(host));
	} else {
		memcpy(top->header_sector + QCOW2_AT_SIZE, &bytes, sizeof(bytes));
	}
	io_start(&image->alloc.task, &image->alloc.io[0], IO_WRITE, top->file->index,
		 span_memory(top->header_sector), (struct host){ 0 }, SECTOR_SIZE);
}

/* The file has all that was linked in the table, and it stays so until the next link. */
static void table_is_clean(struct image *image)
{
	struct flush *flush = &image->flush;

	for (uint32_t i = 0; i < image->arena.l1_blocks; i++) {
		if (!flush->l1_dirty[i])
			continue;
		flush->l1_dirty[i] = 0;
		flush->l1_dirty_count--;
		arena_written(&image->arena, unit_of_l1(&image->arena, i), false);
	}
	must(flush->l1_dirty_count == 0);
}

/* The header names the new table. */
static void switch_table(struct image *image)
{
	struct alloc *alloc = &image->alloc;
	struct arena_header *header = image->arena.header;
	struct release *old = &alloc->old_l1, *new = &alloc->new_l1;
	struct node *top = &image->top;

	top->header.l1 = cluster_host(&top->geo, new->cluster);
	top->l1_entries = image->resize.l1_entries;
	top->l1_bytes = round_up((uint64_t)top->l1_entries * sizeof(*top->l1), SECTOR_SIZE);
	table_is_clean(image);
	arena_set(&header->l1_host[ARENA_NOW], top->header.l1.byte);
	arena_set(&header->l1_entries[ARENA_NOW], top->l1_entries);
	overlap_remove(image, old->cluster, old->count);
	overlap_add(image, new->cluster, new->count);
	new->count = 0;
	arena_set_release(new);
	count(&image->counters.clusters_dropped, old->count);
	list_add_tail(&alloc->work, &old->link);
	image->resize.moves++;
}

void resize_header_durable(struct image *image)
{
	CRITICAL(&image->flush.lock);
	if (image->resize.moving) {
		switch_table(image);
		return;
	}
	arena_set(&image->arena.header->disk_bytes[ARENA_NOW], image->resize.bytes);
	atomic_store_explicit(&image->disk_bytes, image->resize.bytes, memory_order_release);
}

/* --- the machine ------------------------------------------------------------------------------------ */

/* From here on the table in memory is what the new one in the file is to be.  Under flush->lock. */
static void close_gate(struct image *image)
{
	struct flush *flush = &image->flush;

	flush->running = !mutant(FLUSH_DURING_MOVE);
	for (uint32_t i = 0; i < image->arena.l1_blocks; i++)
		if (flush->l1_dirty[i])
			arena_writing(&image->arena, unit_of_l1(&image->arena, i),
				      (const uint8_t *)image->top.l1 + (size_t)i * L1_BLOCK_BYTES,
				      L1_BLOCK_BYTES);
}

static void open_gate(struct image *image)
{
	struct flush *flush = &image->flush;

	flush->running = false;
	flush->l1_moving = false;
	waitq_wake(&flush->starved);
	waitq_wake(&flush->waiters);
}

static void child_done(struct req *req)
{
	struct resize *resize = container_of(req, struct resize, req);

	task_child_done(&resize->task, req->result);
}

static void start_child(struct image *image, enum req_op op)
{
	struct resize *resize = &image->resize;
	uint64_t from = image_disk_bytes(image);

	resize->req = (struct req){ .op = op, .done = child_done };
	if (op == REQ_WRITE_ZEROES) {
		resize->req.guest.byte = from;
		resize->req.len = resize->bytes - from;
	}
	resize->task.inflight++;
	part_queue(image, resize->task.lane, &resize->req);
}

/* The engine's disk ends there now, and the guest's not yet. */
static void raise_end(struct image *image)
{
	struct node *top = &image->top;
	uint64_t bytes = image->resize.bytes;

	if (top->below)
		atomic_store_explicit(&top->backed_bytes,
				      round_up(min_u64(node_bytes(top->below), bytes),
					       top->geo.cluster_bytes),
				      memory_order_release);
	atomic_store_explicit(&top->size_bytes, bytes, memory_order_release);
}

static enum step resize_step(struct task *t)
{
	struct resize *resize = container_of(t, struct resize, task);
	struct image *image = container_of(resize, struct image, resize);

	switch (t->state) {
	case S_BEGIN:
		if (image_broken(image))
			return fail(t, -EIO, S_END);
		return go(t, resize->moving ? S_ORDER : S_GROW);

	case S_ORDER: {
		CRITICAL(&image->alloc.lock);
		order(image, RESIZE_SPACE);
		return go(t, S_SPACE);
	}
	case S_SPACE: {
		CRITICAL(&image->alloc.lock);
		if (resize->order)
			return park(t, &resize->answered, S_SPACE);
		if (resize->answer)
			return fail(t, resize->answer, S_BACK);
		return go(t, S_GATE);
	}
	case S_GATE: {
		CRITICAL(&image->flush.lock);
		image->flush.l1_moving = !image_broken(image) && !mutant(LINK_DURING_MOVE);
		if (image_broken(image)) {
			waitq_wake(&image->flush.waiters);
			waitq_wake(&image->flush.starved);
			return fail(t, -EIO, S_BACK);
		}
		if (image->flush.running)
			return park(t, &image->flush.waiters, S_GATE);
		close_gate(image);
		return go(t, S_TABLE);
	}
	case S_TABLE:
		io_start(t, &resize->io, IO_WRITE, image->top.file->index,
			 span_memory(image->top.l1),
			 cluster_host(&image->top.geo, image->alloc.new_l1.cluster),
			 round_up((uint64_t)resize->l1_entries * sizeof(*image->top.l1),
				  SECTOR_SIZE));
		return await_io(t, S_TABLE_SYNC);

	case S_TABLE_SYNC:
		if (t->err)
			return go(t, S_OPEN);
		if (mutant(NO_L1_SYNC))
			return go(t, S_NAME);
		/* As the one who flushes. */
		sync_start(image, t, &resize->io, SYNC_FLUSH, SYNC_IMAGE);
		return await_io(t, S_TABLE_SYNCED);

	case S_TABLE_SYNCED:
		sync_end(image, t, SYNC_FLUSH);
		return go(t, S_TABLE_BELIEVE);

	case S_TABLE_BELIEVE: {
		CRITICAL(&image->flush.lock);
		if (!sync_believable(image, &resize->sync_wait))
			return park(t, &image->syncs.waiters, S_TABLE_BELIEVE);
		if (image_broken(image))
			return fail(t, -EIO, S_OPEN);
		return go(t, S_NAME);
	}
	case S_NAME: {
		announce(image);
		CRITICAL(&image->alloc.lock);
		order(image, RESIZE_HEADER);
		return go(t, S_NAMED);
	}
	case S_NAMED: {
		CRITICAL(&image->alloc.lock);
		if (resize->order)
			return park(t, &resize->answered, S_NAMED);
		t->err = resize->answer;
		return go(t, S_OPEN);
	}
	case S_OPEN: {
		CRITICAL(&image->flush.lock);
		resize->moving = false;
		open_gate(image);
		return go(t, t->err ? S_BACK : S_GROW);
	}
	case S_BACK: {
		/* When it broke, nobody knows which table the header names. */
		CRITICAL(&image->alloc.lock);
		resize->unused = image->alloc.new_l1.count > 0 && !image_broken(image);
		waitq_wake(&image->alloc.idle);
		return go(t, S_END);
	}
	case S_GROW:
		raise_end(image);
		if (mutant(NO_GROWTH_ZEROS))
			return go(t, S_SIZE);
		start_child(image, REQ_WRITE_ZEROES);
		return await_io(t, S_FLUSH);

	case S_FLUSH:
		if (t->err)
			return go(t, S_END);
		if (!mutant(SIZE_BEFORE_ZEROS))
			start_child(image, REQ_FLUSH);
		return await_io(t, S_SIZE);

	case S_SIZE: {
		if (t->err)
			return go(t, S_END);
		announce(image);
		CRITICAL(&image->alloc.lock);
		order(image, RESIZE_HEADER);
		return go(t, S_SIZED);
	}
	case S_SIZED: {
		CRITICAL(&image->alloc.lock);
		if (resize->order)
			return park(t, &resize->answered, S_SIZED);
		t->err = resize->answer;
		return go(t, S_END);
	}
	case S_END: {
		CRITICAL(&image->alloc.lock);
		resize->busy = false;
		waitq_wake(&resize->ended);
		resize->done(resize->arg, t->err);
		return STEP_DONE;
	}
	}
	abort();
}

static const struct machine resize_machine = { "resize", resize_step, resize_states };

void image_resize_start(struct image *image, uint64_t bytes, void (*done)(void *arg, int err),
			void *arg)
{
	struct resize *resize = &image->resize;
	uint64_t entries = entries_for(&image->top.geo, bytes);

	must(!resize->busy);
	must(!image->read_only);
	if (bytes == image_disk_bytes(image)) {
		done(arg, 0);
		return;
	}
	must(bytes > image_disk_bytes(image));
	must(is_room(image, bytes));
	resize->busy = true;
	resize->bytes = bytes;
	resize->moving = entries > image->top.l1_entries;
	resize->l1_entries = (uint32_t)entries;
	resize->l1_clusters = (uint32_t)div_round_up(entries * sizeof(*image->top.l1),
						     image->top.geo.cluster_bytes);
	resize->sync_wait.asked = false;
	resize->done = done;
	resize->arg = arg;
	task_init(&resize->task, service_lane(image), &resize_machine, S_BEGIN);
	task_wake(&resize->task);
}

void resize_open(struct image *image)
{
	waitq_init(&image->resize.answered);
	waitq_init(&image->resize.ended);
}
