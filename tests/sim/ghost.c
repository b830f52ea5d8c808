/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who does not wait: for a planted bug, the ios of a task complete for the task before they do for
 * the host.  They fly on as ghosts, with memory of their own, and change the file at their own time.
 */
#include "flight.h"
#include "memory.h"
#include "planted.h"

#include <stdlib.h>

#define UNFETCHED 0xa5 /* what is in memory that a read has not got to */

static bool fills_memory(const struct flight *flight)
{
	enum io_op op = flight->io->op;

	return op == IO_READ || op == IO_ZEROS || op == IO_COPY || op == IO_FETCH || op == IO_WORK;
}

static struct io *make_ghost(const struct sim_host *host, struct flight *flight)
{
	struct io *io = xmalloc(sizeof(*io) + io_len(flight->io));

	*io = *flight->io;
	if (io->op == IO_WRITE) {
		memcpy(io + 1, flight_memory(host, flight), io_len(io));
		io->off.byte += io->moved;
		io->len -= io->moved;
		io->moved = 0;
		io->span = span_memory(io + 1);
	}
	return io;
}

static void let_go(struct sim_host *host, unsigned i)
{
	struct flight *flight = &host->flight[i];
	struct io *io = flight->io;

	io->flying = false;
	io->task->inflight--;
	if (!fills_memory(flight) && io->op != IO_TIMER) {
		flight->io = make_ghost(host, flight);
		flight->ghost = true;
		return;
	}
	if (io->op == IO_TIMER)
		host->timers--;
	else
		memset(flight_memory(host, flight), UNFETCHED, io_len(io));
	host->flight[i] = host->flight[--host->flights];
}

enum step planted_no_await_io(struct task *task, int next)
{
	struct sim_host *host = host_of(task->lane->ring);

	for (unsigned i = host->flights; i-- > 0;)
		if (!host->flight[i].ghost && host->flight[i].io->task == task)
			let_go(host, i);
	return go(task, next);
}

void ghost_end(struct sim_host *host, struct flight *flight)
{
	struct faults faults = host->faults;

	host->faults = (struct faults){ .no_punch = faults.no_punch, .no_ahead = faults.no_ahead };
	flight_end_now(host, flight);
	if (flight->op)
		disk_completed(host_disk(host, flight->io->file), flight->op);
	host->faults = faults;
	free(flight->io);
}
