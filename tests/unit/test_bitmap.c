/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Entries of the bitmap directory and of bitmap tables, against QEMU's bytes and hostile ones. */
#include "format.h"

#include "check.h"

static const struct geometry g = {
	.version = 3,
	.cluster_bits = 16,
	.cluster_bytes = 65536,
	.size_bytes = 64 * MIB,
};

/* Bitmap "bm0", granularity 64 KiB, by qemu-img. */
static const uint8_t entry_bm0[32] = {
	0,   0,	   0,	0, 0, 4, 0, 0, /* table at 0x40000 */
	0,   0,	   0,	1, /* of one entry */
	0,   0,	   0,	2, /* flags: auto */
	1,   0x10, 0,	3, /* type, granularity, length of the name */
	0,   0,	   0,	0, /* extra data */
	'b', 'm',  '0',
};

static void test_vector(void)
{
	struct bitmap b;

	check_case("as qemu-img writes it");
	CHECK_EQ(bitmap_entry_bytes(entry_bm0), sizeof(entry_bm0));
	CHECK_EQ(bitmap_decode(&g, entry_bm0, sizeof(entry_bm0), &b), 0);
	CHECK_EQ(b.table.byte, 0x40000);
	CHECK_EQ(b.table_entries, 1);
	CHECK_EQ(b.flags, BITMAP_AUTO);
	CHECK_EQ(b.granularity_bits, 16);
	CHECK_EQ(b.entry_bytes, 32);
	CHECK_EQ(b.name.len, 3);
	CHECK(memcmp(entry_bm0 + b.name.off, "bm0", 3) == 0);
}

static void test_short(void)
{
	struct bitmap b;

	check_case("an entry that is cut off");
	for (size_t len = 0; len < BITMAP_FIXED_BYTES + 3; len++)
		CHECK(bitmap_decode(&g, entry_bm0, len, &b) != 0);
}

static int decode_with(size_t at, uint8_t value)
{
	uint8_t bytes[sizeof(entry_bm0)];
	struct bitmap b;

	memcpy(bytes, entry_bm0, sizeof(bytes));
	bytes[at] = value;
	return bitmap_decode(&g, bytes, sizeof(bytes), &b);
}

static void test_fields(void)
{
	check_case("fields out of range");
	CHECK(decode_with(6, 2) != 0); /* table not aligned */
	CHECK(decode_with(0, 0xff) != 0); /* and beyond what a file can have */
	CHECK(decode_with(11, 0) != 0); /* no table */
	CHECK(decode_with(8, 1) != 0); /* table too large */
	CHECK(decode_with(15, 4) != 0); /* a flag that QEMU does not know either */
	CHECK_EQ(decode_with(15, 3), 0);
	CHECK(decode_with(16, 0) != 0); /* type */
	CHECK(decode_with(17, 8) != 0); /* granularity */
	CHECK(decode_with(17, 32) != 0);
	CHECK_EQ(decode_with(17, 31), 0);
	CHECK(decode_with(19, 0) != 0); /* no name */
	CHECK(decode_with(18, 4) != 0); /* name too long */
	CHECK(decode_with(23, 1) != 0); /* extra data */
}

static void test_size(void)
{
	struct geometry large = g;
	uint8_t bytes[sizeof(entry_bm0)];
	struct bitmap b;

	check_case("a bitmap that is too small for the disk");
	memcpy(bytes, entry_bm0, sizeof(bytes));
	large.size_bytes = 32 * GIB; /* 64 KiB of bits, each for 64 KiB */
	CHECK_EQ(bitmap_decode(&large, bytes, sizeof(bytes), &b), 0);
	large.size_bytes += SECTOR_SIZE;
	CHECK(bitmap_decode(&large, bytes, sizeof(bytes), &b) != 0);
	bytes[15] = BITMAP_IN_USE;
	CHECK_EQ(bitmap_decode(&large, bytes, sizeof(bytes), &b), 0);
}

static void test_table(void)
{
	struct host host = { 1 };

	check_case("entries of a table");
	CHECK_EQ(bitmap_table_decode(&g, 0, &host), 0);
	CHECK_EQ(host.byte, 0);
	CHECK_EQ(bitmap_table_decode(&g, 1, &host), 0);
	CHECK_EQ(host.byte, 0);
	CHECK_EQ(bitmap_table_decode(&g, 0x50000, &host), 0);
	CHECK_EQ(host.byte, 0x50000);
	CHECK(bitmap_table_decode(&g, 0x50001, &host) != 0);
	CHECK(bitmap_table_decode(&g, 0x50200, &host) != 0);
	CHECK(bitmap_table_decode(&g, 0x50002, &host) != 0);
	CHECK(bitmap_table_decode(&g, ENTRY_COPIED | 0x50000, &host) != 0);
}

int main(void)
{
	test_vector();
	test_short();
	test_fields();
	test_size();
	test_table();
	return check_end();
}
