/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Units of the arena that are newer than the file: blocks of L1, slices, refcount pieces.
 *
 * A unit is taken only when the file holds what the dead process had read, or written, there: whoever
 * has changed the file since must not have his changes undone.  What is new in it must make sense, and
 * each host cluster that it newly refers to must be there, counted, and no metadata.
 */
#include "inherit.h"

#include "cache.h"
#include "flush.h"
#include "overlap.h"
#include "refblock.h"

#include <errno.h>

/* A unit as it is in the file, zeros where that ends. */
static int read_unit(const struct inheritance *left, struct host host, uint8_t *bytes)
{
	struct host_file *file = left->image->top.file;
	uint32_t len = left->image->top.geo.slice_bytes;
	int64_t got = file->read(file, bytes, len, host.byte);

	if (got < 0)
		return why_set(left->why, (int)got, "%s: cannot read what is at %#llx: %s",
			       file->name, (unsigned long long)host.byte, strerror((int)-got));
	memset(bytes + got, 0, len - (uint64_t)got);
	return 0;
}

/* The index that a mark names, when it is set. */
static bool marked(const struct inheritance *left, uint32_t unit, uint64_t *index)
{
	uint64_t mark = arena_get(&left->arena.mark[unit]);

	*index = (mark & MARK_INDEX) - 1;
	return mark != 0;
}

/* --- references that are new ------------------------------------------------------------------------- */

/* A table or a cluster that the dead process had taken from its stock. */
static int check_linked(struct inheritance *left, struct host host, const char *what)
{
	uint64_t cluster = host_cluster(&left->image->top.geo, host), refcount = 0;
	int err;

	if (cluster >= left->host_clusters)
		return inherit_damaged(left, "%s at %#llx, behind the end of the file", what,
				       (unsigned long long)host.byte);
	/* It may be somebody else's as well: that is for who repairs it, reads go on. */
	if (inherit_is_corrupt(left) && !mutant(CORRUPT_TAKEN_AT_ITS_WORD))
		return 0;
	if (overlap_hit(left->image, cluster, 1))
		return inherit_damaged(left, "%s at %#llx, where other metadata is", what,
				       (unsigned long long)host.byte);
	err = inherit_refcount(left, cluster, &refcount);
	if (err)
		return err;
	if (refcount == 0)
		return inherit_changed(left, "the space of %s at %#llx has become free", what,
				       (unsigned long long)host.byte);
	return inherit_note(left, (struct cluster_range){
					  .cluster = cluster,
					  .count = 1,
					  .claimant = CLAIM_LINKED,
				  });
}

/* --- L1 ------------------------------------------------------------------------------------------------- */

/* One entry that is not what the file has. */
static int check_l1_entry(struct inheritance *left, uint64_t nth, uint64_t word)
{
	struct image *image = left->image;
	struct l1_entry entry = l1_decode(&image->top.geo, word);
	int err;

	if (nth >= image->top.l1_entries || entry.kind != L1_TABLE || !entry.copied)
		return inherit_damaged(left, "L1 entry %llu is %#llx", (unsigned long long)nth,
				       (unsigned long long)word);
	err = check_linked(left, entry.host, "an L2 table");
	if (!err)
		overlap_add(image, host_cluster(&image->top.geo, entry.host), 1);
	return err;
}

static int take_l1_block(struct inheritance *left, uint64_t block)
{
	struct image *image = left->image;
	uint64_t first = block * L1_BLOCK_BYTES / sizeof(*image->top.l1);
	size_t len = L1_BLOCK_BYTES;
	struct be64_atomic *ours = &image->top.l1[first];
	const struct be64_atomic *theirs = &left->arena.l1[first];

	if (!arena_sums_match(&left->arena, unit_of_l1(&left->arena, block), ours, len))
		return inherit_changed(left, "its L1 table");
	if (image->flush.l1_dirty_count == FLUSH_L1_BLOCKS)
		return inherit_damaged(left, "too many blocks of L1 are marked");
	arena_mark(&image->arena, unit_of_l1(&image->arena, block), block, ours, len);
	for (uint64_t i = 0; i < len / sizeof(*ours); i++) {
		uint64_t word = be64_load(&theirs[i]);
		int err = 0;

		if (word != be64_load(&ours[i]))
			err = check_l1_entry(left, first + i, word);
		if (err)
			return err;
		be64_store(&ours[i], word);
	}
	image->flush.l1_dirty[block] = 1;
	image->flush.l1_dirty_count++;
	return 0;
}

