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
#include "door.h"
#include "flush.h"
#include "overlap.h"
#include "part.h"
#include "shrink.h"
#include "sync.h"
#include "writeback.h"

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

/* --- what the allocator does for us ---------------------------------------------------------------- */

void resize_order(struct image *image, enum resize_order what)
{
	image->resize.order = what;
	waitq_wake(&image->alloc.idle);
}

bool resize_is_due(struct image *image)
{
	enum resize_order what = image->resize.order;

	return what && (what != RESIZE_EMPTY || image_broken(image) || door_all_left(image));
}

void resize_answer(struct image *image, int err)
{
	if (image->resize.order == RESIZE_EMPTY)
		door_waited(image);
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

void resize_announce(struct image *image)
{
	const struct resize *resize = &image->resize;
	struct arena_header *header = image->arena.header;
	struct alloc *alloc = &image->alloc;
	struct release *old = &alloc->old_l1;
	const struct node *top = &image->top;

	if (!resize->moving) {
		if (!mutant(SIZE_NOT_MARKED))
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
	writeback_lazily_locked(image); /* it may have fired meanwhile */
	waitq_wake(&flush->starved);
	waitq_wake(&flush->waiters);
}

static void child_done(struct req *req)
{
	struct resize *resize = container_of(req, struct resize, req);

	task_child_done(&resize->task, req->result);
}

void resize_start_child(struct image *image, const struct machine *machine, enum req_op op,
			uint64_t from, uint64_t to)
{
	struct resize *resize = &image->resize;

	resize->req = (struct req){
		.op = op,
		.guest = { from },
		.len = to - from,
		.done = child_done,
	};
	resize->task.inflight++;
	part_queue(image, resize->task.lane, &resize->req, machine);
}

void resize_set_end(struct image *image, uint64_t bytes)
{
	struct node *top = &image->top;

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
		resize_order(image, RESIZE_SPACE);
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
		resize_announce(image);
		CRITICAL(&image->alloc.lock);
		resize_order(image, RESIZE_HEADER);
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
		/* The engine's disk ends there now, and the guest's not yet. */
		resize_set_end(image, resize->bytes);
		if (mutant(NO_GROWTH_ZEROS))
			return go(t, S_SIZE);
		resize_start_child(image, &zero_machine, REQ_WRITE_ZEROES, image_disk_bytes(image),
				   resize->bytes);
		return await_io(t, S_FLUSH);

	case S_FLUSH:
		if (t->err)
			return go(t, S_END);
		if (!mutant(SIZE_BEFORE_ZEROS))
			resize_start_child(image, &flush_machine, REQ_FLUSH, 0, 0);
		return await_io(t, S_SIZE);

	case S_SIZE: {
		if (t->err)
			return go(t, S_END);
		resize_announce(image);
		CRITICAL(&image->alloc.lock);
		resize_order(image, RESIZE_HEADER);
		return go(t, S_SIZED);
	}
	case S_SIZED: {
		CRITICAL(&image->alloc.lock);
		if (resize->order)
			return park(t, &resize->answered, S_SIZED);
		t->err = resize->answer;
		return go(t, S_END);
	}
	case S_END:
		resize_end(image, t->err);
		return STEP_DONE;
	}
	abort();
}

static const struct machine resize_machine = { "resize", resize_step, resize_states };

void resize_begin(struct image *image, uint64_t bytes, void (*done)(void *arg, int err), void *arg)
{
	struct resize *resize = &image->resize;

	must(!resize->busy);
	must(!image->read_only);
	resize->busy = true;
	resize->bytes = bytes;
	resize->bytes_before = image_disk_bytes(image);
	resize->moving = false;
	resize->sync_wait.asked = false;
	resize->done = done;
	resize->arg = arg;
}

void resize_end(struct image *image, int err)
{
	struct resize *resize = &image->resize;

	CRITICAL(&image->alloc.lock);
	resize->busy = false;
	waitq_wake(&resize->ended);
	resize->done(resize->arg, err);
}

void image_resize_start(struct image *image, uint64_t bytes, void (*done)(void *arg, int err),
			void *arg)
{
	struct resize *resize = &image->resize;
	uint64_t entries = resize_l1_entries(&image->top.geo, bytes);

	if (bytes == image_disk_bytes(image)) {
		done(arg, 0);
		return;
	}
	if (bytes < image_disk_bytes(image)) {
		shrink_start(image, bytes, done, arg);
		return;
	}
	must(resize_has_room(image, bytes));
	resize_begin(image, bytes, done, arg);
	resize->moving = entries > image->top.l1_entries;
	resize->l1_entries = (uint32_t)entries;
	resize->l1_clusters = (uint32_t)div_round_up(entries * sizeof(*image->top.l1),
						     image->top.geo.cluster_bytes);
	task_init(&resize->task, service_lane(image), &resize_machine, S_BEGIN);
	task_wake(&resize->task);
}

void resize_open(struct image *image)
{
	waitq_init(&image->resize.answered);
	waitq_init(&image->resize.ended);
}
