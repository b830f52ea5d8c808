/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The simulated host behind the ring border: ios fly until the scheduler completes one of them,
 * in any order and with any mishap that the seed asks for.
 */
#ifndef RING_H
#define RING_H

#include "aside.h"
#include "below.h"
#include "disk.h"
#include "io.h"
#include "rng.h"
#include "task.h"

#define MAX_LANES 4

/* How often what goes wrong, in parts of 1000 of the ios that it may befall. */
struct faults {
	uint32_t again; /* EAGAIN or EINTR */
	uint32_t shortened; /* a transfer ends early */
	uint32_t error; /* EIO, of reads, writes, punches, truncates */
	uint32_t no_space; /* ENOSPC, of writes and truncates */
	uint32_t sync; /* EIO of a sync */
	uint32_t fetch; /* EIO of bytes that the guest has */
	uint32_t cipher; /* EIO of encryption and decryption */
	bool no_punch; /* the host cannot punch holes at all */
	uint32_t ahead; /* ENOSPC or EIO of space that is to be set aside */
	bool no_ahead; /* the host cannot do that at all */
};

/* What goes wrong once. */
enum strike_kind {
	STRIKE_NONE,
	STRIKE_EIO,
	STRIKE_ENOSPC,
	STRIKE_EAGAIN,
	STRIKE_EINTR,
	STRIKE_ECANCELED, /* it has not begun */
	STRIKE_SHORT, /* a transfer that ends early */
	STRIKE_KINDS,
};

/* One io fails: the nth that can fail in this way, counted by completion from 1 on. */
struct strike {
	enum strike_kind kind;
	uint64_t nth; /* 0: never */
	uint64_t passed; /* that could have been it */
	bool struck;
	const char *name; /* the io that it struck, for reports */
	uint64_t off;
	bool latches; /* ... and with it the image breaks (law 7) */
};

/* One blocking call, of those before lanes run, fails with EIO. */
struct open_strike {
	uint64_t nth; /* 0: none */
	uint64_t calls; /* set it to 0 to count from there */
	const char *name; /* of the call that it struck; NULL: none so far */
};

/* An io that the engine has queued and not got back. */
struct flight {
	struct io *io;
	unsigned lane;
	uint64_t hash; /* WRITE: of the bytes when it was queued */
	uint64_t begun; /* SYNC: what disk_sync_begin() said */
	struct hostop *op; /* done to the visible bytes already; NULL: not yet */
	bool read; /* READ: the bytes have been fetched already */
	uint64_t read_len; /* ... so many */
	bool synced; /* SYNC, and what a durable WRITE ends with: done already */
	bool sync_failed; /* ... in vain */
	bool worked; /* WORK: done already */
	int work_err; /* ... with that result */
	bool allocated; /* ALLOCATE: done already */
	bool guest; /* its memory belongs to a request */
	uint64_t guest_at; /* WRITE: where in the file such bytes begin, ... */
	uint64_t guest_len; /* ... and how many; 0: none */
	bool ghost; /* its task has not waited for it (ghost.c) */
};

struct sim_ring {
	struct ring ring; /* what the engine sees */
	struct lane lane;
	bool blocked; /* until a kick or a completion */
};

#define MAX_FLIGHTS 8192
#define MAX_BUFFERS 256

struct sim_host {
	struct rng *rng;
	struct disk disk;
	struct disk data; /* the image's external data file */
	struct aside aside; /* in the image's file */
	struct faults faults;
	struct strike strike;
	struct open_strike open_strike;
	uint64_t queued[IO_TIMER + 1]; /* ios of each kind, since the lanes began */
	uint64_t data_syncs; /* IO_SYNC of the data file; also among those */
	uint32_t early_percent; /* of the ios are done long before they complete */
	uint32_t held; /* bits of enum io_op: these complete late, and so do timers */
	uint32_t align;
	bool page_cache; /* the image and its data file are not direct */
	bool no_dsync; /* what is written there with IO_DSYNC may be lost all the same */
	bool device; /* the file's size is fixed */
	bool read_only;
	uint16_t file_index;
	uint64_t now; /* nanoseconds */
	unsigned lanes;
	unsigned workers; /* WORK is done by one of so many */
	struct sim_ring ring[MAX_LANES];
	struct flight flight[MAX_FLIGHTS];
	unsigned flights;
	unsigned timers; /* how many of them are timers */
	uint8_t *arena; /* all memory of requests */
	uint64_t arena_bytes;
	uint8_t *buffer[MAX_BUFFERS]; /* by slot number */
	uint64_t buffer_bytes;
	struct host_file file;
	struct below below;
	struct host_file below_file[MAX_LAYERS]; /* index: the image's + 1 and so on */
	struct host_file data_file[MAX_LAYERS + 1]; /* of each layer, then the image's; behind them */
	bool data_apart; /* the image has one */
	bool hostile; /* the image makes no sense: two clusters of the guest may be one of the host */
	bool sync_failed; /* what is visible is not what is on the medium, and nothing tells */
	bool mishap; /* something but EAGAIN, EINTR or a short transfer has gone wrong */
};

/* Who a lane's ring belongs to. */
struct sim_host *host_of(struct ring *ring);

/* Lanes, with nothing in flight.  The disk stays. */
void host_start(struct sim_host *host, unsigned lanes);
void host_stop(struct sim_host *host);

/*
 * Complete one io of a random choice.  @urgent: of any kind but timers, what is held back last;
 * false when there is none.
 */
bool host_complete_one(struct sim_host *host, bool urgent);

/* Complete this one: an index into host->flight. */
void host_complete(struct sim_host *host, unsigned flight);

/* Complete one of a random choice that is no timer, and not of @lane; false when there was none. */
bool host_complete_other(struct sim_host *host, unsigned lane);

/* Complete a timer; false when there is none. */
bool host_complete_timer(struct sim_host *host);

/*
 * The process dies: what flies has happened or not, by chance.  Memory of the engine is still
 * there.
 */
void host_kill(struct sim_host *host);

/* Give the disk what flies and is not done: for power cuts and looks at what they would leave. */
void host_append_flying(struct sim_host *host);

struct host_file *host_file(struct sim_host *host);

/* For image_files.open_below; @arg is the host. */
int host_open_below(void *arg, const struct host_file *above, const char *name,
		    struct host_file **file, struct why *why);

/* For image_files.open_data. */
int host_open_data(void *arg, const struct host_file *image, const char *name,
		   struct host_file **file, struct why *why);

/* The file that is written to, image or data; NULL: neither. */
struct disk *host_disk(struct sim_host *host, uint16_t file);

/* The bytes of a file that an io names. */
const struct sparse *host_bytes(struct sim_host *host, uint16_t file);

#endif