int inherit_l1(struct inheritance *left)
{
	for (uint32_t block = 0; block < left->arena.l1_blocks; block++) {
		uint64_t index;
		int err = 0;

		if (!marked(left, unit_of_l1(&left->arena, block), &index))
			continue;
		if (index != block || block >= left->image->arena.l1_blocks)
			return inherit_damaged(left, "the mark of L1 block %u", block);
		err = take_l1_block(left, block);
		if (err)
			return err;
	}
	return 0;
}

/* --- slices --------------------------------------------------------------------------------------------- */

struct l2_word inherit_word(const struct geometry *geo, const struct be64_atomic *entries,
			    uint64_t nth)
{
	struct l2_word word = { 0 };

	if (!geo->extended) {
		word.entry = be64_load(&entries[nth]);
		return word;
	}
	word.entry = be64_load(&entries[2 * nth]);
	word.bitmap = be64_load(&entries[2 * nth + 1]);
	return word;
}

struct l2_entry inherit_decode(const struct geometry *geo, struct l2_word word)
{
	return geo->extended ? l2_decode_extended(geo, word, 0) : l2_decode(geo, word.entry);
}

/* One entry that is not what the file has, @old. */
static int check_l2_entry(struct inheritance *left, struct guest guest, struct l2_word old,
			  struct l2_word word)
{
	const struct geometry *geo = &left->image->top.geo;
	struct l2_entry entry = inherit_decode(geo, word), before = inherit_decode(geo, old);

	/* The bitmap goes first when a stream is replaced: see keep_streams(). */
	if (entry.kind == L2_COMPRESSED && geo->extended && word.entry == old.entry)
		return 0;
	if (entry.kind == L2_INVALID || entry.kind == L2_COMPRESSED ||
	    (l2_has_host(&entry) && geo->data_apart && !l2_in_place(geo, entry.host, guest)))
		return inherit_damaged(left, "the entry of guest offset %#llx is %#llx",
				       (unsigned long long)guest.byte,
				       (unsigned long long)word.entry);
	if (!l2_has_host(&entry) || geo->data_apart ||
	    (l2_has_host(&before) && before.host.byte == entry.host.byte))
		return 0;
	return check_linked(left, entry.host, "data");
}

static int check_entries(struct inheritance *left, uint64_t index, const struct be64_atomic *theirs)
{
	const struct geometry *geo = &left->image->top.geo;
	const struct be64_atomic *file = (const void *)left->unit;
	uint64_t first = index << geo->slice_entries_bits;

	for (uint64_t i = 0; i < UINT64_C(1) << geo->slice_entries_bits; i++) {
		struct guest guest = { (first + i) << geo->cluster_bits };
		struct l2_word old = inherit_word(geo, file, i),
			       word = inherit_word(geo, theirs, i);
		int err = 0;

		if (word.entry != old.entry || word.bitmap != old.bitmap)
			err = check_l2_entry(left, guest, old, word);
		if (err)
			return err;
	}
	return 0;
}

/* The bitmap of a stream means nothing, but to other programs that look at it: it stays as it was. */
static void keep_streams(struct inheritance *left, struct slice *slice)
{
	const struct geometry *geo = &left->image->top.geo;
	const struct be64_atomic *file = (const void *)left->unit;

	for (uint64_t i = 0; geo->extended && i < UINT64_C(1) << geo->slice_entries_bits; i++) {
		if (be64_load(&slice->entries[2 * i]) & ENTRY_COMPRESSED)
			be64_store(&slice->entries[2 * i + 1], be64_load(&file[2 * i + 1]));
	}
}

/* Where it is in the file. */
static int find_slice(struct inheritance *left, uint64_t index, struct host *host)
{
	struct image *image = left->image;
	const struct geometry *geo = &image->top.geo;
	unsigned slices_bits = geo->cluster_bits - geo->slice_bits;
	uint64_t nth = index & ((UINT64_C(1) << slices_bits) - 1);
	struct l1_entry table = { .kind = L1_ABSENT };

	if (index < image->top.cache.directory_entries)
		table = l1_decode(geo, be64_load(&image->top.l1[index >> slices_bits]));
	if (table.kind != L1_TABLE || !table.copied ||
	    host_cluster(geo, table.host) >= left->host_clusters ||
	    atomic_load(&image->top.cache.directory[index]))
		return inherit_damaged(left, "the mark of a slice: %llu",
				       (unsigned long long)index);
	*host = (struct host){ table.host.byte + (nth << geo->slice_bits) };
	return 0;
}

