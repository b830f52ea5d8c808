/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Will the next write be the only one before a flush?  Yes, where the last one was. */
#include "alone.h"

#include "sync.h"

void alone_learn(struct image *image, uint64_t owed)
{
	struct alone *alone = &image->alone;
	bool taken = alone->given && !alone_next(image);
	uint64_t changes = owed + taken;

	/* Through the page cache a durable write costs as much as a flush. */
	if (!image->top.data->direct || !sync_by_write(image->top.data))
		return;
	if (changes)
		alone->given = changes == 1;
	atomic_store_explicit(&alone->next, alone->given, memory_order_relaxed);
}

bool alone_take(struct image *image)
{
	return alone_next(image) &&
	       atomic_exchange_explicit(&image->alone.next, false, memory_order_relaxed);
}
