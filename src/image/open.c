/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opening: from a file to an image that can be served, or a sentence why not. */
#include "alloc.h"
#include "arena.h"
#include "bitmaps.h"
#include "bounce.h"
#include "cache.h"
#include "chain.h"
#include "copies.h"
#include "epoch.h"
#include "flush.h"
#include "hit.h"
#include "inherit.h"
#include "metadata.h"
#include "node.h"
#include "overlap.h"
#include "part.h"
#include "reserve.h"
#include "resize.h"
#include "table.h"
#include "unlock.h"
#include "unpack.h"
#include "writeback.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

static int no_memory(const struct host_file *file, struct why *why)
{
	return why_set(why, -ENOMEM, "%s: not enough memory", file->name);
}

static int open_lanes(struct image *image, const struct image_options *options)
{
	image->lane = aligned_alloc(CACHE_LINE, options->lanes * sizeof(*image->lane));
	if (!image->lane)
		return -ENOMEM;
	image->lanes = options->lanes;
	memset(image->lane, 0, options->lanes * sizeof(*image->lane));
	for (unsigned i = 0; i < options->lanes; i++)
		image->lane[i].lane = options->lane[i];
	return parts_open(image, options->reqs_per_lane);
}

static int open_memory(struct image *image, const struct image_options *options,
		       const struct inheritance *left, struct why *why)
{
	int err = arena_open(image, options, inherit_least(left), why);

	if (err)
		return err;
	/* Never written, so never resident: all of it is the one zero page. */
	image->zeros = mmap(NULL, image->top.geo.cluster_bytes, PROT_READ,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (image->zeros == MAP_FAILED) {
		image->zeros = NULL;
		return no_memory(image->top.file, why);
	}
	if (open_lanes(image, options) || unpack_open(image, options) ||
	    cache_open(&image->top, image->arena.slices, inherit_shards(left, image->arena.slices),
		       resize_slices(image, options->size_most), image->arena.slice) ||
	    flush_open(image) || tables_open(image) || copies_open(image, options->buffers) ||
	    bounce_open(image, options->reqs_per_lane, options->buffers) ||
	    reserve_open(image, options->reqs_per_lane, options->reserve_bytes))
		return no_memory(image->top.file, why);
	return 0;
}

/*
 * Autoclear bits vouch for something that this writer does not keep up: they go, durably, before
 * anything else changes (specification: "autoclear_features").  Except that of a raw data
 * file, and that of bitmaps which say themselves that they are not to be believed.
 */
static int clear_autoclear(struct image *image, struct why *why)
{
	struct node *node = &image->top;
	struct host_file *file = node->file;
	bool marked = false;
	uint64_t kept = node->header.autoclear & QCOW2_DATA_FILE_RAW;
	struct be64 word;
	int err = 0;

	if (node->header.version < 3 || !node->header.autoclear)
		return 0;
	if (node->header.autoclear & QCOW2_BITMAPS)
		err = bitmaps_mark(node, &marked, why);
	if (err)
		return err;
	if (marked)
		kept |= QCOW2_BITMAPS;
	if (kept == node->header.autoclear)
		return 0;
	word = be64_make(kept);
	memcpy(node->header_sector + QCOW2_AT_AUTOCLEAR, &word, sizeof(word));
	err = file->write(file, node->header_sector, SECTOR_SIZE, 0);
	if (!err)
		err = file->sync(file);
	if (err)
		return why_set(why, err, "%s: cannot write the header: %s", file->name,
			       strerror(-err));
	return 0;
}

/*
 * What was just read may be in the host's memory only, left there by a daemon that was killed.
 * From here on it counts as durable, so make it so.
 */
static int make_durable(struct host_file *file, struct why *why)
{
	int err = file->sync(file);

	if (err)
		return why_set(why, err, "%s: fsync: %s; nothing can be written to it", file->name,
			       strerror(-err));
	return 0;
}

static int make_all_durable(struct image *image, struct why *why)
{
	int err = 0;

	if (image->top.data != image->top.file)
		err = make_durable(image->top.data, why);
	return err ? err : make_durable(image->top.file, why);
}

/*
 * Who goes on where a process has ended that found the image to be corrupt serves it as that one did:
 * reads go on, and who writes hears of it instead of waiting.
 */
static int refuse_corrupt(const struct image *image, const struct inheritance *left,
			  struct why *why)
{
	if (!(image->top.header.incompatible & QCOW2_CORRUPT) || inherit_is_corrupt(left))
		return 0;
	return why_set(why, -ENOTSUP,
		       "%s: is marked corrupt; repair it with qemu-img check -r all, or use "
		       "--read-only",
		       image->top.file->name);
}

/* What only an image that is written to needs. */
static int open_for_writing(struct image *image, const struct handover *handover,
			    struct inheritance *left, struct why *why)
{
	int err = metadata_find(image, why);

	arena_set(&image->arena.header->opened_bytes, image->alloc.opened_bytes);
	if (!err && handover && mutant(KEPT_EARLY))
		err = handover->keep(handover->arg, why);
	if (!err && handover)
		err = inherit(left);
	/*
	 * Who goes on where another has ended believes nothing to be durable before the first flush, but
	 * how large the disk is that it shows.
	 */
	if (!err && (!atomic_load(&image->inherited) || (left->resized && !image_broken(image))))
		err = make_all_durable(image, why);
	if (!err)
		err = clear_autoclear(image, why);
	if (!err && handover && !mutant(KEPT_EARLY))
		err = handover->keep(handover->arg, why);
	return err;
}

static int open_all(struct image *image, struct host_file *file,
		    const struct image_options *options, struct inheritance *left, struct why *why)
{
	const struct handover *handover = options->read_only ? NULL : options->handover;
	int err = node_open(&image->top, image, file, options->read_only, options->snapshot, why);

	if (err)
		return err;
	image->read_only = options->read_only;
	image->disk_bytes = image->top.geo.size_bytes;
	resize_open(image);
	if (handover)
		err = inherit_find(left, image, handover, why);
	if (!err && !image->read_only)
		err = refuse_corrupt(image, left, why);
	if (!err)
		err = unlock_node(&image->top, options, why);
	image->encrypted = image->top.cipher != NULL;
	if (!err)
		err = chain_open_data(&image->top, options, why);
	if (!err)
		err = chain_open(image, options, why);
	if (!err)
		err = open_memory(image, options, left, why);
	if (!err)
		err = alloc_open(image, options->size_most, why);
	if (!err)
		writeback_open(image);
	if (!err && !image->read_only)
		err = open_for_writing(image, handover, left, why);
	hits_open(image);
	return err;
}

static int open_image(struct image *image, struct host_file *file,
		      const struct image_options *options, struct why *why)
{
	struct inheritance left = { 0 };
	int err = open_all(image, file, options, &left, why);

	inherit_end(&left);
	return err;
}

int image_open(struct image **image, struct host_file *file, const struct image_options *options,
	       struct why *why)
{
	struct image *fresh = aligned_alloc(CACHE_LINE, round_up(sizeof(*fresh), CACHE_LINE));

	if (!fresh)
		return no_memory(file, why);
	memset(fresh, 0, sizeof(*fresh));

	int err = open_image(fresh, file, options, why);

	if (err) {
		image_free(fresh);
		return err;
	}
	*image = fresh;
	return 0;
}

void image_free(struct image *image)
{
	alloc_free(image);
	overlap_free(&image->overlap);
	reserve_free(image);
	bounce_free(image);
	copies_free(image);
	tables_free(image);
	flush_free(image);
	unpack_free(image);
	parts_free(image);
	if (image->zeros)
		munmap(image->zeros, image->top.geo.cluster_bytes);
	free(image->lane);
	chain_close(image);
	node_close(&image->top);
	arena_free(image);
	free(image);
}