static int take_slice(struct inheritance *left, uint32_t unit, uint64_t index)
{
	struct image *image = left->image;
	struct flush *flush = &image->flush;
	uint32_t bytes = image->top.geo.slice_bytes;
	const uint8_t *theirs = left->arena.slice + (size_t)unit * bytes;
	struct slice *slice;
	struct host host = { 0 };
	int err = find_slice(left, index, &host);

	if (!err)
		err = read_unit(left, host, left->unit);
	if (!err && !arena_sums_match(&left->arena, unit, left->unit, bytes))
		err = inherit_changed(left, "an L2 table at %#llx", (unsigned long long)host.byte);
	if (!err)
		err = check_entries(left, index, (const void *)theirs);
	if (err)
		return err;
	slice = slice_adopt(&image->top, index);
	if (!slice || flush->dirty_count == flush->dirty_max)
		return inherit_damaged(left, "too many slices are marked");
	arena_mark(&image->arena, unit_of_slice(image, slice), index, left->unit, bytes);
	memcpy(slice->entries, theirs, bytes);
	keep_streams(left, slice);
	slice->summed = true;
	slice->dirty = true;
	atomic_store(&slice->unsynced, true);
	list_add_tail(&flush->dirty, &slice->dirty_link);
	flush->dirty_count++;
	return 0;
}

int inherit_slices(struct inheritance *left)
{
	uint64_t index;
	int err = 0;

	for (uint32_t unit = 0; unit < left->arena.slices && !err; unit++)
		if (marked(left, unit, &index))
			err = take_slice(left, unit, index);
	return err;
}

/* --- refcounts --------------------------------------------------------------------------------------------- */

static int find_piece(struct inheritance *left, uint64_t index, struct host *host)
{
	if (index > LIMIT_HOST_OFFSET || piece_cached(left->image, index) ||
	    piece_host(left->image, index, host) || !host->byte)
		return inherit_damaged(left, "the mark of a piece of refcounts: %llu",
				       (unsigned long long)index);
	return 0;
}

static int take_piece(struct inheritance *left, uint32_t nth, uint64_t index)
{
	uint32_t unit = unit_of_piece(&left->arena, nth);
	uint32_t bytes = left->image->top.geo.slice_bytes;
	struct host host;
	int err = find_piece(left, index, &host);

	if (!err)
		err = read_unit(left, host, left->unit);
	if (!err && !arena_sums_match(&left->arena, unit, left->unit, bytes))
		err = inherit_changed(left, "its refcounts at %#llx",
				      (unsigned long long)host.byte);
	if (!err)
		piece_adopt(left->image, nth, index, left->unit,
			    left->arena.pieces + (size_t)nth * bytes);
	return err;
}

int inherit_pieces(struct inheritance *left)
{
	uint64_t index;
	int err = 0;

	for (uint32_t nth = 0; nth < REF_PIECES && !err; nth++)
		if (marked(left, unit_of_piece(&left->arena, nth), &index))
			err = take_piece(left, nth, index);
	return err;
}

/* The piece of the file, in the cache of looks. */
static int look_up(struct inheritance *left, uint64_t index, const uint8_t **bytes)
{
	struct refcount_look *look = &left->look;
	uint32_t slot = (uint32_t)(index % INHERIT_PIECES);
	uint8_t *copy = look->bytes + (size_t)slot * left->image->top.geo.slice_bytes;
	struct host host;
	int err;

	*bytes = copy;
	if (look->index[slot] == index + 1)
		return 0;
	look->index[slot] = 0;
	if (piece_host(left->image, index, &host))
		return inherit_changed(left, "its refcount table");
	memset(copy, 0, left->image->top.geo.slice_bytes);
	err = host.byte ? read_unit(left, host, copy) : 0;
	if (err)
		return err;
	look->index[slot] = index + 1;
	return 0;
}

int inherit_refcount(struct inheritance *left, uint64_t cluster, uint64_t *refcount)
{
	const struct geometry *geo = &left->image->top.geo;
	uint64_t index = cluster >> geo->slice_refcounts_bits;
	uint32_t slot = (uint32_t)(cluster & ((UINT64_C(1) << geo->slice_refcounts_bits) - 1));
	const struct ref_piece *piece = piece_cached(left->image, index);
	const uint8_t *bytes = piece ? piece->bytes : NULL;
	int err = piece ? 0 : look_up(left, index, &bytes);

	if (!err)
		*refcount = refcount_get(bytes, geo->refcount_order, slot);
	return err;
}
