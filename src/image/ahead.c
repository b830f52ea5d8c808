/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Space of the host, set aside ahead of use.
 *
 * A write to a hole of the host's file waits for space, and so io_uring gives each of these to a thread of
 * the kernel, which costs more than the write itself.  So the host is asked for space for all of a refill,
 * before that is given out, and writes there are tried without waiting.
 *
 * Nothing relies on it: it changes neither what clusters hold nor how long the file is, and where it fails,
 * writes find out by themselves whether there is space.  Then all of the refill does without, so that they find
 * what a file system had left for a part of it.  What is never used goes as any stock does: its references
 * are dropped, and a hole is punched.
 */
#include "ahead.h"

#include "drop.h"

#include <errno.h>

/* A host that is full stays so for a while, and looking costs something; refills wait for one that is slow. */
#define PAUSE_NS (UINT64_C(60) * NS_PER_S)
#define SLOW_NS (NS_PER_S / 2)
#define RUNS_MOST 4u /* or a few more in a refill, for which that is done */

/*
 * The page cache needs no space to take a write.  With an external data file there are only tables in stock.
 * Where no holes can be punched, nothing could be given back.
 */
static bool may_pay(const struct image *image, uint64_t now)
{
	const struct host_file *file = image->top.file;

	return file->direct && !file->fixed_size && !image->top.geo.data_apart &&
	       !image->alloc.no_punch && now >= image->alloc.ahead_after;
}

/* While the host sets space aside, it takes no writes to the file: not for each small piece. */
static bool is_worth(const struct alloc *alloc, const struct run *run)
{
	return run->count >= alloc->got / RUNS_MOST && !run->space;
}

void ahead_start(struct image *image)
{
	struct alloc *alloc = &image->alloc;
	uint64_t now = lane_now(alloc->task.lane);

	alloc->ahead = may_pay(image, now);
	alloc->ahead_began = now;
	for (uint32_t i = 0; i < alloc->founds && alloc->ahead; i++) {
		const struct run *run = &alloc->found[i];

		if (is_worth(alloc, run))
			io_start(&alloc->task, &alloc->io[i], IO_ALLOCATE, image->top.file->index,
				 span_memory(NULL), cluster_host(&image->top.geo, run->cluster),
				 (uint64_t)run->count << image->top.geo.cluster_bits);
	}
}

/* Until when is the host not asked again? */
static uint64_t pause_after(const struct image *image, int err, uint64_t now)
{
	if (err == -ENOSPC || err == -ENOMEM)
		return now + PAUSE_NS;
	if (err != -EOPNOTSUPP)
		log_info("%s: cannot set space aside (error %d)", image->top.file->name, -err);
	return UINT64_MAX;
}

bool ahead_end(struct image *image)
{
	struct alloc *alloc = &image->alloc;
	uint64_t now = lane_now(alloc->task.lane);
	int err = alloc->task.err;

	alloc->task.err = mutant(AHEAD_IS_NEEDED) ? err : 0;
	if (err)
		alloc->ahead_after = pause_after(image, err, now);
	else if (now - alloc->ahead_began >= SLOW_NS)
		alloc->ahead_after = now + PAUSE_NS;
	for (uint32_t i = 0; i < alloc->founds && alloc->ahead && !err; i++)
		alloc->found[i].space |= is_worth(alloc, &alloc->found[i]);
	return !err || err == -EOPNOTSUPP;
}

void ahead_give_back(struct image *image)
{
	struct alloc *alloc = &image->alloc;

	/* Of a corrupt image what was found free may be somebody's data. */
	if (image_broken(image) || mutant(AHEAD_IN_VAIN))
		return;
	for (uint32_t i = 0; i < alloc->founds && !alloc->no_punch; i++)
		if (is_worth(alloc, &alloc->found[i]))
			drop_punch(image, &alloc->io[i], alloc->found[i].cluster,
				   alloc->found[i].count);
}
