/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How large the file may become: as large as a disk makes it that is resized to all that there is room for. */
#include "reach.h"

#include "resize.h"

#include "check.h"

#include <stdlib.h>

#define SIZE_MOST (UINT64_C(1) << 44)

static struct image *image;

static void set(unsigned cluster_bits, uint64_t size_bytes)
{
	struct qcow2_header header = {
		.version = 3,
		.cluster_bits = cluster_bits,
		.refcount_order = 4,
		.size_bytes = size_bytes,
	};
	struct node *top = &image->top;

	top->geo = qcow2_geometry(&header);
	top->l1_bytes =
		round_up(resize_l1_entries(&top->geo, size_bytes) * sizeof(*top->l1), SECTOR_SIZE);
	image->arena.l1_room = (uint32_t)resize_l1_room(top, SIZE_MOST);
	top->cache.directory_entries =
		max_u64(div_round_up(size_bytes,
				     UINT64_C(1) << (cluster_bits + top->geo.slice_entries_bits)),
			resize_slices(image, SIZE_MOST));
}

static uint64_t largest_disk(void)
{
	uint64_t below = LIMIT_HOST_OFFSET + SECTOR_SIZE, has = 0;

	while (below - has > SECTOR_SIZE) {
		uint64_t middle = round_down(has + (below - has) / 2, SECTOR_SIZE);

		if (resize_has_room(image, middle))
			has = middle;
		else
			below = middle;
	}
	return has;
}

static void test_limit(unsigned cluster_bits, uint64_t size_bytes)
{
	struct why why;
	uint64_t largest;

	check_case("a disk of %llu bytes in clusters of %u", (unsigned long long)size_bytes,
		   1u << cluster_bits);
	set(cluster_bits, size_bytes);
	largest = largest_disk();
	CHECK(largest >= size_bytes);
	CHECK_EQ(reach_find(image, SIZE_MOST, &why), 0);
	CHECK(image->alloc.limit << cluster_bits >= min_u64(2 * largest, LIMIT_HOST_OFFSET));
	CHECK(image->alloc.limit << cluster_bits <= LIMIT_HOST_OFFSET);
}

/* An L1 table may be that of a disk that was larger, and of nothing. */
static void test_slices(void)
{
	check_case("an L1 table as large as can be");
	set(LIMIT_CLUSTER_BITS_MAX, GIB);
	image->arena.l1_room = 32 * MIB;
	CHECK_EQ(resize_slices(image, SIZE_MOST), LIMIT_SLICES_ROOM);
	check_case("that of a disk that was larger");
	set(16, UINT64_C(1) << 50);
	image->top.geo.size_bytes = GIB;
	CHECK(resize_slices(image, SIZE_MOST) >= image->top.cache.directory_entries);
}

int main(void)
{
	static struct host_file file = { .name = "image", .size = MIB };

	image = aligned_alloc(CACHE_LINE, round_up(sizeof(*image), CACHE_LINE));
	must(image);
	memset(image, 0, sizeof(*image));
	image->top.file = &file;
	for (unsigned bits = LIMIT_CLUSTER_BITS_MIN; bits <= LIMIT_CLUSTER_BITS_MAX; bits++) {
		test_limit(bits, MIB);
		test_limit(bits, 10 * GIB);
	}
	test_slices();
	free(image);
	return check_end();
}
