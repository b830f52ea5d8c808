/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Syncs: when does the success of one mean that the bytes are durable? */
#include "sync.h"

#include <errno.h>

_Static_assert(sizeof(((struct sync_wait *)0)->needed) == SYNC_SOURCES * sizeof(uint64_t),
	       "a counter for each source");

/* Through the page cache an error may be that of a write that was lost, whatever it is, and is told once. */
static void start(struct task *task, struct io *io, const struct host_file *file)
{
	bool again = file->direct || mutant(SYNC_TRIED_AGAIN);

	io_start_flags(task, io, IO_SYNC, file->index, span_memory(NULL), (struct host){ 0 }, 0,
		       again ? 0 : IO_ONCE);
}

uint64_t sync_owed(const struct image *image)
{
	uint64_t owed = 0;

	for (unsigned i = 0; i < image->lanes; i++)
		if (!mutant(OTHERS_OWE_NOTHING) || image->lane[i].lane == this_lane)
			owed += lane_unsynced(image->lane[i].lane);
	return owed;
}

/*
 * A flush waits for its syncs before it tells anybody, and where there are two files, it syncs the
 * image's after the other one.
 */
static bool pays(const struct image *image, enum sync_source source, unsigned files)
{
	return source == SYNC_FLUSH && (files & SYNC_DATA || !image->top.geo.data_apart);
}

/* Before the sync begins: what ends later may be too late for it. */
static void owe_nothing(struct image *image)
{
	for (unsigned i = 0; i < image->lanes; i++)
		lane_syncing(image->lane[i].lane);
}

void sync_start(struct image *image, struct task *task, struct io *io, enum sync_source source,
		unsigned files)
{
	CRITICAL(&image->flush.lock);
	must(!image->syncs.running[source]);
	image->syncs.running[source] = true;
	if (pays(image, source, files) && !mutant(OWED_TAKEN_LATE))
		owe_nothing(image);
	if (files & SYNC_DATA)
		start(task, io++, image->top.data);
	if (files & SYNC_IMAGE)
		start(task, io, image->top.file);
}

void sync_end(struct image *image, struct task *task, enum sync_source source)
{
	if (mutant(SYNC_ERROR_IGNORED))
		task->err = 0;
	if (task->err)
		image_break(image, task->err, "fsync");
	if (source == SYNC_FLUSH && mutant(OWED_TAKEN_LATE) && !image->top.geo.data_apart)
		owe_nothing(image);

	CRITICAL(&image->flush.lock);
	must(image->syncs.running[source]);
	image->syncs.running[source] = false;
	image->syncs.resolved[source]++;
	waitq_wake(&image->syncs.waiters);
}

void sync_write_begin(struct image *image, struct durable_write *write)
{
	struct syncs *syncs = &image->syncs;

	must(!write->nth);
	CRITICAL(&image->flush.lock);
	write->nth = ++syncs->writes_begun;
	list_add_tail(&syncs->writes, &write->link);
}

void sync_write_end(struct image *image, struct durable_write *write, int err)
{
	struct syncs *syncs = &image->syncs;

	/* Such an error may be about what others have written.  Being out of space is taken for its own. */
	if (err && err != -ENOSPC)
		image_break(image, err, "a durable write");

	CRITICAL(&image->flush.lock);
	bool oldest = syncs->writes.next == &write->link;
	list_del(&write->link);
	write->nth = 0;
	if (oldest)
		waitq_wake(&syncs->waiters);
}

/* Have all durable writes up to the @nth been resolved? */
static bool writes_resolved(const struct syncs *syncs, uint64_t nth)
{
	if (list_empty(&syncs->writes) || mutant(DURABLE_WRITES_FORGOTTEN))
		return true;
	return container_of(syncs->writes.next, const struct durable_write, link)->nth > nth;
}

bool sync_believable(struct image *image, struct sync_wait *wait)
{
	const struct syncs *syncs = &image->syncs;
	bool believable;

	if (!wait->asked)
		wait->writes = syncs->writes_begun;
	believable = writes_resolved(syncs, wait->writes);
	for (unsigned i = 0; i < SYNC_SOURCES; i++) {
		if (!wait->asked)
			wait->needed[i] = syncs->resolved[i] + syncs->running[i];
		if (syncs->resolved[i] < wait->needed[i])
			believable = false;
	}
	wait->asked = !believable;
	return believable;
}
