/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The arena: memory that outlives the process (law 8), and who stores what there.
 *
 * The L1 table, the L2 slices and the pieces of refcount blocks lie in it.  Each of these *units* has
 * a mark, which says that its memory is newer than the file.  Two kinds of words say what no unit says:
 * which host clusters a lane has in stock, and which references are yet to be dropped.  The next
 * process goes on from there: see inherit.h.
 *
 * A process can be killed between any two instructions of each of its threads, and what had been
 * stored before then is there.  So each fact is committed by one store of 64 bits, arena_set(), and
 * the order of these stores is the order of the program.
 */
#ifndef ARENA_H
#define ARENA_H

#include "engine.h"

/* A number in a word: what nobody can have torn. */
static inline void arena_set(_Atomic uint64_t *word, uint64_t value)
{
	kill_point();
	atomic_signal_fence(memory_order_seq_cst);
	atomic_store_explicit(word, value, memory_order_relaxed);
	atomic_signal_fence(memory_order_seq_cst);
}

static inline uint64_t arena_get(const _Atomic uint64_t *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

/* --- layout --------------------------------------------------------------------------------------- */

/* Change it whenever the meaning of any byte changes: what another version has left is refused. */
#define ARENA_LAYOUT 3u
#define ARENA_MAGIC UINT64_C(0xa3e5c1d7900df00d)

#define UNIT_SECTORS (LIMIT_SLICE_BYTES / SECTOR_SIZE)

/* All that the layout depends on, and all that must be so of the image. */
struct arena_shape {
	uint32_t version;
	uint32_t cluster_bits;
	uint32_t refcount_order;
	uint32_t slice_bytes;
	uint32_t l2_entry_bytes;
	uint32_t data_apart;
	uint32_t l1_room;
	uint32_t lanes;
	uint32_t lane_words; /* of stock */
	uint32_t slices;
	uint32_t releases; /* and RELEASE_EXTRAS more */
};

/* The only values of the state, so that no bit alone makes writes be forgotten. */
#define ARENA_OPEN UINT64_C(0x1d50c1aed0f0a5e5)
#define ARENA_CLOSED UINT64_C(0x7e3a9b064c2f81d8)

/* What may change when the disk is resized: as the file has it, and as it may have it in a moment, or 0. */
enum arena_when { ARENA_NOW, ARENA_NEXT, ARENA_WHENS };

enum arena_broken { ARENA_SOUND, ARENA_BROKEN, ARENA_CORRUPT };

struct arena_header {
	uint64_t magic;
	uint32_t layout;
	uint32_t header_bytes;
	uint8_t identity[HANDOVER_IDENTITY];
	struct arena_shape shape;
	uint64_t sum; /* of everything above */

	_Atomic uint64_t state; /* ARENA_OPEN, ARENA_CLOSED */
	_Atomic uint64_t broken; /* enum arena_broken */
	_Atomic uint64_t opened_bytes; /* size of the file when it was first opened */

	/* What the header says, by enum arena_when. */
	_Atomic uint64_t disk_bytes[ARENA_WHENS];
	_Atomic uint64_t l1_host[ARENA_WHENS];
	_Atomic uint64_t l1_entries[ARENA_WHENS];

	/* A reference is being dropped: see arena_drop_begin(). */
	_Atomic uint64_t drop_cluster; /* + 1; 0: none */
	_Atomic uint64_t drop_release;
	_Atomic uint64_t drop_refcount;
};

/* By sector: what the file may hold of a unit whose memory is newer. */
struct unit_sums {
	uint64_t before[UNIT_SECTORS];
	uint64_t written[UNIT_SECTORS]; /* with MARK_WRITING */
};

/* A unit's mark: 0, or which piece of the file it is, + 1, and: */
#define MARK_WRITING (UINT64_C(1) << 63) /* a write of it was begun; the file may hold that */
#define MARK_UNSURE (UINT64_C(1) << 62) /* such a write has failed: the file may hold anything */
#define MARK_INDEX (MARK_UNSURE - 1)

/* A run of host clusters as a word; 0: none. */
#define WORD_COUNT_BITS 17u
#define WORD_COUNT_MAX ((UINT32_C(1) << WORD_COUNT_BITS) - 1)

static inline uint64_t word_make(uint64_t cluster, uint64_t count)
{
	return count ? cluster << WORD_COUNT_BITS | count : 0;
}

static inline uint64_t word_cluster(uint64_t word)
{
	return word >> WORD_COUNT_BITS;
}

static inline uint32_t word_count(uint64_t word)
{
	return (uint32_t)word & WORD_COUNT_MAX;
}

/* Set @arena's pointers for a memory of this shape; returns its size. */
uint64_t arena_place(struct arena *arena, const struct arena_shape *shape, void *memory);

/* The sum that belongs into the header. */
uint64_t arena_header_sum(const struct arena_header *header);

/* Is that what the file may hold of the unit?  @bytes is what it holds, @len bytes. */
bool arena_sums_match(const struct arena *arena, uint32_t unit, const void *bytes, size_t len);

/* --- life ------------------------------------------------------------------------------------------ */

/* How many there must be at least; see inherit_least(). */
struct arena_least {
	uint32_t slices;
	uint32_t releases;
};

/*
 * Make it, when the sizes of everything are known, and move the L1 table there.  -ENOMEM, or what the
 * handover says, with the sentence in @why.
 */
int arena_open(struct image *image, const struct image_options *options, struct arena_least least,
	       struct why *why);
void arena_free(struct image *image);

/* The image has broken: the next process must not write either. */
void arena_broken(struct image *image, enum arena_broken how);

/* The image is closed: nothing that stands here matters any more. */
void arena_closed(struct image *image);

/* --- units ----------------------------------------------------------------------------------------- */

static inline uint32_t unit_of_slice(const struct image *image, const struct slice *slice)
{
	return (uint32_t)(slice - image->top.cache.slices);
}

static inline uint32_t unit_of_l1(const struct arena *arena, uint64_t block)
{
	return arena->slices + (uint32_t)block;
}

static inline uint32_t unit_of_piece(const struct arena *arena, uint32_t piece)
{
	return arena->slices + arena->l1_blocks + piece;
}

/*
 * The unit is about to become newer than the file, which holds these @len bytes; NULL: the same as
 * when a write of it ended last.  Does nothing when it is marked already.  Under the unit's lock,
 * before the change.
 */
void arena_mark(struct arena *arena, uint32_t unit, uint64_t index, const void *bytes, size_t len);

/* A write of these bytes is about to begin. */
void arena_writing(struct arena *arena, uint32_t unit, const void *bytes, size_t len);

/* It has succeeded; @dirty: the unit has been changed since it began. */
void arena_written(struct arena *arena, uint32_t unit, bool dirty);

/* --- stock ----------------------------------------------------------------------------------------- */

/* Words of a lane, then those of the allocator's finds. */
static inline _Atomic uint64_t *arena_stock(const struct arena *arena, unsigned lane, uint32_t word)
{
	return &arena->stock[(uint64_t)lane * arena->lane_words + word];
}

void arena_set_stock(_Atomic uint64_t *word, uint64_t cluster, uint64_t count);

/* --- releases -------------------------------------------------------------------------------------- */

/* The last ones, for releases that come from no pool. */
enum { RELEASE_OLD_TABLE, RELEASE_RETURNED, RELEASE_OLD_L1, RELEASE_NEW_L1, RELEASE_EXTRAS };

struct release_words *arena_extra_release(const struct arena *arena, unsigned which);

/* Before the change that drops the references; count 0: nothing is to be dropped any more. */
void arena_set_release(struct release *release);

/*
 * One reference to release->cluster is about to be dropped, after which @refcount are left; and: it was
 * dropped, and release->cluster is the next.  A kill in between leaves enough to finish it.
 */
void arena_drop_begin(struct image *image, const struct release *release, uint64_t refcount);
void arena_drop_end(struct image *image, struct release *release);

#endif
