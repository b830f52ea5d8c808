/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How an io ends: what it does to the file, and what goes wrong with it. */
#include "flight.h"

#include "memory.h"
#include "report.h"

#include <errno.h>
#include <stdlib.h>

static bool happens(struct sim_host *host, uint32_t per_mille)
{
	return per_mille && rng_below(host->rng, 1000) < per_mille;
}

static int64_t mishap(struct sim_host *host, int err)
{
	host->mishap = true;
	return -err;
}

/* A transfer of at most @len bytes may end early, at a sector. */
static uint64_t shorten(struct sim_host *host, uint64_t len)
{
	if (len <= SECTOR_SIZE || !happens(host, host->faults.shortened))
		return len;
	return SECTOR_SIZE * (1 + rng_below_u64(host->rng, (len - 1) / SECTOR_SIZE));
}

void flight_read(struct sim_host *host, struct flight *flight)
{
	struct io *io = flight->io;
	const struct sparse *bytes = host_bytes(host, io->file);
	uint64_t len = io_off(io) < bytes->size ? min_u64(io_len(io), bytes->size - io_off(io)) : 0;

	flight->read_len = shorten(host, len);
	flight->read = true;
	sparse_read(bytes, io_off(io), flight_memory(host, flight), flight->read_len);
}

static int64_t end_read(struct sim_host *host, struct flight *flight)
{
	if (happens(host, host->faults.error)) {
		/* Whatever the device had begun with. */
		memset(flight_memory(host, flight), 0xee, io_len(flight->io) / 2);
		return mishap(host, EIO);
	}
	if (!flight->read)
		flight_read(host, flight);
	return (int64_t)flight->read_len;
}

/* Where it is not memory, it is a read of /dev/zero, which may end early. */
static int64_t end_zeros(struct sim_host *host, struct flight *flight)
{
	uint64_t len = io_len(flight->io);

	if (!span_is_memory(flight->io->span))
		len = shorten(host, len);
	memset(flight_memory(host, flight), 0, len);
	return (int64_t)len;
}

void flight_do(struct sim_host *host, struct flight *flight, uint64_t len)
{
	const struct io *io = flight->io;

	if (io->file == host->file_index && io->op == IO_PUNCH)
		aside_remove(&host->aside, io_off(io), io_off(io) + len);
	if (io->file == host->file_index && io->op == IO_TRUNCATE)
		aside_remove(&host->aside, io->off.byte, UINT64_MAX);
	flight->op = flight_op(host, flight, len);
	disk_do(host_disk(host, flight->io->file), flight->op);
}

void flight_tear(struct sim_host *host, struct flight *flight)
{
	const struct io *io = flight->io;
	struct disk *disk = host_disk(host, io->file);
	const uint8_t *memory = flight_memory(host, flight);

	for (uint64_t at = 0; at < io_len(io); at += SECTOR_SIZE) {
		struct hostop *op;

		if (rng_one_in(host->rng, 2))
			continue;
		op = hostop_make(HOSTOP_WRITE, io_off(io) + at,
				 min_u64(SECTOR_SIZE, io_len(io) - at), memory + at);
		op->guest = flight->guest;
		disk_do(disk, op);
		disk_completed(disk, op);
	}
}

static int64_t end_write(struct sim_host *host, struct flight *flight)
{
	struct io *io = flight->io;
	uint64_t limit = host_disk(host, io->file)->limit;
	uint64_t len = io_len(io);

	if (flight_hash(host, flight) != flight->hash)
		sim_fail("the bytes of a write at %#llx were changed while it was in flight",
			 (unsigned long long)io_off(io));
	if (!flight->op && flight_end(flight) > limit) {
		if (io_off(io) >= limit)
			return mishap(host, ENOSPC);
		len = round_down(limit - io_off(io), SECTOR_SIZE);
		if (len == 0)
			return mishap(host, ENOSPC);
		flight_do(host, flight, len);
	}
	if (happens(host, host->faults.error)) {
		len = SECTOR_SIZE * rng_below_u64(host->rng, len / SECTOR_SIZE + 1);
		if (!flight->op && len)
			flight_do(host, flight, len);
		/* It may have been about what others had written. */
		host->sync_failed |= (io->flags & IO_DSYNC) != 0;
		return mishap(host, EIO);
	}
	if (!flight->op && happens(host, host->faults.no_space))
		return mishap(host, ENOSPC);
	if (!flight->op) {
		len = shorten(host, len);
		flight_do(host, flight, len);
	}
	if (io->flags & IO_DSYNC && !flight->synced)
		flight_sync(host, flight);
	if (flight->sync_failed)
		return mishap(host, EIO);
	flight->op->forced = io->flags & IO_DSYNC;
	return (int64_t)len;
}

