/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What may be in which sector, and how large files may be. */
#include "doubted.h"

#include "memory.h"

struct doubts doubts;

void *doubts_room(void *array, uint32_t *room, uint32_t needed, size_t bytes)
{
	if (needed <= *room)
		return array;
	*room = 2 * needed + 64;
	return xrealloc(array, *room * bytes);
}

/* --- contents -------------------------------------------------------------------------------------- */

static uint32_t content_add(void)
{
	doubts.content =
		doubts_room(doubts.content, &doubts.content_room, doubts.contents + 1, SECTOR_SIZE);
	return doubts.contents++;
}

static void overlay(uint8_t *content, uint64_t sector, const struct piece *piece)
{
	uint64_t start = sector * SECTOR_SIZE, from = max_u64(start, piece->off);
	uint64_t end = min_u64(start + SECTOR_SIZE, piece->off + piece->len);

	switch (piece->op->kind) {
	case HOSTOP_WRITE:
		memcpy(content + (from - start), piece->op->data + (from - piece->op->off),
		       end - from);
		break;
	case HOSTOP_PUNCH:
		memset(content + (from - start), 0, end - from);
		break;
	case HOSTOP_TRUNCATE:
		memset(content + (from - start), 0, start + SECTOR_SIZE - from);
		break;
	}
}

/* Of those from @first on, the last one goes if it is not new. */
static void drop_double(uint32_t first)
{
	for (uint32_t i = first; i + 1 < doubts.contents; i++)
		if (memcmp(doubts.content[i], doubts.content[doubts.contents - 1], SECTOR_SIZE) ==
		    0) {
			doubts.contents--;
			return;
		}
}

static void overlay_all(const struct doubt *doubt, uint32_t first, const struct piece *piece)
{
	uint32_t end = doubts.contents;

	doubts.contents = first;
	for (uint32_t i = first; i < end; i++) {
		overlay(doubts.content[i], doubt->sector, piece);
		memmove(doubts.content[doubts.contents++], doubts.content[i], SECTOR_SIZE);
		drop_double(first);
	}
}

static void overlay_perhaps(const struct doubt *doubt, uint32_t first, const struct piece *piece)
{
	uint32_t end = doubts.contents;

	for (uint32_t i = first; i < end; i++) {
		uint32_t with = content_add();

		memcpy(doubts.content[with], doubts.content[i], SECTOR_SIZE);
		overlay(doubts.content[with], doubt->sector, piece);
		drop_double(first);
	}
}

uint32_t doubts_list(const struct doubt *doubt)
{
	uint32_t first = content_add();

	memcpy(doubts.content[first], doubts.content[doubt->base], SECTOR_SIZE);
	for (uint32_t i = doubt->first; i != NOTHING; i = doubts.touch[i].next) {
		const struct piece *piece = &doubts.files.piece[doubts.touch[i].piece];

		switch (doubts.fate[doubts.touch[i].piece]) {
		case FATE_OPEN:
			overlay_perhaps(doubt, first, piece);
			break;
		case FATE_KEPT:
			overlay_all(doubt, first, piece);
			break;
		case FATE_LOST:
			break;
		}
		must(doubts.contents - first <= MOST_CONTENTS);
	}
	return first;
}

/* --- which sectors ---------------------------------------------------------------------------------- */

static struct doubt *doubt_at(struct file *file, uint64_t sector)
{
	uint32_t base;

	if (file->doubt[sector])
		return &doubts.doubt[file->doubt[sector] - 1];
	base = content_add();
	sparse_read(file->bytes, sector * SECTOR_SIZE, doubts.content[base], SECTOR_SIZE);
	doubts.doubt = doubts_room(doubts.doubt, &doubts.doubt_room, doubts.doubts + 1,
				   sizeof(*doubts.doubt));
	doubts.doubt[doubts.doubts] = (struct doubt){
		.file = file, .sector = sector, .first = NOTHING, .last = NOTHING, .base = base
	};
	file->doubt[sector] = ++doubts.doubts;
	return &doubts.doubt[doubts.doubts - 1];
}

