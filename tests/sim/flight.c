/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rules for ios in flight. */
#include "flight.h"

#include "cipher.h"
#include "part.h"
#include "report.h"

#include <stdlib.h>

const char *flight_name(const struct flight *flight)
{
	return io_name(flight->io->op);
}

static bool has_memory(const struct flight *flight)
{
	enum io_op op = flight->io->op;

	return op == IO_READ || op == IO_WRITE || op == IO_ZEROS || op == IO_COPY ||
	       op == IO_FETCH || op == IO_WORK;
}

static bool writes_memory(const struct flight *flight)
{
	return has_memory(flight) && flight->io->op != IO_WRITE;
}

static bool has_file(const struct flight *flight)
{
	enum io_op op = flight->io->op;

	return op < IO_HOST_OPS;
}

static uint8_t *in_buffer(const struct sim_host *host, struct span span, uint64_t len)
{
	if (span.slot < 0 || span.slot >= MAX_BUFFERS || !host->buffer[span.slot] ||
	    span.at + len > host->buffer_bytes)
		sim_fail("an io names bytes %#lx of buffer %d, which are not there",
			 (unsigned long)span.at, span.slot);
	return host->buffer[span.slot] + span.at;
}

static uint8_t *span_bytes(const struct sim_host *host, struct span span, uint64_t len)
{
	return span_is_memory(span) ? span_address(span) : in_buffer(host, span, len);
}

uint8_t *flight_memory(const struct sim_host *host, const struct flight *flight)
{
	return span_bytes(host, io_span(flight->io), io_len(flight->io));
}

const uint8_t *flight_source(const struct sim_host *host, const struct flight *flight)
{
	return in_buffer(host, flight->io->source, flight->io->len);
}

bool flight_is_guest(const struct sim_host *host, const struct flight *flight)
{
	const uint8_t *memory;

	if (!has_memory(flight))
		return false;
	if (flight->io->op == IO_WRITE && span_is_memory(flight->io->span) &&
	    sim_cipher_made(span_address(flight->io->span)))
		return true;
	memory = flight_memory(host, flight);
	return memory >= host->arena && memory < host->arena + host->arena_bytes;
}

bool flight_changes_file(const struct flight *flight)
{
	enum io_op op = flight->io->op;

	return op == IO_WRITE || op == IO_PUNCH || op == IO_TRUNCATE;
}

uint64_t flight_end(const struct flight *flight)
{
	const struct io *io = flight->io;

	if (io->op == IO_TRUNCATE)
		return io->off.byte;
	/* A hole beyond the end changes nothing and may lie anywhere. */
	return io->op == IO_PUNCH ? 0 : io_off(io) + io_len(io);
}

struct hostop *flight_op(const struct sim_host *host, const struct flight *flight, uint64_t len)
{
	const struct io *io = flight->io;
	struct hostop *op;

	switch (io->op) {
	case IO_WRITE:
		op = hostop_make(HOSTOP_WRITE, io_off(io), len, flight_memory(host, flight));
		op->guest = flight->guest;
		return op;
	case IO_PUNCH:
		return hostop_make(HOSTOP_PUNCH, io_off(io), len, NULL);
	case IO_TRUNCATE:
		return hostop_make(HOSTOP_TRUNCATE, io->off.byte, 0, NULL);
	default:
		abort();
	}
}

uint64_t flight_hash(const struct sim_host *host, const struct flight *flight)
{
	const uint8_t *at = flight_memory(host, flight);
	uint64_t len = io_len(flight->io), hash = 0, word = 0;

	for (uint64_t i = 0; i < len; i += sizeof(word)) {
		memcpy(&word, at + i, min_u64(sizeof(word), len - i));
		hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
		hash ^= hash >> 32;
	}
	return hash;
}

static bool ranges_meet(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
	return a < b + b_len && b < a + a_len;
}

/* Of a write, from @off in the file on. */
static bool all_zero(const struct flight *flight, uint64_t off, const uint8_t *at, uint64_t len)
{
	if (at[0] == 0 && memcmp(at, at + 1, len - 1) == 0)
		return true;
	return span_is_memory(flight->io->span) &&
	       sim_cipher_made(span_address(flight->io->span)) && sim_cipher_zeros(off, at, len);
}

/* --- writes that overlap -------------------------------------------------------------------------- */

static const char *writer(const struct flight *flight)
{
	if (flight->guest_len == flight->io->len)
		return "guest";
	return flight->guest_len ? "guest, and what is copied around it" : "engine";
}

