/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Choices that are made late. */
#include "doubted.h"

#include "digest.h"
#include "memory.h"

/* --- bytes that are in doubt ------------------------------------------------------------------------ */

static void hide(const struct doubt *doubt)
{
	static uint8_t noise[SECTOR_SIZE];

	for (unsigned i = 0; !noise[0] && i < SECTOR_SIZE; i++)
		noise[i] = (uint8_t)(0xe1 + 7 * i);
	sparse_poke(doubt->file->bytes, doubt->sector * SECTOR_SIZE, noise, SECTOR_SIZE);
}

static void show(const struct doubt *doubt, uint32_t content)
{
	sparse_poke(doubt->file->bytes, doubt->sector * SECTOR_SIZE, doubts.content[content],
		    SECTOR_SIZE);
}

static uint64_t digest_piece(uint64_t digest, const struct piece *piece)
{
	const struct hostop *op = piece->op;

	digest = digest_add(digest_add(digest, piece->off), piece->len);
	digest = digest_add(digest, op->kind * 2u + op->forced);
	if (op->kind == HOSTOP_WRITE)
		digest = digest_add(digest,
				    digest_bytes(op->data + (piece->off - op->off), piece->len));
	return digest;
}

static uint64_t digest_of(const struct doubt *doubt)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < doubt->contents; i++)
		sum += digest_bytes(doubts.content[doubt->content + i], SECTOR_SIZE);
	for (uint32_t i = doubt->first; doubt->holes && i != NOTHING; i = doubts.touch[i].next)
		sum = digest_piece(sum, &doubts.files.piece[doubts.touch[i].piece]);
	return digest_add(sum, doubt->sector);
}

/* In the digest, it stands for what was there. */
static void note_digest(const struct doubt *doubt)
{
	uint64_t *digest = &doubt->file->digest;

	*digest -= digest_sector(doubt->sector, doubts.content[doubt->base]);
	if (doubt->contents == 1)
		*digest += digest_sector(doubt->sector, doubts.content[doubt->content]);
	else
		*digest += digest_of(doubt);
}

static void note_place(struct file *file, uint64_t sector)
{
	file->first = min_u64(file->first, sector);
	file->end = max_u64(file->end, sector + 1);
}

static void settle(struct doubt *doubt)
{
	doubt->content = doubts_list(doubt);
	doubt->contents = doubts.contents - doubt->content;
	note_digest(doubt);
	if (doubt->contents > 1) {
		note_place(doubt->file, doubt->sector);
		hide(doubt);
		return;
	}
	doubt->file->doubt[doubt->sector] = 0;
	if (memcmp(doubts.content[doubt->content], doubts.content[doubt->base], SECTOR_SIZE) != 0)
		show(doubt, doubt->content);
}

/* --- choices --------------------------------------------------------------------------------------- */

static uint32_t choose(uint32_t what, bool hole, uint32_t among)
{
	struct choice *choice = &doubts.choice[doubts.remade];

	if (among == 1)
		return 0;
	if (doubts.remade++ == doubts.choices) {
		must(doubts.choices < MOST_CHOICES);
		doubts.choices++;
		*choice = (struct choice){ .what = what, .hole = hole, .all = among };
	}
	/* Whoever reads the same, asks for the same next. */
	must(choice->what == what && choice->hole == hole && choice->all == among);
	return choice->now;
}

static void choose_holes(const struct doubt *doubt)
{
	for (uint32_t i = doubt->first; doubt->holes && i != NOTHING; i = doubts.touch[i].next) {
		uint32_t piece = doubts.touch[i].piece;

		if (doubts.files.piece[piece].op->kind == HOSTOP_PUNCH &&
		    doubts.fate[piece] == FATE_OPEN)
			doubts.fate[piece] = choose(piece, true, 2) ? FATE_KEPT : FATE_LOST;
	}
}

static void choose_content(struct doubt *doubt)
{
	uint32_t first = doubt->content, count = doubt->contents, end = doubts.contents;
	uint32_t number = (uint32_t)(doubt - doubts.doubt);

	choose_holes(doubt);
	if (doubt->holes) {
		first = doubts_list(doubt);
		count = doubts.contents - first;
	}
	show(doubt, first + choose(number, false, count));
	doubts.contents = end;
	doubt->chosen = true;
	doubts.chosen = doubts_room(doubts.chosen, &doubts.chosen_room, doubts.nchosen + 1,
				    sizeof(*doubts.chosen));
	doubts.chosen[doubts.nchosen++] = number;
}

static struct file *file_named(const struct sparse *bytes)
{
	return &doubts.file[bytes == doubts.file[1].bytes];
}

static void before_reading(const struct sparse *bytes, uint64_t off, uint64_t len)
{
	struct file *file = file_named(bytes);
	uint64_t sector = max_u64(off / SECTOR_SIZE, file->first);
	uint64_t end = min_u64(div_round_up(off + len, SECTOR_SIZE), file->end);

	for (; sector < end; sector++) {
		uint32_t number = file->doubt[sector];

		if (number && !doubts.doubt[number - 1].chosen)
			choose_content(&doubts.doubt[number - 1]);
	}
}

static void unmake_choices(void)
{
	for (uint32_t i = 0; i < doubts.nchosen; i++) {
		struct doubt *doubt = &doubts.doubt[doubts.chosen[i]];

		doubt->chosen = false;
		hide(doubt);
	}
	for (uint32_t i = 0; i < doubts.choices; i++)
		if (doubts.choice[i].hole)
			doubts.fate[doubts.choice[i].what] = FATE_OPEN;
	doubts.nchosen = doubts.remade = 0;
}