static void touch_sector(struct file *file, uint64_t sector, uint32_t piece)
{
	struct doubt *doubt = doubt_at(file, sector);

	doubts.touch = doubts_room(doubts.touch, &doubts.touch_room, doubts.touches + 1,
				   sizeof(*doubts.touch));
	doubts.touch[doubts.touches] = (struct touch){ .piece = piece, .next = NOTHING };
	if (doubt->last == NOTHING)
		doubt->first = doubts.touches;
	else
		doubts.touch[doubt->last].next = doubts.touches;
	doubt->last = doubts.touches++;
	doubt->holes |= doubts.files.piece[piece].op->kind == HOSTOP_PUNCH;
}

/* Whatever there is behind the new end. */
static void touch_behind(struct file *file, uint32_t piece)
{
	uint64_t from = doubts.files.piece[piece].off,
		 before = min_u64(file->bytes->size, file->size);

	for (uint64_t at = round_down(from, SECTOR_SIZE); at < before; at += SECTOR_SIZE)
		doubt_at(file, at / SECTOR_SIZE);
	for (uint32_t i = 0; i < doubts.doubts; i++)
		if (doubts.doubt[i].file == file &&
		    (doubts.doubt[i].sector + 1) * SECTOR_SIZE > from)
			touch_sector(file, doubts.doubt[i].sector, piece);
}

void doubts_touch(void)
{
	for (uint32_t i = 0; i < doubts.files.pieces; i++) {
		const struct piece *piece = &doubts.files.piece[i];
		struct file *file = doubts_file_of(i);
		uint64_t end = piece->off < file->size ?
				       piece->off + min_u64(piece->len, file->size - piece->off) :
				       0;

		if (doubts.fate[i] == FATE_LOST)
			continue;
		if (piece->op->kind == HOSTOP_TRUNCATE)
			touch_behind(file, i);
		else
			for (uint64_t at = round_down(piece->off, SECTOR_SIZE); at < end;
			     at += SECTOR_SIZE)
				touch_sector(file, at / SECTOR_SIZE, i);
	}
}

/* --- sizes ------------------------------------------------------------------------------------------ */

static void note_size(uint64_t size)
{
	uint64_t cluster = doubts.files.cluster_bytes;

	for (unsigned i = 0; i < doubts.sizes; i++) {
		if (div_round_up(doubts.size[i], cluster) != div_round_up(size, cluster))
			continue;
		doubts.size[i] = max_u64(doubts.size[i], size);
		return;
	}
	must(doubts.sizes < MOST_SIZES);
	doubts.size[doubts.sizes++] = size;
}

void doubts_list_sizes(void)
{
	uint64_t least = doubts.file[0].bytes->size;
	uint32_t from = 0;

	for (uint32_t i = 0; i < doubts.files.image_pieces; i++) {
		const struct piece *piece = &doubts.files.piece[i];

		if (piece->op->kind == HOSTOP_TRUNCATE && doubts.fate[i] == FATE_KEPT) {
			least = piece->off;
			from = i;
		}
		if (piece->op->kind == HOSTOP_WRITE && piece->op->forced)
			least = max_u64(least, piece->off + piece->len);
	}
	doubts.sizes = doubts.sized = 0;
	note_size(least);
	for (uint32_t i = from; i < doubts.files.image_pieces; i++) {
		const struct piece *piece = &doubts.files.piece[i];

		if (piece->op->kind == HOSTOP_WRITE && piece->off + piece->len > least)
			note_size(piece->off + piece->len);
	}
	for (unsigned i = 1; i < doubts.sizes; i++) {
		uint64_t size = doubts.size[i];

		if (size > doubts.size[0]) {
			doubts.size[i] = doubts.size[0];
			doubts.size[0] = size;
		}
	}
}

uint64_t doubts_data_size(void)
{
	uint64_t most = doubts.file[1].bytes->size;

	for (uint32_t i = doubts.files.image_pieces; i < doubts.files.pieces; i++)
		if (doubts.files.piece[i].op->kind == HOSTOP_WRITE)
			most = max_u64(most, doubts.files.piece[i].off + doubts.files.piece[i].len);
	return most;
}

void doubts_decide_truncates(void)
{
	for (uint32_t i = 0; i < doubts.files.pieces; i++)
		doubts.fate[i] = doubts.files.piece[i].op->forced ? FATE_KEPT : FATE_OPEN;
	for (unsigned i = 0; i < doubts.truncates; i++)
		doubts.fate[doubts.truncate[i]] = doubts.kept >> i & 1 ? FATE_KEPT : FATE_LOST;
}
