/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Every write and every hole passes here. */
#include "border.h"

#include "memory.h"
#include "places.h"
#include "report.h"

static struct places places;
static struct sim_host *watched;
static void (*queue_on)(struct ring *ring, struct io *io);

static bool is_guest(const struct io *io)
{
	const uint8_t *at = span_is_memory(io_span(io)) ? span_address(io_span(io)) : NULL;

	return at >= watched->arena && at < watched->arena + watched->arena_bytes;
}

/* L2 tables without COPIED may be dropped, and the refcount table moves: both may be used again. */
static const char *forbidden(const struct io *io, uint64_t cluster)
{
	static const enum place frozen[] = { PLACE_SNAPSHOT_TABLE, PLACE_SNAPSHOT_L1,
					     PLACE_SNAPSHOT_L2, PLACE_BITMAP };
	static const enum place tables[] = { PLACE_HEADER, PLACE_L1, PLACE_REFCOUNT_BLOCK,
					     PLACE_TABLE };

	for (unsigned i = 0; i < ARRAY_SIZE(frozen); i++)
		if (places_has(&places, frozen[i], cluster))
			return "what nobody changes";
	for (unsigned i = 0; i < ARRAY_SIZE(tables); i++)
		if ((io->op == IO_PUNCH || is_guest(io)) && places_has(&places, tables[i], cluster))
			return "metadata";
	return NULL;
}

static void check(const struct io *io)
{
	uint64_t first = io_off(io) >> places.geo.cluster_bits;
	uint64_t last = (io_off(io) + io_len(io) - 1) >> places.geo.cluster_bits;

	if (io_off(io) + io_len(io) > (uint64_t)INT64_MAX)
		sim_fail("op %d at %#llx+%#llx is no range of a file", io->op,
			 (unsigned long long)io_off(io), (unsigned long long)io_len(io));
	if (!places.valid || (io->op != IO_WRITE && io->op != IO_PUNCH) ||
	    io->file != watched->file_index)
		return;
	/* A hole may be large, and metadata is in the front. */
	for (uint64_t cluster = first; cluster <= min_u64(last, first + 65536); cluster++) {
		const char *what = forbidden(io, cluster);

		if (what)
			sim_fail("%s of %s to %s, cluster %#llx",
				 io->op == IO_PUNCH ? "a hole" : "a write",
				 is_guest(io) ? "the guest" : "the engine", what,
				 (unsigned long long)cluster);
	}
}

static void queue(struct ring *ring, struct io *io)
{
	bool engine = engine_running;

	engine_running = false;
	check(io);
	engine_running = engine;
	queue_on(ring, io);
}

void border_watch(struct sim_host *host, const struct sparse *image)
{
	watched = host;
	places.valid = false;
	if (image)
		places_find(&places, image);
	for (unsigned i = 0; i < host->lanes; i++) {
		if (host->ring[i].ring.queue != queue)
			queue_on = host->ring[i].ring.queue;
		host->ring[i].ring.queue = queue;
	}
}

static bool may_change(unsigned byte)
{
	return (byte >= QCOW2_AT_REFCOUNT_TABLE && byte < QCOW2_AT_REFCOUNT_TABLE + 12) ||
	       (byte >= QCOW2_AT_INCOMPATIBLE && byte < QCOW2_AT_INCOMPATIBLE + 8) ||
	       (byte >= QCOW2_AT_AUTOCLEAR && byte < QCOW2_AT_AUTOCLEAR + 8);
}

void border_check_header(const uint8_t *before, const uint8_t *after)
{
	for (unsigned i = 0; i < SECTOR_SIZE; i++)
		if (before[i] != after[i] && !may_change(i))
			sim_fail("byte %u of the header was %#x, is %#x", i, before[i], after[i]);
	if ((before[QCOW2_AT_INCOMPATIBLE + 7] ^ after[QCOW2_AT_INCOMPATIBLE + 7]) & ~QCOW2_CORRUPT)
		sim_fail("feature bits were %#x, are %#x", before[QCOW2_AT_INCOMPATIBLE + 7],
			 after[QCOW2_AT_INCOMPATIBLE + 7]);
}
