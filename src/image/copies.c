/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Buffers for copy on write; address space reserved at open, touched when used. */
#include "copies.h"

#include <errno.h>
#include <sys/mman.h>

int copies_open(struct image *image)
{
	struct copies *copies = &image->copies;
	size_t bytes = (size_t)COPY_BUFFERS * 2 * image->geo.cluster_bytes;
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	pthread_mutex_init(&copies->lock, NULL);
	waitq_init(&copies->waiters);
	if (memory == MAP_FAILED)
		return -ENOMEM;
	copies->memory = memory;
	copies->memory_bytes = bytes;
	return 0;
}

void copies_free(struct image *image)
{
	if (image->copies.memory)
		munmap(image->copies.memory, image->copies.memory_bytes);
	pthread_mutex_destroy(&image->copies.lock);
}

int copies_take(struct copies *copies)
{
	for (int i = 0; i < COPY_BUFFERS; i++) {
		if (!copies->busy[i]) {
			copies->busy[i] = true;
			return i;
		}
	}
	return -1;
}

void copies_put(struct copies *copies, int buffer)
{
	CRITICAL(&copies->lock);
	must(copies->busy[buffer]);
	copies->busy[buffer] = false;
	waitq_wake(&copies->waiters);
}

void *copies_head(struct image *image, int buffer)
{
	return image->copies.memory + (size_t)buffer * 2 * image->geo.cluster_bytes;
}

void *copies_tail(struct image *image, int buffer)
{
	return (uint8_t *)copies_head(image, buffer) + image->geo.cluster_bytes;
}
