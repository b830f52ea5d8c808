/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The front door while a disk becomes smaller: what reaches behind the new end is refused, and who is
 * inside already is waited for.
 *
 * Requests that need more than one host I/O are inside from image_submit() to done(), counted as epochs
 * are; those that need no more (hit.c) are in an epoch all the time.  Each enters first and looks at the
 * door then, so whoever has found it open is waited for.
 */
#ifndef DOOR_H
#define DOOR_H

#include "epoch.h"

/* Does its range lie on the disk?  After it has entered. */
static inline bool door_is_open(const struct image *image, const struct req *req)
{
	uint64_t size = image_disk_bytes(image);

	return (req->guest.byte <= size && req->len <= size - req->guest.byte) ||
	       mutant(DOOR_STAYS_OPEN);
}

/* False: it must not go on, and has left.  The lane's own thread. */
static inline bool door_enter(struct image *image, struct image_lane *lane, struct req *req)
{
	req->inside = epoch_enter_of(image, &image->requests, &lane->inside);
	if (door_is_open(image, req))
		return true;
	epoch_leave_of(image, &image->requests, &lane->inside, req->inside);
	return false;
}

static inline void door_leave(struct image *image, struct image_lane *lane, const struct req *req)
{
	if (req->inside != EPOCH_OUTSIDE)
		epoch_leave_of(image, &image->requests, &lane->inside, req->inside);
}

/* From now on the disk ends at @bytes for who comes in. */
void door_close(struct image *image, uint64_t bytes);

/* The disk stays as large as it was. */
void door_open(struct image *image, uint64_t bytes);

/* Has everybody left who came in before?  The allocator only, under alloc->lock; it is woken when so. */
bool door_all_left(struct image *image);

/* Nobody waits for that any more.  Under alloc->lock. */
void door_waited(struct image *image);

#endif