/*
 * Of a lost write the host tells once, whoever comes first: also the writer of other bytes, whose sync
 * makes none but its own durable.
 */
void flight_sync(struct sim_host *host, struct flight *flight)
{
	struct disk *disk = host_disk(host, flight->io->file);

	flight->synced = true;
	flight->sync_failed = happens(host, host->faults.sync);
	if (flight->io->op == IO_SYNC)
		disk_sync_end(disk, flight->begun, flight->sync_failed, host->rng);
	else if (flight->sync_failed)
		disk_write_back_fails(disk, host->rng);
	host->sync_failed |= flight->sync_failed;
}

static int64_t end_sync(struct sim_host *host, struct flight *flight)
{
	if (!flight->synced)
		flight_sync(host, flight);
	if (!flight->sync_failed)
		return 0;
	return mishap(host, host->page_cache && rng_one_in(host->rng, 2) ? EINTR : EIO);
}

void flight_work(struct sim_host *host, struct flight *flight)
{
	struct lane *lane = this_lane;
	int held = locks_held;
	bool engine = engine_running;

	this_lane = NULL;
	locks_held = 0;
	engine_running = true;
	flight->worked = true;
	flight->work_err = flight->io->work(flight->io, rng_below(host->rng, host->workers));
	engine_running = engine;
	locks_held = held;
	this_lane = lane;
}

static int64_t end_work(struct sim_host *host, struct flight *flight)
{
	if (!flight->worked)
		flight_work(host, flight);
	return flight->work_err;
}

/* Who gets a part of it is told that there is nothing. */
static int64_t end_fetch(struct sim_host *host, struct flight *flight)
{
	uint64_t len = io_len(flight->io);
	bool failed = happens(host, host->faults.error) || happens(host, host->faults.fetch);

	if (failed)
		len = SECTOR_SIZE * rng_below_u64(host->rng, len / SECTOR_SIZE);
	memcpy(flight_memory(host, flight), flight_source(host, flight), len);
	return failed ? mishap(host, EIO) : (int64_t)len;
}

static int64_t end_change(struct sim_host *host, struct flight *flight)
{
	if (flight->io->op == IO_PUNCH && host->faults.no_punch)
		return -EOPNOTSUPP;
	if (!flight->op && flight_end(flight) > host_disk(host, flight->io->file)->limit)
		return mishap(host, flight->io->op == IO_TRUNCATE ? EFBIG : ENOSPC);
	/* A hole may split an extent, which takes space. */
	if (happens(host, host->faults.no_space))
		return mishap(host, ENOSPC);
	if (happens(host, host->faults.error))
		return mishap(host, EIO);
	if (!flight->op)
		flight_do(host, flight, io_len(flight->io));
	return 0;
}

void flight_allocate(struct sim_host *host, struct flight *flight, uint64_t len)
{
	uint64_t at = io_off(flight->io);

	if (host->faults.no_ahead || flight->allocated)
		return;
	flight->allocated = true;
	aside_add(&host->aside, at, min_u64(at + len, host->disk.limit), false);
}

/* In vain; but a host that is full has set aside what it had, and now nobody else has it. */
static int64_t allocate_fails(struct sim_host *host, struct flight *flight, int err)
{
	const struct io *io = flight->io;
	uint64_t len = rng_below_u64(host->rng, io_len(io));

	if (!flight->allocated)
		flight_allocate(host, flight, len);
	else
		len = io_len(io);
	if (len && !host->faults.no_punch && !flight->ghost)
		aside_add(&host->aside, io_off(io), io_off(io) + len, true);
	return -err;
}

/* That is no mishap: whoever notices has relied on it. */
static int64_t end_allocate(struct sim_host *host, struct flight *flight)
{
	if (host->faults.no_ahead)
		return -EOPNOTSUPP;
	if (flight_end(flight) > host->disk.limit || happens(host, host->faults.no_space))
		return allocate_fails(host, flight, ENOSPC);
	if (happens(host, host->faults.ahead))
		return allocate_fails(host, flight, rng_one_in(host->rng, 4) ? EIO : ENOSPC);
	if (happens(host, host->faults.error))
		return allocate_fails(host, flight, EIO);
	flight_allocate(host, flight, io_len(flight->io));
	return 0;
}

