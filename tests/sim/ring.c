/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Simulated rings: what may be queued, and how it ends. */
#include "ring.h"

#include "flight.h"
#include "memory.h"
#include "report.h"

#include <errno.h>
#include <stdlib.h>

struct sim_host *host_of(struct ring *ring)
{
	struct sim_ring *sim = container_of(ring, struct sim_ring, ring);

	return container_of(sim - sim->lane.id, struct sim_host, ring[0]);
}

/* An io is done at some time between its start and its end: at once, or when it ends. */
static void do_early(struct sim_host *host, struct flight *flight)
{
	if (!rng_percent(host->rng, host->early_percent))
		return;
	if (flight->io->op == IO_READ)
		flight_read(host, flight);
	if (flight->io->op == IO_SYNC)
		flight_sync(host, flight);
	if (flight->io->op == IO_WORK)
		flight_work(host, flight);
	if (flight->io->op == IO_ALLOCATE)
		flight_allocate(host, flight, io_len(flight->io));
	if (flight_changes_file(flight) && !host->faults.no_punch &&
	    flight_end(flight) <= host_disk(host, flight->io->file)->limit)
		flight_do(host, flight, io_len(flight->io));
	if (flight->op && flight->io->flags & IO_DSYNC)
		flight_sync(host, flight);
}

static void ring_queue(struct ring *ring, struct io *io)
{
	struct sim_host *host = host_of(ring);
	struct flight flight = { .io = io,
				 .lane = container_of(ring, struct sim_ring, ring)->lane.id };
	bool engine = engine_running;

	engine_running = false;
	trace("    lane %u queues %s %#llx+%#llx", flight.lane, flight_name(&flight),
	      (unsigned long long)io_off(io), (unsigned long long)io_len(io));
	flight_check(host, &flight);
	host->queued[io->op]++;
	host->data_syncs += io->op == IO_SYNC && io->file != host->file_index;
	flight.guest = flight_is_guest(host, &flight);
	if (io->op == IO_WRITE)
		flight.hash = flight_hash(host, &flight);
	if (io->op == IO_SYNC)
		flight.begun = disk_sync_begin(host_disk(host, io->file));
	if (io->op == IO_TIMER)
		host->timers++;
	if (io->op == IO_PUNCH && io->file == host->file_index)
		aside_settle(&host->aside, io_off(io), io_off(io) + io_len(io));
	do_early(host, &flight);
	if (host->flights == MAX_FLIGHTS)
		sim_fail("more than %d ios in flight", MAX_FLIGHTS);
	host->flight[host->flights++] = flight;
	engine_running = engine;
}

static void ring_kick(struct ring *ring)
{
	struct sim_ring *sim = container_of(ring, struct sim_ring, ring);

	trace("    lane %u is kicked", sim->lane.id);
	sim->blocked = false;
}

static uint64_t ring_now(struct ring *ring)
{
	return host_of(ring)->now;
}

void host_start(struct sim_host *host, unsigned lanes)
{
	host->lanes = lanes;
	host->flights = 0;
	host->timers = 0;
	host->strike = (struct strike){ .kind = STRIKE_NONE };
	memset(host->queued, 0, sizeof(host->queued));
	host->data_syncs = 0;
	for (unsigned i = 0; i < lanes; i++) {
		host->ring[i] = (struct sim_ring){
			.ring = { .queue = ring_queue, .kick = ring_kick, .now = ring_now },
		};
		lane_init(&host->ring[i].lane, i, &host->ring[i].ring);
	}
}

void host_stop(struct sim_host *host)
{
	for (unsigned i = 0; i < host->lanes; i++)
		lane_destroy(&host->ring[i].lane);
}

/* --- completions --------------------------------------------------------------------------------- */

void host_complete(struct sim_host *host, unsigned i)
{
	struct flight flight = host->flight[i];
	struct sim_ring *ring = &host->ring[flight.lane];
	int64_t res;

	host->flight[i] = host->flight[--host->flights];
	if (flight.ghost) {
		ghost_end(host, &flight);
		return;
	}
	res = flight_end_now(host, &flight);
	if (flight.op)
		disk_completed(host_disk(host, flight.io->file), flight.op);
	trace("    lane %u: %s %#llx+%#llx ends: %lld", flight.lane, flight_name(&flight),
	      (unsigned long long)io_off(flight.io), (unsigned long long)io_len(flight.io),
	      (long long)res);
	ring->blocked = false;
	this_lane = &ring->lane;
	engine_running = true;
	io_complete(flight.io, res);
	engine_running = false;
}

