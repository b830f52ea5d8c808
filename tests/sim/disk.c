/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host's file between power cuts. */
#include "disk.h"

#include "fate.h"
#include "memory.h"

#include <stdlib.h>

void disk_init(struct disk *disk)
{
	*disk = (struct disk){
		.touched = reserve_zeroed((SPARSE_MAX >> PAGE_SHIFT) * sizeof(*disk->touched)),
		.is_touched = reserve_zeroed(SPARSE_MAX >> PAGE_SHIFT),
	};
	sparse_init(&disk->visible);
	sparse_init(&disk->durable);
}

static void forget_ops(struct disk *disk, uint32_t from)
{
	for (uint32_t i = from; i < disk->ops; i++)
		free(disk->op[i]);
	disk->ops = from;
}

static void forget_touched(struct disk *disk)
{
	for (uint64_t i = 0; i < disk->ntouched; i++)
		disk->is_touched[disk->touched[i]] = 0;
	disk->ntouched = 0;
}

void disk_reset(struct disk *disk)
{
	forget_ops(disk, 0);
	forget_touched(disk);
	sparse_reset(&disk->visible);
	sparse_reset(&disk->durable);
	disk->clock = disk->syncs = 0;
	disk->limit = SPARSE_MAX;
}

static void touch(struct disk *disk, uint64_t off, uint64_t len)
{
	/* A hole may lie anywhere. */
	len = off < SPARSE_MAX ? min_u64(len, SPARSE_MAX - off) : 0;
	if (len == 0)
		return;
	for (uint64_t page = off >> PAGE_SHIFT; page <= (off + len - 1) >> PAGE_SHIFT; page++) {
		if (disk->is_touched[page])
			continue;
		disk->is_touched[page] = 1;
		disk->touched[disk->ntouched++] = page;
	}
}

/* The pages that an operation changes; before it is done, because of the size. */
static void touch_op(struct disk *disk, const struct sparse *bytes, const struct hostop *op)
{
	if (op->kind != HOSTOP_TRUNCATE)
		touch(disk, op->off, op->len);
	else if (op->off < bytes->size)
		touch(disk, op->off, bytes->size - op->off);
}

static void equalise(struct disk *disk, struct sparse *to, const struct sparse *from)
{
	for (uint64_t i = 0; i < disk->ntouched; i++)
		sparse_copy_page(to, from, disk->touched[i]);
	to->size = from->size;
	forget_touched(disk);
}

void disk_settle(struct disk *disk)
{
	equalise(disk, &disk->durable, &disk->visible);
	forget_ops(disk, 0);
}

struct hostop *hostop_make(enum hostop_kind kind, uint64_t off, uint64_t len, const void *data)
{
	uint64_t bytes = kind == HOSTOP_WRITE ? len : 0;
	struct hostop *op = xmalloc(sizeof(*op) + bytes);

	*op = (struct hostop){ .kind = kind, .off = off, .len = len, .completed = NEVER };
	if (bytes)
		memcpy(op->data, data, bytes);
	return op;
}

void disk_append(struct disk *disk, struct hostop *op)
{
	if (disk->ops == disk->room) {
		disk->room = disk->room ? 2 * disk->room : 256;
		disk->op = xrealloc(disk->op, disk->room * sizeof(struct hostop *));
	}
	disk->op[disk->ops++] = op;
}

void disk_do(struct disk *disk, struct hostop *op)
{
	touch_op(disk, &disk->visible, op);
	hostop_apply(&disk->visible, op);
	disk_append(disk, op);
}

void disk_completed(struct disk *disk, struct hostop *op)
{
	op->completed = disk->clock++;
}

uint64_t disk_sync_begin(struct disk *disk)
{
	return disk->clock++;
}

static bool overlap(const struct hostop *a, const struct hostop *b)
{
	if (a->kind == HOSTOP_TRUNCATE || b->kind == HOSTOP_TRUNCATE)
		return true;
	return a->off < b->off + b->len && b->off < a->off + a->len;
}

/*
 * Besides what had completed, a sync takes along what lies below it: the host keeps one copy of
 * a byte, so that what was overwritten cannot come back.  Which of the operations, by index.
 */
static const bool *find_covered(const struct disk *disk, uint64_t begun)
{
	static bool *covered;
	static uint32_t room;

	if (room < disk->ops) {
		room = disk->room;
		covered = xrealloc(covered, room * sizeof(*covered));
	}
	for (uint32_t i = disk->ops; i-- > 0;) {
		const struct hostop *op = disk->op[i];

		covered[i] = op->completed < begun;
		for (uint32_t k = i + 1; k < disk->ops && !covered[i]; k++)
			covered[i] = covered[k] && overlap(op, disk->op[k]);
	}
	return covered;
}

