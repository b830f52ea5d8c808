/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The front door: one guest request, and the part, which is the machine that serves it. */
#ifndef REQ_H
#define REQ_H

#include "base.h"
#include "io.h"
#include "task.h"

struct image;
struct node;
struct slice;
struct unpacked;

enum req_op { REQ_READ, REQ_WRITE, REQ_FLUSH, REQ_DISCARD, REQ_WRITE_ZEROES };

#define REQ_OPS 5u

enum req_flags {
	REQ_FUA = 1 << 0, /* durable when done */
	REQ_NOUNMAP = 1 << 1, /* REQ_WRITE_ZEROES: keep the space allocated */
};

/*
 * What a request met on its way: the one that comes last here is what it is counted under.  A hit
 * needed nothing but the host I/O for its bytes.
 */
enum cause {
	CAUSE_HIT,
	CAUSE_MISS, /* a slice of an L2 table had to be loaded */
	CAUSE_UNPACK, /* a cluster had to be decompressed */
	CAUSE_ALLOCATE, /* clusters or tables had to be allocated */
	CAUSE_COPY, /* the same, with bytes to be copied from elsewhere */
	CAUSE_FLUSH, /* it waited for a flush, or is one */
	CAUSES
};

/* Guest clusters of one slice that are just being given host clusters; others park on it. */
struct claim {
	uint64_t first_cluster; /* guest clusters */
	uint64_t last_cluster; /* inclusive */
	struct waitq waiters; /* under the lock of the list that holds it */
	struct list link;
};

/* Other syncs that have to end before an own one may be believed: see src/image/sync.h. */
struct sync_wait {
	bool asked; /* the rest is set */
	uint64_t needed[2]; /* by source */
	uint64_t writes; /* durable writes: all up to this one */
};

/* A write that syncs for itself, from its start until its result has been looked at: see src/image/sync.h. */
struct durable_write {
	uint64_t nth; /* counted from 1 on, by start; 0: none */
	struct list link;
};

/* What a stretch of the guest's disk is. */
enum extent_kind {
	EXTENT_DATA, /* bytes at host */
	EXTENT_ZERO, /* reads as zeros, explicitly */
	EXTENT_ABSENT, /* nothing in this file: backing, or zeros */
	EXTENT_PACKED, /* a compressed cluster, or a piece of one */
};

struct extent {
	enum extent_kind kind;
	bool in_place; /* DATA or preallocated, and the clusters are ours alone (COPIED) */
	bool preallocated; /* ZERO or ABSENT, with host clusters that are set aside */
	bool backed; /* there is a layer below: what is absent here may be there */
	struct host host; /* of the first byte; meaningful for DATA and what is preallocated */
	uint64_t entry; /* PACKED: the entry of the L2 table */
	uint64_t len; /* bytes, from the guest offset that was asked for */
};

#define PART_IOS 3 /* head, guest bytes, tail */

/*
 * A stretch of a request with one mapping decision at a time.  Private to the engine; a request
 * carries its first part inline, further ones come from the lane's pool.
 */
struct part {
	struct task task;
	struct req *req;
	struct image *image;
	struct guest guest; /* what is still to do: the first byte */
	uint64_t len; /* ... and how many */
	struct span span; /* of the first byte; zeros for a write of zeros */
	struct extent extent; /* the decision at hand; extent.len bytes of the above */
	struct node *node; /* the layer that the look-up has come to; NULL: none yet */
	uint64_t reach; /* bytes that are absent in all layers above it */
	struct unpacked *unpacked; /* a decompressed cluster that is waited for */
	struct slice *held; /* a slice that was loaded for this part, until it has looked */
	struct slice *slice; /* pinned while claimed */
	uint64_t host_cluster; /* newly allocated, first of extent.len's clusters; 0: none */
	uint32_t clusters; /* how many */
	uint32_t host_word; /* where they stand as stock until they are linked */
	bool fresh_zero; /* ... and they read as zeros where not written */
	bool fresh_space; /* ... and the host has set space aside for them */
	bool reuse; /* no new host clusters: those that were preallocated, or of a data file */
	uint32_t head; /* bytes in front of the guest's that have to come along: see src/image/cow.h */
	uint32_t tail; /* ... and behind them */
	bool copies; /* ... and not all of them are zeros */
	bool was_zero; /* all that gets mapped read as zeros before */
	bool data_first; /* the mapping may be durable only after the bytes (law 2) */
	int copy_buffer; /* index of the copy buffer held, or -1 */
	uint8_t *bounce; /* the buffer held for encrypted bytes, or NULL */
	uint8_t bounce_pool; /* ... and whose it is */
	bool writes_zeros; /* span is the image's zeros: do not advance it */
	bool claimed;
	bool pooled;
	uint8_t epoch; /* the bucket entered, or EPOCH_OUTSIDE: see src/image/epoch.h */
	bool flush_after; /* FUA on a mapping that is not durable: end with a flush */
	uint64_t disk_bytes; /* REQ_DISCARD, REQ_WRITE_ZEROES: when the mapping was looked at */
	uint64_t later; /* bytes of a REQ_WRITE_ZEROES behind the piece being written */
	uint64_t flush_run; /* the run that covers this part; 0: none yet */
	struct sync_wait sync_wait;
	struct durable_write durable;
	struct claim claim;
	struct list link; /* of the pool */
	struct io io[PART_IOS];
};

/*
 * One guest request.  The caller fills the first group, keeps req and buffer untouched from
 * image_submit() to done(), and gets it back there.
 */
struct req {
	enum req_op op;
	unsigned flags; /* enum req_flags */
	struct guest guest; /* first byte; a multiple of SECTOR_SIZE */
	uint64_t len; /* bytes; a multiple of SECTOR_SIZE; 0 for REQ_FLUSH only */
	/* READ: destination, WRITE: source; else unused */
	struct span span;
	/* On the lane that submitted it, exactly once; may submit again. */
	void (*done)(struct req *req);

	int result; /* 0 or -errno, valid in done() */

	/* Private to the engine. */
	uint32_t parts; /* not yet done */
	uint8_t cause; /* enum cause, so far */
	uint8_t inside; /* as part.epoch, of the whole request: see src/image/door.h */
	uint32_t weight; /* in statistics, if it is a hit */
	uint64_t started; /* monotonic nanoseconds; 0: one of the engine's own, not counted */
	struct part part;
};

#endif
