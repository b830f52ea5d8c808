/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Entries of the snapshot table, against bytes that qemu-img wrote and against hostile ones. */
#include "format.h"

#include "check.h"

static const struct geometry g = {
	.version = 3,
	.cluster_bits = 16,
	.cluster_bytes = 65536,
	.size_bytes = 5 * MIB,
};

/* Snapshot "s1" of a disk of 1 MiB, by qemu-img; the date is made up. */
static const uint8_t entry_s1[] = {
	0,    0,    0,	  0,	0, 7,	 0, 0, /* L1 table at 0x70000 */
	0,    0,    0,	  1, /* of one entry */
	0,    1,    0,	  2, /* lengths of id and name */
	0x65, 0x01, 0x02, 0x03, 0, 0,	 0, 9, /* date */
	0,    0,    0,	  0,	0, 0,	 0, 0, /* clock */
	0,    0,    0,	  0, /* VM state */
	0,    0,    0,	  24, /* extra data */
	0,    0,    0,	  0,	0, 0,	 0, 0, /* VM state */
	0,    0,    0,	  0,	0, 0x10, 0, 0, /* disk size */
	0,    0,    0,	  0,	0, 0,	 0, 0, /* icount */
	'1',  's',  '1',
};

#define EXTRA_AT 36
#define L1_AT 0
#define L1_ENTRIES_AT 8

static void put32(uint8_t *bytes, size_t at, uint32_t value)
{
	struct be32 raw = be32_make(value);

	memcpy(bytes + at, &raw, sizeof(raw));
}

static void test_vector(void)
{
	struct snapshot s;

	check_case("as qemu-img writes it");
	CHECK_EQ(snapshot_entry_bytes(entry_s1), sizeof(entry_s1));
	CHECK_EQ(snapshot_decode(&g, entry_s1, sizeof(entry_s1), &s), 0);
	CHECK_EQ(s.l1.byte, 0x70000);
	CHECK_EQ(s.l1_entries, 1);
	CHECK_EQ(s.date_sec, 0x65010203);
	CHECK_EQ(s.date_nsec, 9);
	CHECK_EQ(s.disk_bytes, MIB);
	CHECK_EQ(s.vm_state_bytes, 0);
	CHECK_EQ(s.faults, 0);
	CHECK_EQ(s.id.len, 1);
	CHECK_EQ(s.name.len, 2);
	CHECK(memcmp(entry_s1 + s.id.off, "1", 1) == 0);
	CHECK(memcmp(entry_s1 + s.name.off, "s1", 2) == 0);
}

static void test_short(void)
{
	struct snapshot s;

	check_case("an entry that is cut off");
	for (size_t len = 0; len < sizeof(entry_s1); len++)
		CHECK(snapshot_decode(&g, entry_s1, len, &s) != 0);
}

/* The entry with @extra bytes of extra data, its strings moved accordingly. */
static int decode_with_extra(uint32_t extra, struct snapshot *s)
{
	uint8_t bytes[SNAPSHOT_FIXED_BYTES + 64] = { 0 };

	memcpy(bytes, entry_s1, SNAPSHOT_FIXED_BYTES + 24);
	put32(bytes, EXTRA_AT, extra);
	return snapshot_decode(&g, bytes, sizeof(bytes), s);
}

static void test_extra(void)
{
	struct snapshot s;

	check_case("extra data of other lengths");
	CHECK_EQ(decode_with_extra(0, &s), 0);
	CHECK_EQ(s.faults, SNAPSHOT_INCOMPLETE);
	CHECK_EQ(s.disk_bytes, g.size_bytes);
	CHECK_EQ(decode_with_extra(8, &s), 0);
	CHECK_EQ(s.faults, SNAPSHOT_INCOMPLETE);
	CHECK_EQ(decode_with_extra(16, &s), 0);
	CHECK_EQ(s.faults, 0);
	CHECK_EQ(s.disk_bytes, MIB);
	CHECK(decode_with_extra(LIMIT_SNAPSHOT_EXTRA, &s) != 0); /* is not there */
	CHECK_EQ(decode_with_extra(LIMIT_SNAPSHOT_EXTRA + 1, &s), 0);
	CHECK_EQ(s.faults, SNAPSHOT_EXTRA_TOO_LARGE);
	CHECK_EQ(decode_with_extra(UINT32_MAX, &s), 0);
	CHECK_EQ(s.faults, SNAPSHOT_EXTRA_TOO_LARGE);
	CHECK_EQ(s.entry_bytes, SNAPSHOT_FIXED_BYTES + UINT64_C(0xffffffff) + 3);
	CHECK_EQ(s.id.len + s.name.len, 0);
}

static unsigned faults_with(size_t at, uint32_t value)
{
	uint8_t bytes[sizeof(entry_s1)];
	struct snapshot s = { .faults = ~0u };

	memcpy(bytes, entry_s1, sizeof(bytes));
	put32(bytes, at, value);
	CHECK_EQ(snapshot_decode(&g, bytes, sizeof(bytes), &s), 0);
	return s.faults;
}

static void test_l1(void)
{
	check_case("L1 tables out of place");
	CHECK_EQ(faults_with(L1_AT + 4, 0x70200), SNAPSHOT_L1_MISALIGNED);
	CHECK_EQ(faults_with(L1_ENTRIES_AT, LIMIT_L1_BYTES / 8), 0);
	CHECK_EQ(faults_with(L1_ENTRIES_AT, LIMIT_L1_BYTES / 8 + 1), SNAPSHOT_L1_TOO_LARGE);
	CHECK_EQ(faults_with(L1_AT, 0xffffffff), SNAPSHOT_L1_TOO_LARGE);
}

int main(void)
{
	test_vector();
	test_short();
	test_extra();
	test_l1();
	return check_end();
}