/*
 * Which bytes of a write are a request's?  What is copied around them may be written with them, out of a
 * buffer of the engine's; whoever says so must have the guest's bytes there.
 */
static void find_guest(const struct sim_host *host, struct flight *flight)
{
	const struct io *io = flight->io;
	const struct part *part;

	if (io->op != IO_WRITE)
		return;
	flight->guest_at = io->off.byte;
	flight->guest_len = flight->guest ? io->len : 0;
	if (io->task->machine != &write_machine)
		return;
	part = container_of(io->task, const struct part, task);
	if (!part->claimed || io != &part->io[0] ||
	    io->len != part->head + part->extent.len + part->tail)
		return;
	/* Of encrypted ones nobody knows by looking. */
	if (!flight->guest &&
	    memcmp((uint8_t *)span_address(io->span) + part->head,
		   span_bytes(host, part->span, part->extent.len), part->extent.len) != 0)
		sim_fail("what is copied is not around the guest's bytes");
	flight->guest_at += part->head;
	flight->guest_len = part->extent.len;
}

/* Is this byte of the file a request's?  And up to where is it the same with all of them? */
static bool is_guest_at(const struct flight *flight, uint64_t at, uint64_t *end)
{
	uint64_t guest_end = flight->guest_at + flight->guest_len;

	if (at < guest_end)
		*end = min_u64(*end, at < flight->guest_at ? flight->guest_at : guest_end);
	return at >= flight->guest_at && at < guest_end;
}

/*
 * Two writes of different bytes to one place, at once.  A guest may do that to its own data, with
 * bytes or with zeros; the engine has no excuse, nor has what it copies around a guest's bytes.
 */
static void check_write_overlap(const struct sim_host *host, const struct flight *a,
				const struct flight *b)
{
	uint64_t a_at = io_off(a->io), b_at = io_off(b->io), at = max_u64(a_at, b_at), next;
	uint64_t end = min_u64(a_at + io_len(a->io), b_at + io_len(b->io));

	for (; at < end; at = next) {
		next = end;
		bool guest_a = is_guest_at(a, at, &next), guest_b = is_guest_at(b, at, &next);
		const uint8_t *in_a = flight_memory(host, a) + (at - a_at);
		const uint8_t *in_b = flight_memory(host, b) + (at - b_at);

		if (guest_a && guest_b)
			continue;
		if (guest_a ? all_zero(b, at, in_b, next - at) :
		    guest_b ? all_zero(a, at, in_a, next - at) :
			      !memcmp(in_a, in_b, next - at))
			continue;
		sim_fail("two writes that overlap at %#llx are in flight: %#llx+%#llx (%s) and "
			 "%#llx+%#llx (%s)",
			 (unsigned long long)at, (unsigned long long)a_at,
			 (unsigned long long)io_len(a->io), writer(a), (unsigned long long)b_at,
			 (unsigned long long)io_len(b->io), writer(b));
	}
}

/*
 * The engine reads what it is still writing: tables and refcounts may be seen half changed.  A guest that
 * reads what it writes at the same time gets either, and so does who copies that.
 */
static void check_read_overlap(const struct flight *read, const struct flight *write)
{
	if (!read->guest && !write->guest && !write->guest_len)
		sim_fail("%#llx+%#llx is read while %#llx+%#llx is written, by the engine",
			 (unsigned long long)io_off(read->io), (unsigned long long)io_len(read->io),
			 (unsigned long long)io_off(write->io),
			 (unsigned long long)io_len(write->io));
}

/* Space is set aside for what nobody else has yet. */
static void check_allocate_overlap(const struct flight *allocate, const struct flight *other)
{
	const struct io *io = allocate->io;
	uint64_t other_at = io_off(other->io), other_len = io_len(other->io);

	if (!flight_changes_file(other) || other->io->file != io->file)
		return;
	if (other->io->op == IO_TRUNCATE)
		other_len = UINT64_MAX - other_at;
	if (ranges_meet(io_off(io), io_len(io), other_at, other_len))
		sim_fail("space is set aside at %#llx+%#llx while there is a %s at %#llx",
			 (unsigned long long)io_off(io), (unsigned long long)io_len(io),
			 flight_name(other), (unsigned long long)other_at);
}

