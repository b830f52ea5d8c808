/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The front door while a disk becomes smaller: closing it, and who is still inside. */
#include "door.h"

void door_close(struct image *image, uint64_t bytes)
{
	atomic_store(&image->disk_bytes, bytes);
	image->resize.epoch = epoch_now(&image->epoch);
	image->resize.requests = epoch_now(&image->requests);
}

void door_open(struct image *image, uint64_t bytes)
{
	atomic_store(&image->disk_bytes, bytes);
}

/*
 * Releases wait for the same epochs as hits are in: these are asked for last, when the answer is "yes" or
 * a wish, so that no wish of the allocator's is taken back before it looks again.
 */
bool door_all_left(struct image *image)
{
	return (epoch_passed(image, &image->requests, image->resize.requests) &&
		epoch_passed(image, &image->epoch, image->resize.epoch)) ||
	       mutant(NO_DRAIN);
}

void door_waited(struct image *image)
{
	atomic_store(&image->requests.wanted, false);
}
