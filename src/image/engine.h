/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The engine's shared state: struct image and what it is made of.
 *
 * Lock order, outermost first; a step takes one of the first three and, under it, at most the
 * leaf locks, or alloc->lock under a shard's:
 *
 *	image->tables.lock	which L2 tables are being made
 *	shard->lock		slices, claims and pins of one shard of the L2 cache
 *	alloc->lock		what lanes and the allocator hand each other
 *	flush->lock (leaf)	dirty lists, releases, who flushes, L1 changes
 *	copies->lock (leaf)	the pool of copy buffers
 *	lane->post_lock (leaf)	inboxes
 *
 * Nodes below the top have shards too, whose locks rank as the top's.  unpack->lock and bounce->lock
 * (buffers for encrypted bytes) are one lane's own and rank as a shard's.
 */
#ifndef ENGINE_H
#define ENGINE_H

#include "base.h"
#include "crypto.h"
#include "format.h"
#include "image.h"
#include "io.h"
#include "req.h"
#include "task.h"

#define CACHE_LINE 64

/* --- memory that outlives the process (arena.c) ------------------------------------------------ */

struct release_words {
	_Atomic uint64_t where; /* see struct references */
	_Atomic uint64_t what; /* the run of host clusters; 0: none */
};

/* Where everything is in it. */
struct arena {
	uint8_t *memory;
	uint64_t bytes;
	bool shared; /* or nobody will ever look at it but this process */
	uint32_t slices;
	uint32_t l1_blocks;
	uint32_t l1_room; /* bytes for L1, all of them zeros behind its end */
	uint32_t lane_words;
	uint32_t releases;
	struct arena_header *header;
	_Atomic uint64_t *mark; /* by unit: slices, blocks of L1, refcount pieces */
	struct unit_sums *sums; /* the same */
	_Atomic uint64_t *stock; /* of each lane, then the allocator's */
	struct release_words *release;
	struct be64_atomic *l1;
	uint8_t *pieces;
	uint8_t *slice;
};

/* --- epochs (epoch.c): who may still use a cluster whose mapping was dropped ------------------- */

#define EPOCH_BUCKETS 4u

struct epoch_lane {
	_Atomic uint32_t live[EPOCH_BUCKETS]; /* who is inside, by epoch; written by its lane only */
};

struct epoch {
	_Atomic uint64_t now;
	_Atomic uint64_t wanted_at; /* monotonic nanoseconds, while wanted */
	_Atomic bool wanted; /* the allocator waits for an epoch to end */
};

/* --- the L2 cache (cache.c) --------------------------------------------------------------------- */

enum slice_state { SLICE_FREE, SLICE_LOADING, SLICE_VALID };

#define SLICE_NONE UINT64_MAX
#define SLICE_CHANGING 1u /* bit of the generation: an extended entry is half changed */
#define SLICE_GENERATION 2u

/* A piece of an L2 table in memory.  Guarded by its shard's lock unless said otherwise. */
struct slice {
	struct be64_atomic *entries; /* read without the lock: see slice_peek() */
	/* Counts what the memory has been used for, and changes of extended entries; by twos. */
	_Atomic uint32_t generation;
	_Atomic bool used; /* since the clock last passed; no lock */
	_Atomic bool unsynced; /* a change is not durable; read without the lock */
	enum slice_state state;
	bool dirty; /* changed since it was last copied for a flush */
	bool flushing; /* copied, not yet settled */
	bool summed; /* the arena knows what the file holds */
	uint32_t pins; /* may not be evicted */
	uint64_t index; /* which slice of the disk */
	struct shard *shard;
	struct node *node;
	struct slice_load *load; /* while LOADING */
	struct list dirty_link; /* flush->dirty, under flush->lock */
};

/* Of those there are few, so that what a load needs is no part of every slice. */
struct slice_load {
	struct slice *slice; /* NULL: idle; under its shard's lock */
	struct waitq loaded;
	uint8_t epoch; /* entered for the load */
	struct task task;
	struct io io;
};

