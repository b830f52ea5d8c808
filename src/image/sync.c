/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Syncs: when does the success of one mean that the bytes are durable? */
#include "sync.h"

_Static_assert(sizeof(((struct sync_wait *)0)->needed) == SYNC_SOURCES * sizeof(uint64_t),
	       "a counter for each source");

static void start(struct task *task, struct io *io, const struct host_file *file)
{
	io_start(task, io, IO_SYNC, file->index, span_memory(NULL), (struct host){ 0 }, 0);
}

void sync_start(struct image *image, struct task *task, struct io *io, enum sync_source source,
		unsigned files)
{
	CRITICAL(&image->flush.lock);
	must(!image->syncs.running[source]);
	image->syncs.running[source] = true;
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

	CRITICAL(&image->flush.lock);
	must(image->syncs.running[source]);
	image->syncs.running[source] = false;
	image->syncs.resolved[source]++;
	waitq_wake(&image->syncs.waiters);
}

bool sync_believable(struct image *image, struct sync_wait *wait)
{
	const struct syncs *syncs = &image->syncs;
	bool believable = true;

	for (unsigned i = 0; i < SYNC_SOURCES; i++) {
		if (!wait->asked)
			wait->needed[i] = syncs->resolved[i] + syncs->running[i];
		if (syncs->resolved[i] < wait->needed[i])
			believable = false;
	}
	wait->asked = !believable;
	return believable;
}
