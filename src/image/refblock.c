/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Refcounts in memory: which pieces of refcount blocks are there, and how do others come?
 *
 * Increments are written before the clusters are handed out; decrements may wait, since a crash
 * only leaks what they would have freed (law 1).  So a dirty piece may be written at any time.  The
 * pieces are units of the arena: after a kill the next process goes on with them, to the last digit.
 */
#include "refblock.h"

#include "arena.h"

#include <errno.h>
#include <stdlib.h>

/*
 *	EVICT -> DONE READ~
 *	READ  -> DONE READY~
 *	READY -> DONE
 */
#define PIECE_LIST(s) s(P_EVICT) s(P_READ) s(P_READY) s(P_DONE)
MACHINE_STATES(piece, PIECE_LIST);

int piece_host(const struct image *image, uint64_t piece_index, struct host *host)
{
	const struct geometry *geo = &image->top.geo;
	const struct alloc *alloc = &image->alloc;
	unsigned bits = geo->refcount_block_bits - geo->slice_refcounts_bits;
	uint64_t block = piece_index >> bits;
	uint64_t nth = piece_index & ((UINT64_C(1) << bits) - 1);

	*host = (struct host){ 0 };
	if (block >= alloc->table_entries)
		return 0;

	int err = refcount_table_decode(geo, be64_get(alloc->table[block]), host);

	if (!err && host->byte)
		host->byte += nth << geo->slice_bits;
	return err;
}

static uint32_t unit(const struct image *image, const struct ref_piece *piece)
{
	return unit_of_piece(&image->arena, (uint32_t)(piece - image->alloc.piece));
}

static void piece_io(struct image *image, struct task *task, struct ref_piece *piece, enum io_op op)
{
	struct host host;

	must(piece_host(image, piece->index, &host) == 0);
	must(host.byte != 0);
	io_start(task, &piece->io, op, image->top.file->index, span_memory(piece->bytes), host,
		 image->top.geo.slice_bytes);
}

static void piece_write(struct image *image, struct task *task, struct ref_piece *piece)
{
	arena_writing(&image->arena, unit(image, piece), piece->bytes, image->top.geo.slice_bytes);
	piece_io(image, task, piece, IO_WRITE);
}

static void piece_written(struct image *image, struct ref_piece *piece)
{
	if (piece->dirty)
		arena_written(&image->arena, unit(image, piece), false);
	piece->dirty = false;
}

static enum step piece_step(struct task *t)
{
	struct piece_load *load = container_of(t, struct piece_load, task);
	struct image *image = container_of(load, struct image, alloc.load);
	struct ref_piece *piece = load->piece;

	switch (t->state) {
	case P_EVICT:
		if (image_broken(image))
			return fail(t, -EIO, P_DONE);
		if (piece->dirty)
			piece_write(image, t, piece);
		return await_io(t, P_READ);

	case P_READ:
		if (t->err)
			return go(t, P_DONE);
		piece_written(image, piece);
		piece->index = load->index;
		piece_io(image, t, piece, IO_READ);
		count(&image->counters.slice_loads, 1);
		return await_io(t, P_READY);

	case P_READY:
		if (t->err)
			piece->index = SLICE_NONE;
		return go(t, P_DONE);

	case P_DONE:
		task_child_done(load->parent, t->err);
		return STEP_DONE;
	}
	abort();
}

static const struct machine piece_machine = { "piece", piece_step, piece_states };

static void start_load(struct image *image, uint64_t index)
{
	struct alloc *alloc = &image->alloc;
	struct piece_load *load = &alloc->load;
	struct ref_piece *oldest = &alloc->piece[0];

	for (unsigned i = 1; i < REF_PIECES; i++)
		if (alloc->piece[i].used < oldest->used)
			oldest = &alloc->piece[i];
	load->piece = oldest;
	load->index = index;
	load->parent = &alloc->task;
	alloc->task.inflight++;
	task_init(&load->task, alloc->task.lane, &piece_machine, P_EVICT);
	task_wake(&load->task);
}

struct ref_piece *piece_cached(struct image *image, uint64_t index)
{
	for (unsigned i = 0; i < REF_PIECES; i++)
		if (image->alloc.piece[i].index == index)
			return &image->alloc.piece[i];
	return NULL;
}

void piece_adopt(struct image *image, uint32_t nth, uint64_t index, const void *file,
		 const void *bytes)
{
	struct ref_piece *piece = &image->alloc.piece[nth];

	piece->index = index;
	piece->used = ++image->alloc.clock;
	piece->dirty = true;
	arena_mark(&image->arena, unit(image, piece), index, file, image->top.geo.slice_bytes);
	memcpy(piece->bytes, bytes, image->top.geo.slice_bytes);
}

enum piece_kind piece_get(struct image *image, uint64_t cluster, struct ref_piece **piece)
{
	struct alloc *alloc = &image->alloc;
	uint64_t index = cluster >> image->top.geo.slice_refcounts_bits;
	struct host host;

	*piece = piece_cached(image, index);
	if (*piece) {
		(*piece)->used = ++alloc->clock;
		return PIECE_READY;
	}
	if (piece_host(image, index, &host))
		return PIECE_BAD;
	if (!host.byte)
		return PIECE_NO_BLOCK;
	start_load(image, index);
	return PIECE_LOADING;
}

static uint32_t slot(const struct image *image, uint64_t cluster)
{
	return (uint32_t)(cluster & ((UINT64_C(1) << image->top.geo.slice_refcounts_bits) - 1));
}

uint64_t piece_refcount(const struct image *image, const struct ref_piece *piece, uint64_t cluster)
{
	return refcount_get(piece->bytes, image->top.geo.refcount_order, slot(image, cluster));
}

void piece_set(struct image *image, struct ref_piece *piece, uint64_t cluster, uint64_t refcount)
{
	arena_mark(&image->arena, unit(image, piece), piece->index, piece->bytes,
		   image->top.geo.slice_bytes);
	kill_point();
	refcount_set(piece->bytes, image->top.geo.refcount_order, slot(image, cluster), refcount);
	piece->dirty = true;
}

void pieces_write(struct image *image)
{
	struct alloc *alloc = &image->alloc;

	for (unsigned i = 0; i < REF_PIECES; i++) {
		struct ref_piece *piece = &alloc->piece[i];

		if (piece->dirty)
			piece_write(image, &alloc->task, piece);
	}
}

void pieces_written(struct image *image)
{
	for (unsigned i = 0; i < REF_PIECES; i++)
		piece_written(image, &image->alloc.piece[i]);
}

int refblock_open(struct image *image)
{
	struct alloc *alloc = &image->alloc;
	size_t bytes = image->top.geo.slice_bytes;

	for (unsigned i = 0; i < REF_PIECES; i++) {
		alloc->piece[i].bytes = image->arena.pieces + i * bytes;
		alloc->piece[i].index = SLICE_NONE;
	}
	alloc->grow.bounce = aligned_alloc(LIMIT_SLICE_BYTES, round_up(bytes, LIMIT_SLICE_BYTES));
	return alloc->grow.bounce ? 0 : -ENOMEM;
}

void refblock_free(struct image *image)
{
	free(image->alloc.grow.bounce);
}
