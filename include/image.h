/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The engine: one qcow2 image, many lanes.  It knows neither ublk nor io_uring.
 *
 * Life: image_open() (blocking) -> image_submit() from any lane -> image_close_start() on one
 * lane when no request is left, run the lanes until its callback -> image_free().
 */
#ifndef IMAGE_H
#define IMAGE_H

#include "base.h"
#include "io.h"
#include "req.h"
#include "stats.h"
#include "task.h"

struct image;

/* How the other files of an image are opened; the engine knows no paths. */
struct image_files {
	/*
	 * Open the file that the header of @above names @name, for reading only; it outlives the
	 * image.  -errno with the sentence in @why.
	 */
	int (*open_below)(void *arg, const struct host_file *above, const char *name,
			  struct host_file **file, struct why *why);
	/*
	 * The same for the external data file of @image, which is written to when @image is: what
	 * lies below is not.
	 */
	int (*open_data)(void *arg, const struct host_file *image, const char *name,
			 struct host_file **file, struct why *why);
	void *arg;
	const char *backing_format; /* of what lies directly below, if not recorded; or NULL */
};

#define HANDOVER_IDENTITY 64u

/*
 * Memory that outlives the process (law 8 in src/image/flush.c): what was acknowledged and is not
 * in the file yet stands there, so that a daemon which is killed loses nothing.  What is in it is
 * the engine's business.
 *
 * image_open() calls all three, in this order and at most once each, before lanes run.  A process
 * that dies before keep() has returned leaves what it had inherited, one that dies later leaves
 * what it had made.  0 or -errno with the sentence in @why, with which image_open() fails.
 */
struct handover {
	/*
	 * What a dead process has left for this image; *@bytes is 0 when that is nothing.  All host
	 * I/O of that process has ended.  Only read, until keep() is called or image_open() fails.
	 */
	int (*inherit)(void *arg, void **memory, uint64_t *bytes, struct why *why);
	/*
	 * @bytes of zeros for this process: page aligned, MAP_SHARED, pages not touched so far; to
	 * store there must not fail later on (SIGBUS on a full tmpfs).  Outlives the image.
	 */
	int (*make)(void *arg, uint64_t bytes, void **memory, struct why *why);
	/*
	 * Nothing that was inherited is needed any more: it is in the file, or in the memory that was
	 * made, which is handed over from now on.  Atomic: a kill leaves one or the other.
	 */
	int (*keep)(void *arg, struct why *why);
	void *arg;
	/*
	 * Of the image and of this boot of the host; opaque bytes, compared with those that stand in
	 * inherited memory.  What another image or another boot has left is refused.
	 */
	uint8_t identity[HANDOVER_IDENTITY];
};

/* Which form that memory has: a process of another one can do nothing with it. */
uint32_t image_handover_layout(void);

struct image_options {
	bool read_only;
	const char *snapshot; /* id or name of an internal one to serve, read only; NULL: none */
	/* Opens every layer that is encrypted; NULL: refuse such.  Needed until image_open() returns. */
	const void *key;
	size_t key_bytes; /* at most LIMIT_KEY_FILE_BYTES */
	uint64_t l2_cache_bytes; /* of each layer; 0: as much as maps the whole disk, within LIMIT_L2_CACHE_DEFAULT */
	unsigned reqs_per_lane; /* requests that one lane may have in the engine at a time */
	unsigned lanes; /* how many; the last one also runs the background jobs */
	struct lane *const *lane; /* by id; initialised, outlive the image */
	unsigned buffers; /* for copies, and of each size and lane for encrypted writes; 0: default */
	/*
	 * Threads that do the rings' IO_WORK, io_work_fn's @worker; 0: there are none, and lanes
	 * decompress by themselves.
	 */
	unsigned workers;
	uint32_t unpack_here_bytes; /* lanes do with clusters up to this size; 0: default */
	uint64_t reserve_bytes; /* largest run that a lane reserves at a time; 0: default */
	/*
	 * The disk may be resized to so much, or twice of what it has, if its tables take no more than
	 * LIMIT_L1_ROOM then; 0: tables stay as large as they are.
	 */
	uint64_t size_most;
	struct image_files files;
	/*
	 * Copied; not used when read_only.  NULL: a kill loses what was acknowledged and not flushed.
	 * When image_close_start() has ended well, nothing in its memory matters any more.
	 */
	const struct handover *handover;
};