/* The cache is set-associative: slice i of the disk lives in shard i modulo the number of shards. */
struct shard {
	pthread_mutex_t lock;
	struct slice *slices;
	uint32_t count;
	uint32_t made; /* of them: the rest was never used, and is zeros */
	uint32_t hand; /* of the clock */
	struct slice *spare; /* for who only looks, when all others are needed: never dirty */
	struct slice_load *loads; /* shard_loads() of them */
	struct list claims; /* struct claim */
	struct waitq starved; /* wait for a slice that can be evicted */
	struct waitq lookers; /* the same, and the spare one will do; or for an idle load */
} __attribute__((aligned(CACHE_LINE)));

struct cache {
	struct shard *shards;
	struct slice *slices; /* nslices, then a spare one for each shard */
	void *memory; /* of the former */
	size_t memory_bytes; /* 0: it belongs to the arena */
	void *spare_memory;
	struct slice_load *loads; /* of all shards */
	uint32_t nshards; /* a power of two */
	uint32_t nslices;
	/* By slice index: NULL, or the slice; SLICE_IS_LOADING set while it is not valid. */
	_Atomic uintptr_t *directory;
	uint64_t directory_entries;
};

#define SLICE_IS_LOADING ((uintptr_t)1)

/* --- nodes (node.c, chain.c): the layers of the chain ------------------------------------------- */

/*
 * One image file.  The top one is what the guest writes to; those below it never change, and say
 * what is where the ones above them have nothing.
 */
struct node {
	struct image *image;
	struct host_file *file; /* header, tables, refcounts */
	struct host_file *data; /* the guest's bytes: file, or the external data file */
	bool raw; /* guest bytes are host bytes; of the rest only the size is set */
	bool data_raw; /* the data file alone is to say what the guest's disk holds */
	struct geometry geo; /* as it was opened: its size_bytes is the disk's no longer */
	/* What the engine serves: of the top more than the guest may ask for, while it is resized. */
	_Atomic uint64_t size_bytes;
	struct qcow2_header header;
	uint8_t *header_sector; /* the first sector of the file as it is on disk */

	struct be64_atomic *l1; /* as on disk; the top's is changed under flush.lock */
	uint32_t l1_entries;
	size_t l1_bytes; /* whole sectors */
	bool l1_lent; /* it belongs to the arena */
	struct cache cache;

	struct bitmap_directory bitmaps; /* none: .bitmaps is 0 */
	struct crypto_area crypto; /* the LUKS header; none: .bytes is 0 */
	struct cipher *cipher; /* of the guest's bytes, but for compressed clusters; NULL: none */
	char *data_name; /* as the header has it; NULL: no external data file */
	char *below_name; /* the same of the layer below */
	char below_format[LIMIT_BACKING_FORMAT + 1]; /* "": the header does not say */
	struct node *below; /* NULL: what is absent here is zeros */
	/* The guest's bytes from here on have nothing below them; a multiple of the cluster size. */
	_Atomic uint64_t backed_bytes;
	_Atomic uint32_t damage_told; /* see log_is_worth(): of damaged compressed clusters */
};

static inline uint64_t node_bytes(const struct node *node)
{
	return atomic_load_explicit(&node->size_bytes, memory_order_acquire);
}

static inline uint64_t node_backed_bytes(const struct node *node)
{
	return atomic_load_explicit(&node->backed_bytes, memory_order_acquire);
}

/* --- making L2 tables (table.c) ------------------------------------------------------------------ */

#define TABLE_JOBS 8
#define TABLE_COPY_BYTES (64 * KIB)

struct table_job {
	struct task task;
	struct image *image;
	struct io io;
	uint64_t l1_index;
	uint64_t host_cluster; /* the new table */
	uint32_t host_word; /* where it stands as stock until it is linked */
	bool zero; /* it reads as zeros already */
	struct l1_entry old; /* copied from when it is a table */
	uint32_t copied; /* bytes */
	uint8_t *bounce;
	bool busy;
	struct waitq waiters;
};

struct tables {
	pthread_mutex_t lock;
	struct table_job job[TABLE_JOBS];
	struct waitq starved; /* wait for a job that is not busy */
};

/* --- syncs (sync.c): which of them may be believed ---------------------------------------------- */

/* Who syncs, each one sync at a time; and so does each durable write (IO_DSYNC). */
enum sync_source { SYNC_FLUSH, SYNC_ALLOC, SYNC_SOURCES };