/* --- one failure, at a chosen place -------------------------------------------------------------- */

static bool can_strike(enum strike_kind kind, const struct io *io)
{
	switch (kind) {
	case STRIKE_NONE:
	case STRIKE_KINDS:
		return false;
	case STRIKE_ENOSPC:
		return io->op == IO_WRITE || io->op == IO_SYNC || io->op == IO_PUNCH ||
		       io->op == IO_TRUNCATE || io->op == IO_ALLOCATE;
	case STRIKE_SHORT:
		return (io->op == IO_READ || io->op == IO_WRITE) && io_len(io) > SECTOR_SIZE;
	case STRIKE_EAGAIN:
	case STRIKE_EINTR:
		return io->op < IO_HOST_OPS && !(io->flags & IO_ONCE);
	case STRIKE_EIO:
	case STRIKE_ECANCELED:
		return io->op < IO_HOST_OPS || (io->op == IO_FETCH && kind == STRIKE_EIO);
	}
	abort();
}

static bool is_time(struct strike *strike, const struct io *io)
{
	if (!can_strike(strike->kind, io))
		return false;
	return ++strike->passed == strike->nth;
}

/* A failed sync is final; so is a durable write that may not be, and a header that may be either. */
static bool does_latch(const struct sim_host *host, const struct io *io)
{
	if (host->strike.kind != STRIKE_EIO && host->strike.kind != STRIKE_ENOSPC)
		return false;
	if (io->op == IO_SYNC)
		return true;
	if (io->op != IO_WRITE)
		return false;
	return (io->flags & IO_DSYNC && host->strike.kind == STRIKE_EIO) ||
	       (io->file == host->file_index && io->off.byte == 0);
}

static int64_t strike(struct sim_host *host, struct flight *flight)
{
	struct faults faults = host->faults;
	enum strike_kind kind = host->strike.kind;
	enum io_op op = flight->io->op;
	int64_t res = 0;

	host->strike.struck = true;
	host->strike.name = flight_name(flight);
	host->strike.off = io_off(flight->io);
	host->strike.latches = does_latch(host, flight->io);
	trace("    what follows goes wrong");
	if (kind == STRIKE_EAGAIN)
		return -EAGAIN;
	if (kind == STRIKE_EINTR)
		return -EINTR;
	if (kind == STRIKE_ECANCELED)
		return -ECANCELED;
	if (kind == STRIKE_SHORT)
		host->faults.shortened = 1000;
	else if (op == IO_SYNC)
		host->faults.sync = 1000;
	else if (kind == STRIKE_EIO)
		host->faults.error = 1000;
	else if (op == IO_PUNCH)
		res = mishap(host, ENOSPC);
	else if (op == IO_TRUNCATE)
		return mishap(host, EFBIG);
	else
		host->faults.no_space = 1000;
	if (!res)
		res = flight_end_now(host, flight);
	host->faults = faults;
	return kind == STRIKE_ENOSPC && res < 0 ? -ENOSPC : res;
}

int64_t flight_end_now(struct sim_host *host, struct flight *flight)
{
	if (is_time(&host->strike, flight->io))
		return strike(host, flight);
	if (!flight->op && !flight->read && flight->io->op < IO_HOST_OPS &&
	    flight->io->op != IO_SYNC && happens(host, host->faults.again))
		return (int64_t[]){ -EAGAIN, -EINTR, -ECANCELED }[rng_below(host->rng, 3)];
	switch (flight->io->op) {
	case IO_READ:
		return end_read(host, flight);
	case IO_WRITE:
		return end_write(host, flight);
	case IO_SYNC:
		return end_sync(host, flight);
	case IO_PUNCH:
	case IO_TRUNCATE:
		return end_change(host, flight);
	case IO_ALLOCATE:
		return end_allocate(host, flight);
	case IO_ZEROS:
		return end_zeros(host, flight);
	case IO_COPY:
		memcpy(flight_memory(host, flight), flight->io->from, io_len(flight->io));
		return (int64_t)io_len(flight->io);
	case IO_FETCH:
		return end_fetch(host, flight);
	case IO_WORK:
		return end_work(host, flight);
	case IO_TIMER:
		host->timers--;
		host->now += flight->io->len;
		return 0;
	}
	abort();
}