#define HELD_ONE_IN 64 /* tries to complete what is held back succeed */
#define GHOSTS_ONE_IN 16 /* the same of what nobody waits for */

/* What is held back is chosen rarely, so that the rest gets far ahead of it. */
static bool choose(struct sim_host *host, unsigned *choice)
{
	uint32_t held = host->held | 1u << IO_TIMER;

	for (unsigned tries = 0; tries < 4; tries++) {
		*choice = rng_below(host->rng, host->flights);
		if (host->flight[*choice].ghost && !rng_one_in(host->rng, GHOSTS_ONE_IN))
			continue;
		if (!(held >> host->flight[*choice].io->op & 1) ||
		    rng_one_in(host->rng, HELD_ONE_IN))
			return true;
	}
	return false;
}

/* The first flight of a kind, from a random one on; no ghost. */
static bool find(struct sim_host *host, bool timer, unsigned *choice)
{
	unsigned from = rng_below(host->rng, host->flights);

	for (unsigned i = 0; i < host->flights; i++) {
		*choice = (from + i) % host->flights;
		if ((host->flight[*choice].io->op == IO_TIMER) == timer &&
		    !host->flight[*choice].ghost)
			return true;
	}
	return false;
}

/* The last that are left take their time, too. */
static bool find_ghost(struct sim_host *host, unsigned *choice)
{
	for (unsigned i = 0; i < host->flights; i++) {
		*choice = i;
		if (host->flight[i].ghost)
			return rng_one_in(host->rng, GHOSTS_ONE_IN);
	}
	return false;
}

bool host_complete_one(struct sim_host *host, bool urgent)
{
	unsigned choice = 0;

	if (host->flights == (urgent ? host->timers : 0))
		return false;
	if (!choose(host, &choice) && !urgent)
		return false;
	if (urgent && (host->flight[choice].io->op == IO_TIMER || host->flight[choice].ghost) &&
	    !find(host, false, &choice) && !find_ghost(host, &choice))
		return true;
	host_complete(host, choice);
	return true;
}

bool host_complete_other(struct sim_host *host, unsigned lane)
{
	unsigned from = host->flights ? rng_below(host->rng, host->flights) : 0;

	for (unsigned i = 0; i < host->flights; i++) {
		unsigned choice = (from + i) % host->flights;

		if (host->flight[choice].lane == lane || host->flight[choice].io->op == IO_TIMER)
			continue;
		host_complete(host, choice);
		return true;
	}
	return false;
}

bool host_complete_timer(struct sim_host *host)
{
	unsigned choice;

	if (host->timers == 0)
		return false;
	find(host, true, &choice);
	host_complete(host, choice);
	return true;
}

/* What a write, or a read, has come to when the process is gone; done before the next one begins. */
static void finish_flight(struct sim_host *host, struct flight *flight)
{
	struct disk *disk = host_disk(host, flight->io->file);

	if (flight->io->op == IO_READ && rng_one_in(host->rng, 2))
		memset(flight_memory(host, flight), 0xdd, io_len(flight->io));
	if (!flight->op && flight_changes_file(flight) && flight_end(flight) <= disk->limit) {
		if (flight->io->op == IO_WRITE && rng_one_in(host->rng, 4))
			flight_tear(host, flight);
		else if (rng_one_in(host->rng, 2))
			flight_do(host, flight, io_len(flight->io));
	}
	if (flight->io->op == IO_ALLOCATE && rng_one_in(host->rng, 2))
		flight_allocate(host, flight, io_len(flight->io));
	if (flight->op)
		disk_completed(disk, flight->op);
	if (flight->io->op == IO_SYNC && !flight->synced && rng_one_in(host->rng, 2))
		disk_sync_end(disk, flight->begun, false, host->rng);
}

void host_kill(struct sim_host *host)
{
	for (unsigned i = 0; i < host->flights; i++)
		finish_flight(host, &host->flight[i]);
	host->flights = 0;
}

void host_append_flying(struct sim_host *host)
{
	for (unsigned i = 0; i < host->flights; i++) {
		struct flight *flight = &host->flight[i];
		struct disk *disk = host_disk(host, flight->io->file);

		if (!flight->op && flight_changes_file(flight) && flight_end(flight) <= disk->limit)
			disk_append(disk, flight_op(host, flight, io_len(flight->io)));
	}
}

/* --- the files before lanes run ------------------------------------------------------------------ */

static struct sim_host *hosting; /* has no way to the host from a file but this */