/* Guarded by flush->lock. */
struct syncs {
	uint64_t resolved[SYNC_SOURCES]; /* how many have ended, and a failure has been latched */
	bool running[SYNC_SOURCES];
	struct list writes; /* durable ones that are not resolved, by start; struct durable_write */
	uint64_t writes_begun;
	struct waitq waiters; /* for one to be resolved */
};

/* --- what flushes write and releases wait for (flush.c) -------------------------------------------- */

#define FLUSH_IOS 32
#define FLUSH_L1_BLOCKS 64u
#define L1_BLOCK_BYTES 4096u

/* What held references: an index, shifted, and its kind. */
enum where { WHERE_DATA, WHERE_PACKED, WHERE_TABLE, WHERE_NOT };
#define WHERE_BITS 2u
#define WHERE_KIND ((UINT64_C(1) << WHERE_BITS) - 1)

static inline uint64_t where_make(uint64_t index, enum where kind)
{
	return index << WHERE_BITS | kind;
}

/* Host clusters, with refcounts, that hold something for a stretch of the guest's disk. */
struct references {
	uint64_t cluster;
	uint32_t clusters; /* 0: none */
	uint64_t where; /* DATA: first guest cluster, PACKED: guest cluster, TABLE: L1 index */
};

/* References to host clusters that a change of a mapping has dropped. */
struct release {
	struct list link;
	uint64_t cluster;
	uint32_t count;
	uint64_t where; /* what held them */
	uint64_t epoch; /* when it became durable */
	struct release_words *words; /* the same in the arena */
};

struct flush {
	pthread_mutex_t lock;
	struct list dirty; /* slices to be written */
	struct list pending; /* releases whose drop is not durable */
	struct list free_releases; /* the one that was used last first */
	uint32_t dirty_count; /* on the dirty list, frozen, or promised to a link */
	uint32_t dirty_max;
	uint32_t releases_free; /* not promised */
	uint8_t *l1_dirty; /* one byte a block of L1 */
	uint32_t l1_dirty_count;
	bool data_first; /* some change needs the data to be durable before it (law 2) */
	bool l1_moving; /* to another place, or about to: nothing is linked in it, no run begins */
	bool running;
	uint64_t started; /* runs begun */
	uint64_t finished; /* runs ended */
	uint64_t succeeded; /* the last run that ended well */
	int err; /* of the last run that did not */
	struct waitq waiters; /* for the end of a run */
	struct waitq starved; /* for room: dirty slices or releases */

	/* The runner's, while running. */
	struct slice **frozen;
	uint64_t *frozen_off; /* host offset of each */
	uint32_t frozen_count;
	uint32_t cursor;
	struct list frozen_releases;
	uint32_t l1_frozen[FLUSH_L1_BLOCKS];
	uint32_t l1_frozen_count;
	bool frozen_data_first;
	bool settled; /* nothing but these copies is owed to the disk */
	uint8_t *bounce; /* dirty_max slices, then FLUSH_L1_BLOCKS blocks of L1 */
	size_t bounce_bytes;
	uint64_t bounce_used; /* the last run that copied anything, 0 once the memory was given back */
	uint64_t bounce_seen; /* what that was when flush_rest_locked() last looked */
	struct release *releases; /* as many as the arena has, of which were ever used: */
	uint32_t releases_used;
	struct io io[FLUSH_IOS];
};

/* Whether the next write is made durable by itself (alone.c). */
struct alone {
	_Atomic bool next;
	bool given; /* what next was at the last flush; who runs a flush */
};

/* Flushes that nobody asked for (writeback.c). */
struct writeback {
	struct task urgent;
	struct task lazy;
	struct io timer;
	struct req flush;
	struct waitq idle; /* the two tasks park here; flush->lock */
	bool wanted;
	bool lazy_wanted;
	bool ended; /* no flush is begun any more: the image is being closed */
	bool flushing; /* one has been begun, and has not ended */
	struct waitq quiet; /* for its end: who closes the image; flush->lock */
};

/* --- host clusters (reserve.c, alloc.c, refblock.c, grow.c) ------------------------------------------ */

#define RESERVE_RUNS 8

/* Host clusters with a refcount of 1 on disk and no reference. */
struct run {
	uint64_t cluster;
	uint32_t count;
	bool zero; /* reads as zeros, durably */
	bool space; /* the host has some set aside for all of it */
	uint32_t word; /* of the lane's in the arena: the run stands there until it is linked */
};