/* Facts for whoever presents the image. */
struct image_info {
	uint64_t size_bytes; /* of the guest's disk, now; a multiple of SECTOR_SIZE */
	uint32_t cluster_bytes;
	unsigned version;
	bool read_only;
	bool discards; /* a discarded range may be given back to the host */
	unsigned layers; /* 1: no backing file */
	bool encrypted; /* some layer is: requests must have their bytes in memory */
	bool broken; /* nothing is written to it any more; the rest never changes */
};

/* Counters since open; a snapshot, each exact. */
struct image_stats {
	uint64_t syncs; /* IO_SYNC started by flushes */
	uint64_t flush_runs;
	uint64_t refills; /* runs of clusters reserved */
	uint64_t slice_loads; /* metadata reads */
	uint64_t slice_writes;
	uint64_t clusters_allocated; /* linked or given back, by requests */
	uint64_t clusters_released; /* references dropped */
	uint64_t clusters_unpacked; /* decompressed */
	uint64_t clusters_reserved; /* with durable refcounts, in stock or taken since */
	uint64_t clusters_taken; /* ... out of the stock */
	uint64_t clusters_dropped; /* references that were dropped, released by now or not */
	uint64_t epoch_ns; /* how long a release has been waiting for an epoch to end; 0: none does */
};

/* What the requests of one or more lanes were, and how long they took. */
struct image_traffic {
	/* Of hits only some are timed, and stand for the others; all else is counted one by one. */
	struct histogram request[REQ_OPS][CAUSES];
	struct histogram host[IO_HOST_OPS]; /* the same */
	uint64_t host_bytes[IO_HOST_OPS];
};

/*
 * Read header and tables, validate all of it (qcow2 specification: header, L1, refcount table),
 * of the whole chain, and make an image.  Blocking; before lanes run; writes nothing.  @file outlives the image.
 * Errors: -EINVAL malformed, -ENOTSUP a feature that is not supported, -EIO, -ENOMEM; the
 * sentence is in @why.
 */
int image_open(struct image **image, struct host_file *file, const struct image_options *options,
	       struct why *why);

struct image_info image_info(const struct image *image);

enum image_health {
	IMAGE_SOUND,
	IMAGE_BROKEN, /* a write or sync of it has failed: nothing is written any more */
	IMAGE_CORRUPT, /* the same, because its metadata makes no sense */
};

/* Any thread. */
enum image_health image_health(const struct image *image);

/*
 * May the disk be resized to @bytes?  0, or -errno with the sentence in @why: -EROFS, -EIO when it is
 * broken, -EINVAL, also for less than it has without @shrink, -EFBIG more than there is room for, -ENOTSUP
 * what QEMU refuses as well, or a raw external data file.  Any thread, while nobody resizes it.
 */
int image_resize_check(const struct image *image, uint64_t bytes, bool shrink, struct why *why);

/*
 * Is nothing behind the cluster in which a disk of @bytes would end, which is at most what it has?
 * @done(@arg, 0, -EBUSY with the place of the first thing there in image_used(), or another error), as
 * below.  Somebody may write there afterwards.
 */
void image_unused_start(struct image *image, uint64_t bytes, void (*done)(void *arg, int err),
			void *arg);

/* The guest's byte at which something was, when the last of these two ended with -EBUSY. */
uint64_t image_used(const struct image *image);

/*
 * Resize the disk to @bytes, which image_resize_check() has let through, while requests run.  One at
 * a time; on the service lane's thread, where also @done(@arg, 0 or the first error) is called, which must
 * not call the engine.  That the disk has this size is durable.  After an error it is as large as it was,
 * but if the image has broken: then the file may say either (specification: "size", "l1_size").
 *
 * Larger: what is new reads as zeros, and may be asked for from then on.  Smaller: -EBUSY when something
 * is behind the new end; requests that reach there fail with -EIO from when it begins.
 */
void image_resize_start(struct image *image, uint64_t bytes, void (*done)(void *arg, int err),
			void *arg);

/*
 * Hand in a request.  On the lane's own thread, no lock held.  req->done() is called later from
 * the lane, or from inside this call.  Results: -EIO, -ENOSPC, ... of the host; -EIO for writes once the
 * image is broken, and for a range that does not lie on the disk; -EROFS.
 */
void image_submit(struct image *image, struct lane *lane, struct req *req);

/*
 * Write back everything, give back what was reserved, trim the file; then @done(@arg, 0 or the
 * first error) on that lane.  No request is in the engine and none will come.
 */
