/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Syncs that may be believed.
 *
 * The host tells of a lost write once: to one sync of the file, or to one durable write (IO_DSYNC), whose
 * own sync it is, and be it of other bytes.  So a sync that succeeds proves nothing while another one, which
 * may have been told, has not been looked at.
 *
 * Who waits for that waits for host I/O alone: a durable write is resolved before it waits itself.
 */
#ifndef SYNC_H
#define SYNC_H

#include "engine.h"

enum sync_files {
	SYNC_IMAGE = 1
		     << 0, /* tables and refcounts; and the guest's bytes, if they are not apart */
	SYNC_DATA = 1 << 1, /* the external data file */
};

/*
 * How many changes of the image's files may be lost in a power cut, of those that had ended before,
 * well or not: 0 says that all is durable, once sync_believable() is true.  Any lane.
 */
uint64_t sync_owed(const struct image *image);

/* Is a write of @file with IO_DSYNC durable when it has ended well? */
static inline bool sync_by_write(const struct host_file *file)
{
	return file->dsync || mutant(DSYNC_TRUSTED);
}

/* Start a sync of @files (enum sync_files) as ios of @task, one each, from io[0].  Takes flush->lock. */
void sync_start(struct image *image, struct task *task, struct io *io, enum sync_source source,
		unsigned files);

/*
 * It has completed with task->err: latch a failure (law 7), then let others know.  No lock held;
 * takes flush->lock.
 */
void sync_end(struct image *image, struct task *task, enum sync_source source);

/* A durable write, or several at once, is about to start; see sync_write_end().  Takes flush->lock. */
void sync_write_begin(struct image *image, struct durable_write *write);

/*
 * It has completed with @err: latch a failure (law 7), unless the host is out of space; then let others
 * know.  No lock held; takes flush->lock.
 */
void sync_write_end(struct image *image, struct durable_write *write, int err);

/*
 * After an own sync or durable write: have the syncs and durable writes that were under way then ended?  False:
 * park on syncs->waiters and ask again.  When true, ask image_broken().  Under flush->lock.
 */
bool sync_believable(struct image *image, struct sync_wait *wait);

#endif