/* A lane's stock. */
struct reserve {
	struct run *run; /* the lane's own; room for what every part may give back */
	uint32_t runs;
	uint32_t runs_max;
	uint32_t *free_word; /* of the lane's in the arena that were ever used, a stack */
	uint32_t free_words;
	uint32_t words_used;
	bool asked; /* the lane's own: a refill is under way or has come */
	/* Under alloc->lock: */
	struct run next[RESERVE_RUNS];
	uint32_t next_runs;
	bool wanted;
	struct waitq waiters;
	uint32_t batch; /* clusters of the last refill; the allocator's while asked */
	uint32_t batch_max;
};

#define REF_PIECES 32

/* A piece of a refcount block in memory; the allocator's alone. */
struct ref_piece {
	uint8_t *bytes; /* in the arena */
	uint64_t index; /* host cluster >> slice_refcounts_bits, or SLICE_NONE */
	uint64_t used; /* when; for eviction */
	bool dirty;
	struct io io;
};

/* Getting a piece into memory (refblock.c); a child of the allocator. */
struct piece_load {
	struct task task;
	struct task *parent;
	struct ref_piece *piece;
	uint64_t index;
};

/* Making a refcount block, or a larger refcount table (grow.c); a child of the allocator. */
struct grow {
	struct task task;
	struct task *parent;
	struct io io;
	uint64_t block; /* index of the block that is missing */
	uint64_t first; /* host cluster of the first new block, or of the one being linked */
	uint64_t blocks; /* how many, and behind them: */
	uint64_t table_clusters;
	uint64_t written; /* slices of new blocks */
	uint64_t tried; /* where a larger table is being made, or could not be; 0: nowhere */
	bool again; /* this one lies there */
	uint64_t new_size; /* of the file */
	uint64_t unlinked; /* a block that the table on disk may name, or not; 0: none */
	uint8_t *bounce; /* slice_bytes */
};

/*
 * All refcounts belong to one task on the service lane: no lock but for what is handed over.
 */
struct alloc {
	pthread_mutex_t lock;
	struct list released; /* durable drops, oldest first */
	struct waitq idle; /* the allocator, when there is nothing to do */
	struct waitq closed; /* who waits for the end */
	bool starved; /* orders wait for what is being dropped */
	bool flush_failed; /* the last run of a flush */
	bool closing;
	bool closed_down;
	int close_err;

	/* The allocator's own: */
	struct task task;
	struct image *image;
	struct be64 *table; /* the refcount table as on disk, room for the largest */
	uint64_t table_entries;
	struct host table_host;
	uint32_t table_clusters;
	struct ref_piece piece[REF_PIECES];
	uint64_t clock;
	uint64_t scan; /* no free cluster below is known */
	uint64_t tail; /* clusters from here on have never been written */
	uint64_t limit; /* clusters from here on are never used */
	uint64_t file_bytes; /* size of the file now */
	bool cut_short; /* it may be less: the file had ended before what is counted in it */
	uint64_t opened_bytes; /* file_bytes when it was opened */
	bool no_punch; /* the host cannot punch holes */
	bool ahead; /* the host was asked to set space aside for what was found (ahead.c) */
	uint64_t ahead_began; /* ... when, in monotonic nanoseconds */
	uint64_t ahead_after; /* the same: until then it is not asked */
	_Atomic uint32_t leaks_told; /* see log_is_worth() */
	bool marked; /* the image as corrupt; or it was tried */
	struct piece_load load;
	struct grow grow;

	struct list work; /* releases being dropped */
	struct release old_table; /* for the refcount table that was grown out of */
	struct release returned; /* for a run given back at close */
	struct release old_l1; /* for the L1 table that was grown out of */
	struct release new_l1; /* clusters in a row for the next one, counted; .count 0: none */
	bool row; /* what is searched for is such a row */
	uint64_t row_at; /* ... from here on */
	unsigned lane; /* being served */
	uint32_t want; /* clusters, for that lane */
	uint32_t got;
	uint32_t budget; /* pieces below the tail that may still be searched for this refill */
	struct run found[RESERVE_RUNS]; /* counted in memory; kept when a refill fails */
	uint32_t founds;
	struct sync_wait sync_wait; /* its own and its children's */
	uint64_t trim; /* one behind the last cluster in use, while looking for it */
	struct io io[RESERVE_RUNS];
};

