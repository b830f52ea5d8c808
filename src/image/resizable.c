/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How large may the disk become, and how small?  What there is room for, and what is refused. */
#include "resize.h"

#include <errno.h>

uint64_t resize_l1_entries(const struct geometry *geo, uint64_t bytes)
{
	return div_round_up(bytes, UINT64_C(1) << (geo->cluster_bits + geo->l2_bits));
}

uint64_t resize_l1_room(const struct node *top, uint64_t size_most)
{
	uint64_t most = size_most ? max_u64(size_most, 2 * top->geo.size_bytes) : 0;
	uint64_t entries = resize_l1_entries(&top->geo, most);
	uint64_t bytes = min_u64(entries * sizeof(*top->l1), LIMIT_L1_ROOM);

	return round_up(max_u64(bytes, top->l1_bytes), L1_BLOCK_BYTES);
}

uint64_t resize_slices(const struct image *image, uint64_t size_most)
{
	const struct geometry *geo = &image->top.geo;
	uint64_t entries = image->arena.l1_room / sizeof(*image->top.l1);
	uint64_t slices = entries << (geo->cluster_bits - geo->slice_bits);

	/* As much as the disk may have had before it became smaller, when its server was killed. */
	return size_most ? min_u64(slices, LIMIT_SLICES_ROOM) : 0;
}

bool resize_has_room(const struct image *image, uint64_t bytes)
{
	const struct node *top = &image->top;
	unsigned covered_bits = top->geo.cluster_bits + top->geo.slice_entries_bits;

	return bytes <= LIMIT_HOST_OFFSET &&
	       resize_l1_entries(&top->geo, bytes) * sizeof(*top->l1) <= image->arena.l1_room &&
	       div_round_up(bytes, UINT64_C(1) << covered_bits) <= top->cache.directory_entries;
}

static int refuse(const struct image *image, int err, const char *what, struct why *why)
{
	return why_set(why, err, "%s: %s", image->top.file->name, what);
}

/* What the image is, and stays. */
static int check_kind(const struct image *image, struct why *why)
{
	const struct node *top = &image->top;

	if (image->read_only)
		return refuse(image, -EROFS, "is served read-only and cannot be resized", why);
	if (image_broken(image))
		return refuse(image, -EIO, "nothing is written to it any more, after an error",
			      why);
	if (top->data_raw)
		return refuse(image, -ENOTSUP,
			      "has a raw external data file; resize it with qemu-img when it is not "
			      "served",
			      why);
	if (top->bitmaps.bitmaps && top->header.autoclear & QCOW2_BITMAPS)
		return refuse(image, -ENOTSUP,
			      "has persistent bitmaps, which would be of another size; remove them "
			      "with qemu-img bitmap --remove",
			      why);
	if (top->header.snapshots && top->geo.version < 3)
		return refuse(image, -ENOTSUP,
			      "is of version 2 and has internal snapshots, which do not say how "
			      "large the disk was; convert it with qemu-img amend -o compat=1.1",
			      why);
	if (image->snapshots_incomplete)
		return refuse(image, -ENOTSUP,
			      "has internal snapshots that do not say how large the disk was; "
			      "repair them with qcow2-ublkd check --repair all",
			      why);
	return 0;
}

/* Is there something to grow into? */
static int check_room(const struct image *image, uint64_t bytes, struct why *why)
{
	const struct node *top = &image->top;
	const struct geometry *geo = &top->geo;
	uint64_t entries = resize_l1_entries(geo, bytes);
	uint64_t clusters = div_round_up(entries * sizeof(*top->l1), geo->cluster_bytes);

	if (!resize_has_room(image, bytes))
		return refuse(image, -EFBIG,
			      "that is more than there is room for while it is served; resize it "
			      "with qemu-img when it is not",
			      why);
	if (geo->data_apart && top->data->fixed_size && top->data->size < bytes)
		return refuse(image, -EFBIG, "its data file is a device, and that is too small",
			      why);
	if (entries > top->l1_entries && (clusters >= UINT64_C(1) << geo->slice_refcounts_bits ||
					  image->resize.moves == RESIZE_MOVES_MOST))
		return refuse(image, -EFBIG,
			      "the L1 table that this takes cannot be made while it is served; "
			      "resize it with qemu-img when it is not",
			      why);
	if (geo->version < 3 && top->below && node_bytes(top->below) > image_disk_bytes(image))
		return refuse(image, -ENOTSUP,
			      "is of version 2, and its backing file is longer than the disk: that "
			      "the new end is zeros cannot be said; convert it with qemu-img amend "
			      "-o compat=1.1",
			      why);
	return 0;
}

int image_resize_check(const struct image *image, uint64_t bytes, bool shrink, struct why *why)
{
	uint64_t now = image_disk_bytes(image);
	int err = check_kind(image, why);

	if (err)
		return err;
	if (!bytes || !is_aligned(bytes, SECTOR_SIZE))
		return refuse(image, -EINVAL, "a disk's size is a multiple of 512 bytes", why);
	if (bytes < now && !shrink)
		return refuse(
			image, -EINVAL,
			"would become smaller; that takes --shrink, and that nothing is behind "
			"the new end",
			why);
	return bytes <= now ? 0 : check_room(image, bytes, why);
}