/* --- begin and end ----------------------------------------------------------------------------------- */

static const struct sparse_watch watch = { before_reading };

static void doubt_all(void)
{
	doubts.touches = doubts.doubts = doubts.contents = doubts.choices = doubts.remade =
		doubts.nchosen = 0;
	doubts.file[0].size = doubts.size[doubts.sized];
	doubts.file[1].size = doubts_data_size();
	for (unsigned i = 0; i < FILES; i++) {
		doubts.file[i].first = UINT64_MAX;
		doubts.file[i].end = 0;
	}
	doubts_touch();
	for (unsigned i = 0; i < FILES; i++)
		sparse_undo_begin(doubts.file[i].bytes);
	for (uint32_t i = 0; i < doubts.doubts; i++)
		settle(&doubts.doubt[i]);
	for (unsigned i = 0; i < FILES; i++) {
		doubts.file[i].bytes->size = doubts.file[i].size;
		doubts.file[i].bytes->watch = &watch;
	}
	doubts.round++;
}

static void doubt_nothing(void)
{
	for (uint32_t i = 0; i < doubts.doubts; i++)
		doubts.doubt[i].file->doubt[doubts.doubt[i].sector] = 0;
	for (unsigned i = 0; i < FILES; i++) {
		doubts.file[i].bytes->watch = NULL;
		sparse_undo(doubts.file[i].bytes);
	}
}

static bool find_truncates(void)
{
	doubts.truncates = doubts.kept = 0;
	for (uint32_t i = 0; i < doubts.files.pieces; i++) {
		if (doubts.files.piece[i].op->kind != HOSTOP_TRUNCATE)
			continue;
		if (doubts.truncates == DOUBTS_TRUNCATES || i >= doubts.files.image_pieces)
			return false;
		doubts.truncate[doubts.truncates++] = i;
	}
	return true;
}

static void prepare(const struct doubts_files *files)
{
	doubts.files = *files;
	doubts.fate =
		doubts_room(doubts.fate, &doubts.fate_room, files->pieces, sizeof(*doubts.fate));
	doubts.file[0].bytes = &files->image->durable;
	doubts.file[1].bytes = &files->data->durable;
	for (unsigned i = 0; i < FILES; i++) {
		if (doubts.file[i].doubt)
			continue;
		doubts.file[i].doubt = reserve_zeroed(SECTORS * sizeof(uint32_t));
		doubts.file[i].known = reserve_zeroed(SECTORS * sizeof(uint64_t));
	}
}

bool doubts_begin(const struct doubts_files *files)
{
	prepare(files);
	if (!find_truncates())
		return false;
	doubts_decide_truncates();
	doubts_list_sizes();
	for (unsigned i = 0; i < FILES; i++)
		doubts.file[i].digest = sparse_digest(doubts.file[i].bytes);
	doubt_all();
	return true;
}

void doubts_end(void)
{
	doubt_nothing();
}

uint64_t doubts_digest(void)
{
	uint64_t digest = digest_add(doubts.file[0].digest, doubts.file[1].digest);

	for (unsigned i = 0; i < doubts.sizes; i++)
		digest = digest_add(digest, doubts.size[i]);
	/* Where bytes may be cut off, it matters what came before. */
	digest = digest_add(digest, doubts.truncates ? doubts.files.image_pieces : 0);
	for (uint32_t i = 0; doubts.truncates && i < doubts.files.pieces; i++)
		digest = digest_piece(digest, &doubts.files.piece[i]);
	return digest;
}

bool doubts_next(void)
{
	unmake_choices();
	while (doubts.choices &&
	       ++doubts.choice[doubts.choices - 1].now == doubts.choice[doubts.choices - 1].all)
		doubts.choices--;
	if (doubts.choices)
		return true;
	if (doubts.sized + 1 == doubts.sizes && doubts.kept + 1 == 1u << doubts.truncates)
		return false;
	doubt_nothing();
	if (++doubts.sized == doubts.sizes) {
		doubts.kept++;
		doubts_decide_truncates();
		doubts_list_sizes();
	} else {
		doubts_decide_truncates();
	}
	doubt_all();
	return true;
}

/* --- questions --------------------------------------------------------------------------------------- */

static struct doubt *open_doubt(struct file *file, uint64_t sector)
{
	uint32_t number = sector < SECTORS ? file->doubt[sector] : 0;

	return number && !doubts.doubt[number - 1].chosen ? &doubts.doubt[number - 1] : NULL;
}

uint32_t doubts_contents(const struct sparse *bytes, uint64_t sector, const uint8_t **contents)
{
	const struct doubt *doubt = open_doubt(file_named(bytes), sector);
	uint32_t first, end = doubts.contents, count;

	if (!doubt)
		return 0;
	*contents = doubts.content[doubt->content];
	if (!doubt->holes)
		return doubt->contents;
	first = doubts_list(doubt);
	count = doubts.contents - first;
	doubts.contents = end;
	*contents = doubts.content[first];
	return count;
}

bool doubts_known(const struct sparse *bytes, uint64_t sector, uint64_t what)
{
	struct file *file = file_named(bytes);
	uint32_t number = sector < SECTORS ? file->doubt[sector] : 0;
	const struct doubt *doubt = number ? &doubts.doubt[number - 1] : NULL;
	uint64_t now = doubts.round << 32 | what;
	bool known;

	if (sector >= SECTORS || (doubt && (doubt->chosen || doubt->holes)))
		return false;
	known = file->known[sector] == now;
	file->known[sector] = now;
	return known;
}