/* --- a larger disk, or a smaller one (resize.c, shrink.c) --------------------------------------- */

#define RESIZE_MOVES_MOST 64u

/* What the allocator is to do for it. */
enum resize_order {
	RESIZE_NOTHING,
	RESIZE_SPACE, /* have clusters in a row for a larger L1 table: alloc->new_l1 */
	RESIZE_HEADER, /* write the header: where L1 is, or how large the disk */
	RESIZE_EMPTY, /* wait until all are gone who came in before the door closed */
};

struct resize {
	struct task task;
	struct io io;
	struct req req; /* of its own: zeros, then a flush */
	uint64_t bytes; /* of the disk, then */
	uint32_t l1_entries;
	uint32_t l1_clusters;
	unsigned moves; /* of the table, so far */
	bool moving; /* the table is to become larger first */
	uint64_t bytes_before; /* of the disk: one that becomes smaller */
	uint64_t used; /* the first guest byte that was found in use behind the new end */
	uint64_t epoch; /* when the door closed, ... */
	uint64_t requests; /* ... and the same of whole requests */
	struct sync_wait sync_wait;
	void (*done)(void *arg, int err);
	void *arg;
	/* Under alloc->lock: */
	bool busy;
	bool unused; /* alloc->new_l1 is to be given back */
	enum resize_order order;
	int answer;
	struct waitq answered;
	struct waitq ended; /* for who wants to close the image */
};

/* --- compressed clusters (unpack.c) --------------------------------------------------------------------- */

#define UNPACK_SLOTS 8

enum unpacked_state { UNPACKED_FREE, UNPACKED_LOADING, UNPACKED_VALID };

/* A compressed cluster, decompressed.  Guarded by unpack->lock. */
struct unpacked {
	enum unpacked_state state;
	struct node *node;
	uint64_t entry; /* of the L2 table: what is there never changes */
	uint32_t users; /* parts that wait for it, or are about to look */
	uint64_t used; /* when; for eviction */
	uint8_t *bytes; /* a cluster */
	uint8_t *stream; /* what is read from the file; behind the cluster */
	struct unpack *unpack;
	struct waitq waiters; /* while LOADING */
	struct task task;
	struct io io;
	uint8_t epoch; /* shared with the part that began; until the stream has been read */
};

/* A lane's own: the lock is never contended. */
struct unpack {
	pthread_mutex_t lock;
	struct unpacked slot[UNPACK_SLOTS];
	struct inflater *inflater; /* of what the lane decompresses by itself */
	uint8_t *memory;
	size_t memory_bytes;
	size_t slot_bytes; /* of memory: a cluster and a stream */
	uint64_t clock;
	struct waitq starved; /* for a slot that nobody uses */
};

/* --- copy on write --------------------------------------------------------------------------------------- */

#define COPY_BUFFERS_MAX 64u

/* What a part that copies on write reads from the old mapping. */
struct copy {
	struct req head;
	struct req tail;
	struct task *parent;
};

struct copies {
	pthread_mutex_t lock;
	unsigned buffers;
	uint8_t *memory; /* a pair of clusters for each buffer: head and tail; then: */
	struct copy *copy; /* of each buffer */
	size_t memory_bytes;
	bool busy[COPY_BUFFERS_MAX];
	struct waitq waiters;
};

/* --- encrypted writes (bounce.c) -------------------------------------------------------------------------- */

#define BOUNCE_POOLS 2

struct bounce_pool {
	uint32_t bytes; /* of a buffer */
	uint32_t buffers;
	uint32_t free_count;
	uint8_t **free; /* a stack */
	struct waitq waiters;
};

/* A lane's own: the lock is never contended. */
struct bounce {
	pthread_mutex_t lock;
	struct bounce_pool pool[BOUNCE_POOLS]; /* small, large */
	uint8_t *memory;
	size_t memory_bytes;
};

/* --- what guest data must never overwrite (overlap.c) ---------------------------------------------------- */

struct overlap_slot {
	_Atomic uint64_t key; /* number of a word, plus 1; 0: free */
	_Atomic uint64_t bits; /* a bit for each of 64 clusters */
};