/* Files are numbered: the image, the layers, their data files, the image's data file. */
static uint16_t data_index(const struct sim_host *host, unsigned layer)
{
	return (uint16_t)(host->file_index + 1u + MAX_LAYERS + layer);
}

struct disk *host_disk(struct sim_host *host, uint16_t file)
{
	if (file == host->file_index)
		return &host->disk;
	return host->data_apart && file == data_index(host, MAX_LAYERS) ? &host->data : NULL;
}

const struct sparse *host_bytes(struct sim_host *host, uint16_t file)
{
	const struct disk *disk = host_disk(host, file);
	unsigned nth = (unsigned)(file - host->file_index - 1);

	if (disk)
		return &disk->visible;
	if (nth < host->below.layers)
		return &host->below.file[nth];
	nth -= MAX_LAYERS;
	if (nth >= host->below.layers)
		sim_fail("an io names file %u, the image is file %u", file, host->file_index);
	return &host->below.data[nth];
}

static bool call_fails(const char *name)
{
	struct open_strike *strike = &hosting->open_strike;

	if (++strike->calls != strike->nth)
		return false;
	strike->name = name;
	return true;
}

static int64_t file_read(struct host_file *file, void *buf, size_t len, uint64_t off)
{
	const struct sparse *bytes = host_bytes(hosting, file->index);
	uint64_t there = off < bytes->size ? min_u64(len, bytes->size - off) : 0;

	if (off % file->align || len % file->align)
		sim_fail("a blocking read of %#zx bytes at %#llx is not aligned", len,
			 (unsigned long long)off);
	if (call_fails("read"))
		return -EIO;
	sparse_read(bytes, off, buf, there);
	return (int64_t)there;
}

static int file_write(struct host_file *file, const void *buf, size_t len, uint64_t off)
{
	struct disk *disk = host_disk(hosting, file->index);
	struct hostop *op;

	if (off % file->align || len % file->align)
		sim_fail("a blocking write of %#zx bytes at %#llx is not aligned", len,
			 (unsigned long long)off);
	if (call_fails("write"))
		return -EIO;
	op = hostop_make(HOSTOP_WRITE, off, len, buf);
	disk_do(disk, op);
	disk_completed(disk, op);
	return 0;
}

static int file_sync(struct host_file *file)
{
	struct disk *disk = host_disk(hosting, file->index);
	/* Where one has failed in this life, no other goes well. */
	bool fails = call_fails("sync") || hosting->sync_failed;

	disk_sync_end(disk, disk_sync_begin(disk), fails, hosting->rng);
	return fails ? -EIO : 0;
}

struct host_file *host_file(struct sim_host *host)
{
	hosting = host;
	host->file = (struct host_file){
		.name = "simulated",
		.index = host->file_index,
		.read_only = host->read_only,
		.fixed_size = host->device,
		.direct = !host->page_cache,
		.dsync = !host->no_dsync,
		.align = host->align,
		.size = host->disk.visible.size,
		.read = file_read,
		.write = file_write,
		.sync = file_sync,
	};
	return &host->file;
}

int host_open_below(void *arg, const struct host_file *above, const char *name,
		    struct host_file **file, struct why *why)
{
	struct sim_host *host = arg;
	unsigned layer = below_find(&host->below, name);

	if (layer == MAX_LAYERS || above->index != host->file_index + layer)
		return why_set(why, -ENOENT, "%s is not below %s", name, above->name);
	*file = &host->below_file[layer];
	**file = (struct host_file){
		.name = name,
		.index = (uint16_t)(above->index + 1),
		.read_only = true,
		.align = 1,
		.size = host->below.file[layer].size,
		.read = file_read,
	};
	return 0;
}

int host_open_data(void *arg, const struct host_file *image, const char *name,
		   struct host_file **file, struct why *why)
{
	struct sim_host *host = arg;
	bool of_image = image->index == host->file_index;
	unsigned nth = of_image ? MAX_LAYERS : (unsigned)(image->index - host->file_index - 1);

	if (strcmp(name, below_data_name(nth)) != 0)
		return why_set(why, -ENOENT, "%s is not the data of %s", name, image->name);
	*file = &host->data_file[nth];
	**file = (struct host_file){
		.name = name,
		.index = data_index(host, nth),
		.read_only = !of_image || host->read_only,
		.direct = of_image && !host->page_cache,
		.dsync = of_image && !host->no_dsync,
		.align = of_image ? host->align : 1,
		.read = file_read,
		.write = file_write,
		.sync = file_sync,
	};
	(*file)->size = host_bytes(host, (*file)->index)->size;
	return 0;
}