/* The size survives a failed fsync: the journal that holds it is not what failed. */
void disk_sync_end(struct disk *disk, uint64_t begun, bool failed, struct rng *rng)
{
	struct fate fate = {
		.keep_percent = failed ? 50 : 100, .tear = true, .grow = true, .rng = rng
	};
	uint32_t left = 0;
	const bool *covered = find_covered(disk, begun);

	disk->syncs++;
	for (uint32_t i = 0; i < disk->ops; i++) {
		struct hostop *op = disk->op[i];

		if (covered[i])
			hostop_apply_some(&disk->durable, op, fate);
		if (covered[i] && op->completed != NEVER) {
			free(op);
		} else {
			/* Who has it in flight will still say that it has completed. */
			op->spent = op->spent || covered[i];
			disk->op[left++] = op;
		}
	}
	disk->ops = left;
}

void disk_write_back_fails(struct disk *disk, struct rng *rng)
{
	struct fate fate = { .keep_percent = 50, .tear = true, .grow = true, .rng = rng };
	uint32_t left = 0;

	for (uint32_t i = 0; i < disk->ops; i++) {
		struct hostop *op = disk->op[i];

		hostop_apply_some(&disk->durable, op, fate);
		if (op->completed != NEVER) {
			free(op);
		} else {
			op->spent = true;
			disk->op[left++] = op;
		}
	}
	disk->ops = left;
}

/* --- power cuts ----------------------------------------------------------------------------- */

/* Extremes find more than the middle: all, none, all but one, only one, only what points at it. */
struct cut cut_draw(const struct disk *disk, struct rng *rng)
{
	static const uint32_t percent[][2] = {
		{ 0, 0 },   { 0, 0 },	{ 100, 100 }, { 100, 100 }, { 50, 50 },
		{ 10, 10 }, { 90, 90 }, { 100, 0 },   { 90, 0 },    { 0, 100 },
	};
	unsigned kind = rng_below(rng, ARRAY_SIZE(percent));
	struct cut cut = {
		.keep_percent = percent[kind][0],
		.keep_guest_percent = percent[kind][1],
		.tear = rng_one_in(rng, 2),
		.special = UINT32_MAX,
	};

	if (disk->ops && rng_one_in(rng, 2))
		cut.special = rng_below(rng, disk->ops);
	return cut;
}

static void survive(struct disk *disk, struct cut cut, struct rng *rng)
{
	for (uint32_t i = 0; i < disk->ops; i++) {
		const struct hostop *op = disk->op[i];
		uint32_t percent = op->guest ? cut.keep_guest_percent : cut.keep_percent;
		struct fate fate = { .keep_percent = percent, .tear = cut.tear, .rng = rng };

		if (i == cut.special)
			fate.keep_percent = percent >= 50 ? 0 : 100;
		touch_op(disk, &disk->durable, op);
		hostop_apply_some(&disk->durable, op, fate);
	}
}

void disk_power_cut(struct disk *disk, struct cut cut, struct rng *rng)
{
	survive(disk, cut, rng);
	forget_ops(disk, 0);
	equalise(disk, &disk->visible, &disk->durable);
}

void disk_peek_begin(struct disk *disk, struct cut cut, struct rng *rng)
{
	sparse_undo_begin(&disk->durable);
	survive(disk, cut, rng);
}

void disk_peek_end(struct disk *disk, uint32_t keep_ops)
{
	sparse_undo(&disk->durable);
	forget_ops(disk, keep_ops);
}

/* --- piece by piece ------------------------------------------------------------------------------ */

uint32_t disk_pieces(const struct disk *disk, struct piece *piece, uint32_t max)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < disk->ops; i++) {
		const struct hostop *op = disk->op[i];
		uint64_t unit = op->kind == HOSTOP_WRITE ? SECTOR_SIZE : PAGE_BYTES;
		uint64_t at = op->off, end = op->off + op->len;

		if (op->spent)
			continue;
		if (op->kind == HOSTOP_TRUNCATE || op->forced)
			unit = UINT64_MAX;
		do {
			uint64_t len = min_u64(end - at, unit - at % unit);

			if (n < max)
				piece[n] = (struct piece){ op, at, len };
			n++;
			at += len;
		} while (at < end);
	}
	return n;
}

static void piece_apply(struct sparse *bytes, const struct piece *piece)
{
	const struct hostop *op = piece->op;

	switch (op->kind) {
	case HOSTOP_WRITE:
		sparse_write(bytes, piece->off, op->data + (piece->off - op->off), piece->len);
		break;
	case HOSTOP_PUNCH:
		sparse_punch(bytes, piece->off, piece->len);
		break;
	case HOSTOP_TRUNCATE:
		sparse_resize(bytes, op->off);
		break;
	}
}

void disk_peek_pieces(struct disk *disk, const struct piece *piece, uint32_t pieces,
		      const bool *survives)
{
	sparse_undo_begin(&disk->durable);
	for (uint32_t i = 0; i < pieces; i++) {
		if (!survives[i] && !piece[i].op->forced)
			continue;
		touch_op(disk, &disk->durable, piece[i].op);
		piece_apply(&disk->durable, &piece[i]);
	}
}

void disk_drop(struct disk *disk, uint32_t keep_ops)
{
	forget_ops(disk, keep_ops);
}

void disk_peek_stays(struct disk *disk)
{
	sparse_undo_forget(&disk->durable);
	forget_ops(disk, 0);
	equalise(disk, &disk->visible, &disk->durable);
}