void image_close_start(struct image *image, struct lane *lane, void (*done)(void *arg, int err),
		       void *arg);

/* After close (or instead of it when lanes never ran, or in a simulated crash). */
void image_free(struct image *image);

/* Any thread, without a lock. */
struct image_stats image_stats(const struct image *image);

/* Slices that are changed and not yet written: now, and at most. */
struct image_dirt {
	uint64_t slices;
	uint64_t slices_max;
};

/* Any thread; takes a lock that is never held for long. */
struct image_dirt image_dirt(struct image *image);

/* Add those of a lane to @sum, by number.  Any thread; each counter is exact. */
void image_traffic(const struct image *image, unsigned lane, struct image_traffic *sum);

/* --- a look at what is under way ------------------------------------------------------------- */

/* A part of a request, or a task of the engine's own: begun, and not ended. */
struct live {
	/* Whose part it is.  NULL: nobody's, and what follows up to longer means nothing. */
	const struct req *req;
	enum req_op op;
	struct guest guest; /* what is left of the part */
	uint64_t len;
	uint64_t began; /* the request, monotonic nanoseconds; 0: not known */
	int32_t tag; /* for who numbers requests; -1 */
	bool longer; /* for the same: it may have begun earlier */
	const char *machine;
	const char *state; /* where it goes on */
	const char *waits_for; /* the object that it is parked at; NULL: it is not */
	const char *io; /* the oldest host I/O that it waits for; NULL: none */
	const char *file;
	struct host io_off;
	uint64_t io_len;
	uint64_t since; /* of the I/O or the parking, monotonic nanoseconds; 0: not known */
};

struct live_list {
	struct live *live;
	unsigned room;
	unsigned count;
	unsigned missed; /* for want of room */
};

/*
 * Add what is under way on @lane to @look, but for the first part of each request, which comes from
 * image_look_at() with the requests that are not done.  On the lane's thread, between two turns,
 * after lane_settle().  Takes short locks; costs nothing when it is not called.
 */
void image_look(struct image *image, struct lane *lane, struct live_list *look);
void image_look_at(struct image *image, const struct req *req, struct live_list *look);

/*
 * For tests: called in the middle of a look at an extended entry without a lock.  NULL: not.
 */
extern void (*image_peek_seam)(void);

/*
 * Planted bugs, for the tests that prove that they would be found: engine code asks
 * mutant(NAME) where it is about to do the right thing.  Always false outside -DMUTANTS builds.
 */
