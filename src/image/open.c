/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opening: from a file to an image that can be served, or a sentence why not. */
#include "alloc.h"
#include "cache.h"
#include "copies.h"
#include "epoch.h"
#include "flush.h"
#include "part.h"
#include "reserve.h"
#include "survey.h"
#include "table.h"
#include "writeback.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

static int no_memory(const struct host_file *file, struct why *why)
{
	return why_set(why, -ENOMEM, "%s: not enough memory", file->name);
}

static int refuse(const struct host_file *file, struct why *why, const char *what)
{
	return why_set(why, -ENOTSUP, "%s: %s", file->name, what);
}

/* Features that the header names and this engine does not have. */
static int check_supported(const struct host_file *file, const struct qcow2_header *header,
			   bool read_only, struct why *why)
{
	if (header->has_backing)
		return refuse(file, why,
			      "has a backing file, which is not supported; "
			      "flatten it with qemu-img convert");
	if (header->crypt_method)
		return refuse(file, why, "is encrypted, which is not supported");
	if (header->incompatible & QCOW2_DATA_FILE)
		return refuse(file, why, "has an external data file, which is not supported");
	if (header->incompatible & QCOW2_EXTENDED_L2)
		return refuse(file, why, "has extended L2 entries, which are not supported");
	if (read_only)
		return 0;
	if (header->incompatible & QCOW2_CORRUPT)
		return refuse(file, why,
			      "is marked corrupt; repair it with qemu-img check -r all, "
			      "or use --read-only");
	if (header->incompatible & QCOW2_DIRTY)
		return refuse(file, why,
			      "is marked dirty (lazy refcounts); repair it with "
			      "qemu-img check -r all, or use --read-only");
	if (header->autoclear & QCOW2_BITMAPS)
		return refuse(file, why,
			      "has persistent bitmaps, which writing would make wrong; remove "
			      "them with qemu-img bitmap --remove, or use --read-only");
	return 0;
}

static int read_header(struct image *image, bool read_only, struct why *why)
{
	struct host_file *file = image->file;
	uint8_t *bytes = malloc(QCOW2_HEADER_READ);
	int64_t got;
	int err;

	image->header_sector = aligned_alloc(LIMIT_SLICE_BYTES, LIMIT_SLICE_BYTES);
	if (!bytes || !image->header_sector) {
		free(bytes);
		return no_memory(file, why);
	}
	memset(image->header_sector, 0, LIMIT_SLICE_BYTES);
	got = file->read(file, bytes, QCOW2_HEADER_READ, 0);
	if (got < 0) {
		free(bytes);
		return why_set(why, (int)got, "%s: cannot read the header: %s", file->name,
			       strerror((int)-got));
	}
	err = qcow2_header_decode(bytes, (size_t)got, file->name, &image->header, why);
	if (!err) {
		memcpy(image->header_sector, bytes, min_u64(SECTOR_SIZE, (uint64_t)got));
		err = check_supported(file, &image->header, read_only, why);
	}
	free(bytes);
	return err;
}

/* L1 as on disk, up to the end of its last sector, so that sectors can be written back. */
static int read_l1(struct image *image, struct why *why)
{
	struct host_file *file = image->file;
	uint64_t bytes = (uint64_t)image->header.l1_entries * sizeof(*image->l1);
	int64_t got = 0;

	image->l1_entries = image->header.l1_entries;
	image->l1_bytes = round_up(max_u64(bytes, 1), SECTOR_SIZE);
	image->l1 = mmap(NULL, image->l1_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			 -1, 0);
	if (image->l1 == MAP_FAILED) {
		image->l1 = NULL;
		return no_memory(file, why);
	}
	if (bytes)
		got = file->read(file, image->l1, image->l1_bytes, image->header.l1.byte);
	if (got < 0)
		return why_set(why, (int)got, "%s: cannot read the L1 table: %s", file->name,
			       strerror((int)-got));
	return 0;
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

static int open_memory(struct image *image, const struct image_options *options)
{
	/* Never written, so never resident: all of it is the one zero page. */
	image->zeros =
		mmap(NULL, image->geo.cluster_bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (image->zeros == MAP_FAILED) {
		image->zeros = NULL;
		return -ENOMEM;
	}
	if (open_lanes(image, options) || cache_open(image, options->l2_cache_bytes) ||
	    flush_open(image) || tables_open(image) || copies_open(image) ||
	    reserve_open(image, options->reqs_per_lane, options->reserve_bytes))
		return -ENOMEM;
	return 0;
}

/*
 * Unknown autoclear bits vouch for something that this writer does not keep up: they go, durably,
 * before anything else changes (specification: "autoclear_features").
 */
static int clear_autoclear(struct image *image, struct why *why)
{
	struct host_file *file = image->file;
	struct be64 none = be64_make(0);
	int err;

	if (image->header.version < 3 || !image->header.autoclear)
		return 0;
	memcpy(image->header_sector + QCOW2_AT_AUTOCLEAR, &none, sizeof(none));
	err = file->write(file, image->header_sector, SECTOR_SIZE, 0);
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
static int make_durable(struct image *image, struct why *why)
{
	int err = image->file->sync(image->file);

	if (err)
		return why_set(why, err, "%s: fsync: %s; nothing can be written to it",
			       image->file->name, strerror(-err));
	return 0;
}

static int open_image(struct image *image, const struct image_options *options, struct why *why)
{
	int err = read_header(image, options->read_only, why);

	if (err)
		return err;
	image->geo = qcow2_geometry(&image->header);
	image->read_only = options->read_only;
	err = read_l1(image, why);
	if (err)
		return err;
	if (open_memory(image, options))
		return no_memory(image->file, why);
	err = survey_l2_tables(image, why);
	if (!err)
		err = alloc_open(image, why);
	if (!err && !image->read_only)
		err = make_durable(image, why);
	if (!err && !image->read_only)
		err = clear_autoclear(image, why);
	if (!err)
		writeback_open(image);
	return err;
}

int image_open(struct image **image, struct host_file *file, const struct image_options *options,
	       struct why *why)
{
	struct image *fresh = aligned_alloc(CACHE_LINE, round_up(sizeof(*fresh), CACHE_LINE));

	if (!fresh)
		return no_memory(file, why);
	memset(fresh, 0, sizeof(*fresh));
	fresh->file = file;

	int err = open_image(fresh, options, why);

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
	reserve_free(image);
	copies_free(image);
	tables_free(image);
	flush_free(image);
	cache_free(image);
	parts_free(image);
	if (image->zeros)
		munmap(image->zeros, image->geo.cluster_bytes);
	if (image->l1)
		munmap(image->l1, image->l1_bytes);
	free(image->lane);
	free(image->header_sector);
	free(image);
}