static void check_pair(const struct sim_host *host, const struct flight *a, const struct flight *b)
{
	if (has_memory(a) && has_memory(b) && (writes_memory(a) || writes_memory(b)) &&
	    ranges_meet((uintptr_t)flight_memory(host, a), io_len(a->io),
			(uintptr_t)flight_memory(host, b), io_len(b->io)))
		sim_fail("a %s and a %s in flight share memory", flight_name(a), flight_name(b));
	if (a->io->op == IO_ALLOCATE && !host->hostile)
		check_allocate_overlap(a, b);
	if (b->io->op == IO_ALLOCATE && !host->hostile)
		check_allocate_overlap(b, a);
	if (host->hostile || a->io->file != b->io->file ||
	    !ranges_meet(io_off(a->io), io_len(a->io), io_off(b->io), io_len(b->io)))
		return;
	if (a->io->op == IO_WRITE && b->io->op == IO_WRITE)
		check_write_overlap(host, a, b);
	if (a->io->op == IO_WRITE && b->io->op == IO_READ)
		check_read_overlap(b, a);
	if (a->io->op == IO_READ && b->io->op == IO_WRITE)
		check_read_overlap(a, b);
}

/* It changes neither what is there nor the size; what is set aside in vain goes before more is counted. */
static void check_allocate(const struct sim_host *host, const struct flight *flight)
{
	const struct io *io = flight->io;

	if (io->op == IO_WRITE && io->file == host->file_index && io->off.byte &&
	    strcmp(io->task->machine->name, "alloc") == 0 && aside_is_owed(&host->aside))
		sim_fail("what was set aside in vain is not given back");
	if (io->op != IO_ALLOCATE)
		return;
	if (io->file != host->file_index || host->file.fixed_size)
		sim_fail("space is set aside where none is needed");
	if (io_len(io) == 0 || io_off(io) + io_len(io) > host->disk.visible.size)
		sim_fail("space is set aside behind the end of the file");
}

static void check_alone(struct sim_host *host, const struct flight *flight)
{
	const struct io *io = flight->io;

	if (this_lane != &host->ring[flight->lane].lane || io->task->lane != this_lane)
		sim_fail("an io was queued by another thread than its lane's");
	if (!io->flying)
		sim_fail("an io was queued that does not fly");
	if (io->op == IO_COPY && span_is_memory(io->span))
		sim_fail("a copy to memory");
	if (io->op == IO_FETCH && !span_is_memory(io->span))
		sim_fail("a fetch to what is not memory");
	if (io->op == IO_FETCH)
		flight_source(host, flight);
	if (has_file(flight))
		host_bytes(host, io->file);
	if (has_file(flight) && io->op != IO_READ && !host_disk(host, io->file))
		sim_fail("a %s of a file that lies below", flight_name(flight));
	if (has_memory(flight) && io_len(io) == 0)
		sim_fail("a transfer of nothing");
	if ((io->op == IO_READ || io->op == IO_WRITE) && host_disk(host, io->file) &&
	    (io_off(io) % host->align || io_len(io) % host->align))
		sim_fail("a %s of %#llx bytes at %#llx is not aligned", flight_name(flight),
			 (unsigned long long)io_len(io), (unsigned long long)io_off(io));
	if (io->op == IO_WRITE && io_len(io) % SECTOR_SIZE && host->align > 1)
		sim_fail("a write of %#llx bytes", (unsigned long long)io_len(io));
	if (host->read_only &&
	    (flight_changes_file(flight) || io->op == IO_SYNC || io->op == IO_ALLOCATE))
		sim_fail("a %s of a file that is open for reading only", flight_name(flight));
	if (host->file.fixed_size && io->op == IO_TRUNCATE)
		sim_fail("the size of a device is not to be changed");
	if (io->op == IO_TRUNCATE && io->file != host->file_index)
		sim_fail("the size of a data file is not to be changed");
}

/* Who needs it durable must ask for a sync instead. */
static void check_dsync(const struct sim_host *host, const struct flight *flight)
{
	if (host->no_dsync && flight->io->flags & IO_DSYNC)
		sim_fail("a durable write, where the host keeps none");
}

void flight_check(struct sim_host *host, struct flight *flight)
{
	check_dsync(host, flight);
	check_alone(host, flight);
	check_allocate(host, flight);
	flight->guest = flight_is_guest(host, flight);
	find_guest(host, flight);
	for (unsigned i = 0; i < host->flights; i++)
		check_pair(host, &host->flight[i], flight);
}
