/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where acknowledged writes stand until they are in the image: a file in the register's folder, which
 * is memory, that outlives the process and not the machine.
 */
#ifndef HANDOVER_FILE_H
#define HANDOVER_FILE_H

#include "base.h"
#include "identity.h"
#include "image.h"

struct handover_file {
	struct handover handover; /* for image_options */
	struct identity identity;
	const char *image; /* its path, for messages */
	char path[PATH_MAX]; /* what a process that is killed leaves */
	char fresh[PATH_MAX]; /* what is not kept yet */
	void *inherited;
	uint64_t inherited_bytes;
	void *made;
	uint64_t made_bytes;
	int spare; /* a file without a name, or -1 */
	uint64_t spare_bytes; /* that are allocated in it */
	bool kept; /* `path` is ours */
};

/* For the image with @identity, at the path @image, which is not copied.  Opens nothing. */
void handover_file_init(struct handover_file *file, const struct identity *identity,
			const char *image);

/*
 * Before who has memory now leaves it to us: allocate as much, for handover.make(), which then does not
 * take the time that this takes.  A no-op when there is none.  -errno with the sentence in @why where
 * there is not enough.
 */
int handover_file_prepare(struct handover_file *file, struct why *why);

/*
 * Has a process that was killed left writes that may not be in the image?  True also if that cannot be
 * told; false if they were for a file that is gone, whose number the image has.
 */
bool handover_file_is_pending(const struct handover_file *file);

/* The same for the image or data file that is open at @fd. */
bool handover_file_is_pending_for(int fd, const char *name);

/* Give up what a dead process has left.  0, also when that was nothing, or -errno. */
int handover_file_abandon(const struct handover_file *file);

/*
 * The image is closed, and has everything; or it never was written to.  A no-op when nothing was
 * kept.  The memory stays until the process ends.
 */
void handover_file_done(struct handover_file *file);

#endif