/* Of a slot, set at open only. */
struct overlap_found {
	uint64_t alone; /* nothing else may lie in these */
	uint64_t snapshot; /* L2 tables that a snapshot refers to */
};

struct overlap {
	struct overlap_slot *slot; /* NULL: the image is never written */
	struct overlap_found *found; /* by slot */
	uint64_t mask; /* slots, a power of two, minus 1 */
	unsigned shift; /* of a hash of 64 bits */
	_Atomic uint64_t used; /* slots */
	_Atomic uint64_t end; /* clusters from here on are behind the end of the file */
} __attribute__((aligned(CACHE_LINE)));

/* --- the whole --------------------------------------------------------------------------------------------- */

struct image_lane {
	struct lane *lane;
	struct epoch_lane epoch;
	struct epoch_lane inside;
	struct reserve reserve;
	struct list free_parts; /* the one that was used last first */
	struct part *parts; /* reqs_per_lane of them, of which were ever used: */
	unsigned parts_used;
	struct unpack unpack;
	struct bounce bounce;
	uint32_t hits_untimed; /* until one is timed: counts down from: */
	uint32_t hits_every;
	uint64_t hit_timed_at; /* monotonic nanoseconds */
	struct live_histogram requests[REQ_OPS][CAUSES];
} __attribute__((aligned(CACHE_LINE)));

struct counters {
	_Atomic uint64_t syncs;
	_Atomic uint64_t flush_runs;
	_Atomic uint64_t refills;
	_Atomic uint64_t slice_loads;
	_Atomic uint64_t slice_writes;
	_Atomic uint64_t clusters_allocated;
	_Atomic uint64_t clusters_released;
	_Atomic uint64_t clusters_unpacked;
	_Atomic uint64_t clusters_reserved;
	_Atomic uint64_t clusters_taken;
	_Atomic uint64_t clusters_dropped;
};

struct closer {
	struct task task;
	struct req flush;
	void (*done)(void *arg, int err);
	void *arg;
};

struct image {
	struct node top;
	bool read_only;
	bool hits; /* requests may be served by hit.c */
	bool encrypted; /* some layer is */
	_Atomic int broken; /* 0, or why nothing is written any more (law 7) */
	_Atomic bool corrupt; /* it broke because its metadata makes no sense */
	/* What a dead process has left was taken over, and nothing has been flushed since. */
	_Atomic bool inherited;
	/* What the guest may ask for; durable, but while it becomes smaller. */
	_Atomic uint64_t disk_bytes;
	bool snapshots_incomplete; /* some do not say how large the disk was */

	void *zeros; /* as many as a cluster of the top has, never written */
	struct arena arena;

	unsigned lanes;
	unsigned reqs_per_lane;
	struct image_lane *lane; /* by id */
	unsigned workers;
	struct inflater **inflater; /* of each worker */
	uint32_t unpack_here_bytes; /* lanes decompress clusters up to this size by themselves */

	struct epoch epoch;
	struct epoch requests; /* the same of whole requests, in lane->inside: see door.h */
	struct cache cache;
	struct tables tables;
	struct syncs syncs;
	struct flush flush;
	struct alone alone;
	struct writeback writeback;
	struct alloc alloc;
	struct copies copies;
	struct overlap overlap;
	struct closer closer;
	struct resize resize;
	struct counters counters;
};

static inline struct image_lane *image_lane(struct image *image, const struct lane *lane)
{
	return &image->lane[lane->id];
}

static inline struct lane *service_lane(struct image *image)
{
	return image->lane[image->lanes - 1].lane;
}

static inline uint64_t image_disk_bytes(const struct image *image)
{
	return atomic_load_explicit(&image->disk_bytes, memory_order_acquire);
}

static inline void count(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* 0, or the errno with which writes fail since the image broke. */
static inline int image_broken(const struct image *image)
{
	return atomic_load_explicit(&image->broken, memory_order_acquire);
}

/*
 * Latch: nothing is written any more, who waits to write is told.  Any lane, no lock held by the
 * caller but flush->lock is taken, so not under a leaf lock.
 */
void image_break(struct image *image, int err, const char *what);

/*
 * The same for metadata of the top layer that makes no sense, as @format says.  The image gets its
 * corrupt mark, so that nobody writes to it before it is repaired (specification:
 * "incompatible_features").  No lock held.
 */
void image_corrupt(struct image *image, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#endif