#define MUTANT_LIST(m) \
	m(NO_DATA_SYNC) /* flush: no sync between data and the mappings of it */ \
	m(NO_META_SYNC) /* flush: no sync after the mappings were written */ \
	m(LATE_SNAPSHOT) /* flush: slices copied when written, not when frozen */ \
	m(COPIES_GIVEN_BACK) /* flush: the memory of the copies is given back while they are written */ \
	m(NO_RESERVE_SYNC) /* refcounts of a run are not durable when it is handed out */ \
	m(NO_CLAIM) /* two parts may allocate for one cluster */ \
	m(NO_SLICE_WAKE) /* a loaded slice does not wake who waits for it */ \
	m(NO_RESERVE_WAKE) /* a refilled lane is not told */ \
	m(NO_CLAIM_WAKE) /* the end of a claim wakes nobody */ \
	m(NO_FLUSH_WAKE) /* the end of a flush wakes nobody */ \
	m(NO_SLICE_FREE_WAKE) /* a slice that became clean or unpinned wakes nobody */ \
	m(SPARE_GIVEN_UP) /* who would change a slice takes it from who looks at it, before there is room for it */ \
	m(READS_NEED_ROOM) /* who only looks at a slice waits for a flush like who changes it */ \
	m(LOADS_STARVE) /* who waits for an idle load hears of a flush that fails */ \
	m(EARLY_REUSE) /* dropped clusters are free before the drop is durable */ \
	m(NO_EPOCH) /* dropped clusters are free while requests may still use them */ \
	m(NO_EPOCH_WAKE) /* the last request of an epoch does not tell who waits for it */ \
	m(NO_TABLE_SYNC) /* pointer to a new table written with, not after, the table */ \
	m(NO_TABLE_CLAIM) /* two parts may make the same L2 table */ \
	m(NO_ZERO_FILL) /* the rest of a recycled cluster is not zeroed */ \
	m(SYNC_ERROR_IGNORED) /* a failed fsync does not latch */ \
	m(SYNC_TRIED_AGAIN) /* an fsync through the page cache that was told EINTR is asked again */ \
	m(DURABLE_WRITES_FORGOTTEN) /* what a durable write may be told of is not waited for */ \
	m(OTHERS_OWE_NOTHING) /* flush: what other lanes have written is taken for durable */ \
	m(OWED_TAKEN_LATE) /* flush: what ends while it syncs is taken for synced */ \
	m(DSYNC_TRUSTED) /* flush, write: a durable write is taken for one where the host keeps none */ \
	m(TABLES_NOT_DURABLE) /* flush: where nothing else is owed, nor are its tables */ \
	m(FLUSH_JOINS_RUNNING) /* a flush is content with the run under way */ \
	m(NEW_BLOCKS_FRESH) /* what a device has in the place of new refcount blocks is taken for zeros */ \
	m(NO_REFBLOCK_SYNC) /* refcount table points at a block that is not durable */ \
	m(NO_COPY) /* copy on write without the copy */ \
	m(SCAN_GIVES_UP) /* no space at the end of a device: what was not searched is taken for full */ \
	m(GAP_STAYS) /* behind the end of a file that was cut short clusters are given out, and it stays so */ \
	m(AHEAD_IS_NEEDED) /* clusters for which no space could be set aside ahead are not given out */ \
	m(AHEAD_IN_VAIN) /* ... and what was set aside for some of them is not given back */ \
	m(SPACE_STAYS) /* what is freed goes on taking space of the host */ \
	m(TABLE_ELSEWHERE) /* each try to make a larger refcount table takes a new place */ \
	m(NO_SPACE_AT_ONCE) /* who waits for clusters is told that there are none, while some are dropped */ \
	m(FLUSH_FAILED_STAYS) /* ... when a flush has ever failed, though one has succeeded since */ \
	m(NO_BACKING_COPY) /* the rest of a new cluster is not copied from the backing file */ \
	m(ONE_PACKED_REFERENCE) /* a compressed cluster gives up its first host cluster only */ \
	m(NO_UNPACK_WAKE) /* a decompressed cluster does not wake who waits for it */ \
	m(UNPACKED_EARLY) /* a cluster is taken for decompressed while a worker is at it */ \
	m(NO_UNPACK_EPOCH) /* a compressed stream may be replaced while it is read */ \
	m(DISCARD_UNCOVERS) /* discard leaves an absent entry over a backing file */ \
	m(LATE_DATA_FILE_SYNC) /* flush: the data file is synced with, not before, the mappings */ \
	m(NO_DATA_FILE_SYNC) /* flush: the data file is not synced at all */ \
	m(DATA_FILE_FRESH) /* what was never mapped in a data file is taken for zeros */ \
	m(RAW_DATA_STAYS) /* zeroes over a raw data file change the mapping only */ \
	m(L1_TAIL_STAYS) /* what lies behind the L1 table on disk is part of it when the disk grows */ \
	m(FRAGMENTS_STAY) /* what failed writes put back is used last */ \
	m(SPLIT_BEFORE_LATER) /* zeroes: somebody else takes the rest, and what comes later begins there */ \
	m(RAW_DATA_HOLES) /* zeroes over an encrypted raw data file are holes in it */ \
	m(DATA_FILE_HOLES) /* holes are punched in an encrypted data file that is still mapped */ \
	m(BOUNCE_EARLY) /* the buffer of an encrypted write is used again while it is written */ \
	m(NO_BOUNCE_WAKE) /* a buffer that was given back wakes nobody */ \
	m(BOUNCE_BLIND) /* a write in place that has waited for a buffer does not look again */ \
	m(PLAIN_ZEROS) /* zeros that are written to an encrypted image are not encrypted */ \
	m(PLAIN_FILL) /* ... nor those around the bytes of a new cluster */ \
	m(IV_OF_GUEST) /* a sector is encrypted for the guest's address, not the file's */ \
	m(IV_OF_OLD_PLACE) /* what copy on write copies is encrypted for where it came from */ \
	m(ENCRYPTED_FRESH) /* what is not written in an encrypted cluster is taken for zeros */ \
	m(ENCRYPTED_ANY_ORDER) /* a mapping of encrypted bytes may be durable before them */ \
	m(ONE_KEY) /* what lies below is decrypted with the key of the top */ \
	m(TORN_ENTRY) /* who looks at an extended entry does not notice that it changes */ \
	m(COPY_TOUCHED_ONLY) /* data of a shared cluster is copied no further than the write goes */ \
	m(COPY_OVER_DATA) /* what is data behind the last bytes is copied onto itself */ \
	m(COPY_BY_FIRST) /* the first subcluster alone says whether there is something to copy */ \
	m(KNOWN_ZERO_BY_FIRST) /* ... and whether all read as zeros before (law 2) */ \
	m(RESERVED_READS_ZERO) /* what lies in a host cluster set aside is taken for zeros */ \
	m(RESERVED_UNSYNCED) /* ... and may be mapped before the new bytes are durable */ \
	m(ZERO_BITS_STAY) /* a subcluster that is written to still says that it is zero */ \
	m(ZERO_BITS_LOST) /* a new host cluster forgets which subclusters are zero */ \
	m(NO_L1_SYNC) /* resize: the header names a larger L1 table that is not durable */ \
	m(LINK_DURING_MOVE) /* resize: tables are linked in the L1 table while it moves */ \
	m(FLUSH_DURING_MOVE) /* resize: a flush writes to the L1 table while it moves */ \
	m(NO_GROWTH_ZEROS) /* resize: what is new is taken for zeros */ \
	m(SIZE_BEFORE_ZEROS) /* resize: the size is durable before the zeros at the new end */ \
	m(NO_DRAIN) /* shrink: who came in before the door closed is not waited for */ \
	m(NO_LAST_LOOK) /* shrink: what was written at the last moment is cut off */ \
	m(DOOR_STAYS_OPEN) /* shrink: requests behind the new end still come in */ \
	m(CLOSE_EARLY) /* the image is closed while a flush is under way that nobody asked for */ \
	m(SLICE_NOT_MARKED) /* kill: a changed slice is not taken over */ \
	m(MARK_GONE_EARLY) /* kill: a slice is not taken over while it is being written */ \
	m(L1_NOT_MARKED) /* kill: a new L2 table is forgotten */ \
	m(RELEASE_STAYS) /* kill: references that were dropped are dropped again */ \
	m(DROP_FORGOTTEN) /* kill: the reference that was being dropped is dropped again */ \
	m(STOCK_STAYS) /* kill: linked clusters are still in stock */ \
	m(STOCK_IS_ZERO) /* kill: stock that was taken over is taken for zeros */ \
	m(STOCK_TORN) /* kill: a run of stock is stored in two pieces */ \
	m(INHERITED_IS_DURABLE) /* kill: no sync between what was taken over and what is new */ \
	m(WRONG_HALF_FIRST) /* kill: of an extended entry, the word that should be last is first */ \
	m(NEW_L1_FORGOTTEN) /* kill: the space of an L1 table that is being made is forgotten */ \
	m(OLD_L1_FORGOTTEN) /* kill: ... and that of the one that it replaces */ \
	m(MOVE_NOT_MARKED) /* kill: nobody knows that the file may have either of two L1 tables */ \
	m(SIZE_NOT_MARKED) /* kill: nobody knows that the file may have either of two sizes */ \
	m(DROPS_WHEN_CORRUPT) /* what is being dropped goes on being dropped in a corrupt image */ \
	m(CORRUPT_TAKEN_AT_ITS_WORD) /* kill: refcounts of an image found to be corrupt must make sense */ \
	m(SHARDS_AS_ALONE) /* kill: the cache is divided as if there were nothing to take over */ \
	m(FAILED_PUNCH_IS_ZERO) /* what could not be punched, on a full host, reads as zeros */ \
	m(RELEASES_AS_ALONE) /* kill: there are as many releases as if there were nothing to take over */ \
	m(KEPT_EARLY) /* kill: handed over before all has been taken over */ \
	m(EARLY_GUEST_BYTES) /* the guest's bytes are put between what is still being read */ \
	m(FETCH_UNCHECKED) /* bytes of the guest's that could not be fetched are written all the same */

#define MUTANT_ENUM(name) MUTANT_##name,
enum mutant { MUTANT_NONE, MUTANT_LIST(MUTANT_ENUM) MUTANT_COUNT };

#ifdef MUTANTS
extern enum mutant mutant_planted;
#define mutant(name) (mutant_planted == MUTANT_##name)
/* The tests that kill the engine between two of its stores: called before each that counts. */
extern void (*kill_hook)(void);
#define kill_point() (kill_hook ? kill_hook() : (void)0)
#else
#define mutant(name) false
#define kill_point() ((void)0)
#endif

#endif
