/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Entries of L1 tables, L2 tables and refcount tables, and what geometry says about addresses. */
#include "format.h"

#include "check.h"

#include <errno.h>

#define COPIED ENTRY_COPIED
#define COMPRESSED ENTRY_COMPRESSED

static struct geometry geometry_of(unsigned version, unsigned cluster_bits, unsigned order,
				   uint64_t incompatible)
{
	struct qcow2_header header = {
		.version = version,
		.cluster_bits = cluster_bits,
		.size_bytes = GIB,
		.refcount_order = order,
		.incompatible = incompatible,
	};

	return qcow2_geometry(&header);
}

struct l2_row {
	const char *name;
	unsigned version;
	uint64_t entry;
	enum l2_kind kind;
	bool copied;
	uint64_t host;
};

/* 64 KiB clusters. */
static const struct l2_row l2_rows[] = {
	{ "nothing", 3, 0, L2_ABSENT, false, 0 },
	{ "nothing, version 2", 2, 0, L2_ABSENT, false, 0 },
	{ "COPIED without offset", 3, COPIED, L2_ABSENT, false, 0 },
	{ "zero flag", 3, 1, L2_ZERO, false, 0 },
	{ "zero flag, COPIED without offset", 3, COPIED | 1, L2_ZERO, false, 0 },
	{ "zero flag, version 2", 2, 1, L2_INVALID, false, 0 },
	{ "zero flag with offset, version 2", 2, 0x50001, L2_INVALID, false, 0 },
	{ "shared", 3, 0x50000, L2_DATA, false, 0x50000 },
	{ "ours", 3, COPIED | 0x50000, L2_DATA, true, 0x50000 },
	{ "ours, version 2", 2, COPIED | 0x50000, L2_DATA, true, 0x50000 },
	{ "highest", 3, COPIED | 0x00ffffffffff0000, L2_DATA, true, 0x00ffffffffff0000 },
	{ "reserved bits", 3, COPIED | 0x3f000000000501fe, L2_DATA, true, 0x50000 },
	{ "reserved bits only", 3, 0x3f000000000001fe, L2_ABSENT, false, 0 },
	{ "set aside, shared", 3, 0x50001, L2_ZERO_ALLOCATED, false, 0x50000 },
	{ "set aside, ours", 3, COPIED | 0x50001, L2_ZERO_ALLOCATED, true, 0x50000 },
	{ "misaligned", 3, COPIED | 0x50200, L2_INVALID, false, 0 },
	{ "misaligned, highest bit", 3, 0x58000, L2_INVALID, false, 0 },
	{ "set aside, misaligned", 3, 0x50201, L2_INVALID, false, 0 },
	{ "in cluster 0", 3, COPIED | 0x200, L2_INVALID, false, 0 },
	{ "compressed", 3, 0x5380000000050000, L2_COMPRESSED, false, 0 },
	{ "compressed, odd", 3, 0x5380000000063a01, L2_COMPRESSED, false, 0 },
	{ "compressed, odd, version 2", 2, 0x5380000000063a01, L2_COMPRESSED, false, 0 },
	{ "compressed and COPIED", 3, COPIED | 0x5380000000050000, L2_INVALID, false, 0 },
	{ "compressed, at the header", 3, COMPRESSED, L2_INVALID, false, 0 },
	{ "compressed, in cluster 1", 3, COMPRESSED | 0x10000, L2_COMPRESSED, false, 0 },
	{ "compressed, in cluster 0", 3, COMPRESSED | 0xffff, L2_INVALID, false, 0 },
};

static void test_l2(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(l2_rows); i++) {
		const struct l2_row *row = &l2_rows[i];
		struct geometry g = geometry_of(row->version, 16, 4, 0);
		struct l2_entry e = l2_decode(&g, row->entry);

		check_case("L2: %s", row->name);
		CHECK_EQ(e.kind, row->kind);
		CHECK_EQ(e.copied, row->copied);
		CHECK_EQ(e.host.byte, row->host);
	}

	check_case("L2: alignment follows the cluster size");
	for (unsigned bits = 9; bits <= 21; bits++) {
		struct geometry g = geometry_of(3, bits, 4, 0);

		CHECK_EQ(l2_decode(&g, UINT64_C(3) << bits).kind, L2_DATA);
		if (bits > 9) {
			CHECK_EQ(l2_decode(&g, UINT64_C(3) << (bits - 1)).kind, L2_INVALID);
			CHECK_EQ(l2_decode(&g, UINT64_C(1) << (bits - 1)).kind, L2_INVALID);
		}
	}

	check_case("L2: as qemu-img preallocates metadata");
	for (uint64_t i = 0; i < 128; i++) {
		struct geometry g = geometry_of(3, 16, 4, 0);
		struct l2_entry e = l2_decode(&g, 0x8000000000050000 + i * 0x10000);

		CHECK_EQ(e.kind, L2_DATA);
		CHECK(e.copied);
		CHECK_EQ(e.host.byte, 0x50000 + i * 0x10000);
		CHECK_EQ(table_entry_make(e.host), 0x8000000000050000 + i * 0x10000);
	}
}

/* One subcluster of an extended entry; 64 KiB clusters. */
struct extended_row {
	const char *name;
	struct l2_word word;
	unsigned subcluster;
	enum l2_kind kind;
	bool copied;
	uint64_t host;
	unsigned alike;
};

#define OURS (COPIED | 0x50000)
#define ZERO_BIT(n) (UINT64_C(1) << (32 + (n)))

/* The first ones are as QEMU writes them. */
static const struct extended_row extended_rows[] = {
	{ "data in the middle", { OURS, 0x1000000006 }, 1, L2_DATA, true, 0x50000, 2 },
	{ "in front of it", { OURS, 0x1000000006 }, 0, L2_ABSENT_ALLOCATED, true, 0x50000, 1 },
	{ "behind it", { OURS, 0x1000000006 }, 3, L2_ABSENT_ALLOCATED, true, 0x50000, 1 },
	{ "zeroed", { OURS, 0x1000000006 }, 4, L2_ZERO_ALLOCATED, true, 0x50000, 1 },
	{ "the rest", { OURS, 0x1000000006 }, 5, L2_ABSENT_ALLOCATED, true, 0x50000, 27 },
	{ "discarded", { 0, BITMAP_ALL_ZERO }, 0, L2_ZERO, false, 0, 32 },
	{ "zeroed, kept", { OURS, BITMAP_ALL_ZERO }, 31, L2_ZERO_ALLOCATED, true, 0x50000, 1 },
	{ "compressed", { 0x4000000000050000, 0 }, 3, L2_COMPRESSED, false, 0, 29 },
	{ "nothing", { 0, 0 }, 7, L2_ABSENT, false, 0, 25 },
	{ "preallocated over a backing file",
	  { OURS, 0 },
	  0,
	  L2_ABSENT_ALLOCATED,
	  true,
	  0x50000,
	  32 },
	{ "all data", { OURS, BITMAP_ALL_DATA }, 0, L2_DATA, true, 0x50000, 32 },
	{ "last of all data", { OURS, BITMAP_ALL_DATA }, 31, L2_DATA, true, 0x50000, 1 },
	{ "shared", { 0x50000, 1 }, 0, L2_DATA, false, 0x50000, 1 },
	{ "zeros without a cluster", { 0, ZERO_BIT(5) }, 5, L2_ZERO, false, 0, 1 },
	{ "beside them", { 0, ZERO_BIT(5) }, 4, L2_ABSENT, false, 0, 1 },
	{ "COPIED without offset", { COPIED, ZERO_BIT(0) }, 0, L2_ZERO, false, 0, 1 },
	{ "bit 0 means nothing", { OURS | 1, 1 }, 0, L2_DATA, true, 0x50000, 1 },
	{ "bit 0 without a cluster", { 1, 0 }, 0, L2_ABSENT, false, 0, 32 },
	{ "reserved bits", { OURS | 0x3f000000000001ff, 1 }, 0, L2_DATA, true, 0x50000, 1 },
	{ "compressed, odd", { 0x5380000000063a01, 0 }, 0, L2_COMPRESSED, false, 0, 32 },
	{ "compressed, with a bitmap",
	  { 0x4000000000050000, 0x180 },
	  9,
	  L2_COMPRESSED,
	  false,
	  0,
	  23 },
	{ "compressed, with a senseless one",
	  { 0x4000000000050000, UINT64_MAX },
	  0,
	  L2_COMPRESSED,
	  false,
	  0,
	  32 },
	{ "both bits", { OURS, ZERO_BIT(2) | 1 << 2 }, 2, L2_INVALID, false, 0, 1 },
	{ "both bits of another", { OURS, ZERO_BIT(2) | 1 << 2 }, 0, L2_INVALID, false, 0, 2 },
	{ "both bits of the last",
	  { OURS, ZERO_BIT(31) | UINT64_C(1) << 31 },
	  0,
	  L2_INVALID,
	  false,
	  0,
	  31 },
	{ "data without a cluster", { 0, 1 }, 0, L2_INVALID, false, 0, 1 },
	{ "data of another without a cluster", { 0, 1 }, 9, L2_INVALID, false, 0, 23 },
	{ "both bits without a cluster", { 0, ZERO_BIT(0) | 1 }, 0, L2_INVALID, false, 0, 1 },
	{ "misaligned", { COPIED | 0x50200, 1 }, 0, L2_INVALID, false, 0, 1 },
	{ "misaligned, nothing but zeros",
	  { 0x50200, BITMAP_ALL_ZERO },
	  0,
	  L2_INVALID,
	  false,
	  0,
	  32 },
	{ "compressed and COPIED", { COPIED | 0x4000000000050000, 0 }, 0, L2_INVALID, false, 0, 32 },
};

static void test_extended(void)
{
	struct geometry g = geometry_of(3, 16, 4, QCOW2_EXTENDED_L2);

	for (size_t i = 0; i < ARRAY_SIZE(extended_rows); i++) {
		const struct extended_row *row = &extended_rows[i];
		struct l2_entry e = l2_decode_extended(&g, row->word, row->subcluster);

		check_case("extended L2: %s", row->name);
		CHECK_EQ(e.kind, row->kind);
		CHECK_EQ(l2_subclusters_alike(row->word, row->subcluster), row->alike);
		if (e.kind == L2_INVALID)
			continue;
		CHECK_EQ(e.copied, row->copied);
		CHECK_EQ(e.host.byte, row->host);
	}

	check_case("extended L2, data apart: at offset 0");
	g = geometry_of(3, 16, 4, QCOW2_EXTENDED_L2 | QCOW2_DATA_FILE);
	CHECK_EQ(l2_decode_extended(&g, (struct l2_word){ COPIED, 1 }, 0).kind, L2_DATA);
	CHECK_EQ(l2_decode_extended(&g, (struct l2_word){ COPIED, 1 }, 1).kind,
		 L2_ABSENT_ALLOCATED);
	CHECK_EQ(l2_decode_extended(&g, (struct l2_word){ 0, 1 }, 0).kind, L2_INVALID);
	CHECK_EQ(l2_decode_extended(&g, (struct l2_word){ 0, ZERO_BIT(0) }, 0).kind, L2_ZERO);
	CHECK(l2_decode_extended(&g, (struct l2_word){ 0x10000, 1 }, 0).copied);
}

/* Against the bits one by one. */
static void test_alike(void)
{
	uint64_t seed = 1;

	check_case("extended L2: subclusters alike");
	for (unsigned n = 0; n < 2000; n++) {
		struct l2_word word = { OURS, 0 };
		unsigned alike = 1, from;

		seed = seed * 6364136223846793005u + 1442695040888963407u;
		word.bitmap = n % 2 ? seed & seed >> 7 : seed | seed << 5;
		from = n % SUBCLUSTERS;
		while (from + alike < SUBCLUSTERS &&
		       ((word.bitmap >> from ^ word.bitmap >> (from + alike)) &
			(ZERO_BIT(0) | 1)) == 0)
			alike++;
		CHECK_EQ(l2_subclusters_alike(word, from), alike);
	}
}

static void test_l1(void)
{
	static const struct {
		uint64_t entry;
		enum l1_kind kind;
		bool copied;
		uint64_t host;
	} l1_rows[] = {
		{ 0, L1_ABSENT, false, 0 },
		{ COPIED, L1_ABSENT, false, 0 },
		{ 0x7f000000000001ff, L1_ABSENT, false, 0 },
		{ 0x40000, L1_TABLE, false, 0x40000 },
		{ COPIED | 0x40000, L1_TABLE, true, 0x40000 },
		{ COPIED | 0x7f000000000401ff, L1_TABLE, true, 0x40000 },
		{ COPIED | 0x00ffffffffff0000, L1_TABLE, true, 0x00ffffffffff0000 },
		{ COPIED | 0x40200, L1_INVALID, true, 0x40200 },
		{ COPIED | 0x200, L1_INVALID, true, 0x200 },
		{ 0x8000, L1_INVALID, false, 0x8000 },
	};
	struct geometry g = geometry_of(3, 16, 4, 0);

	for (size_t i = 0; i < ARRAY_SIZE(l1_rows); i++) {
		struct l1_entry e = l1_decode(&g, l1_rows[i].entry);

		check_case("L1: %016" PRIx64, l1_rows[i].entry);
		CHECK_EQ(e.kind, l1_rows[i].kind);
		CHECK_EQ(e.copied, l1_rows[i].copied);
		CHECK_EQ(e.host.byte, l1_rows[i].host);
	}
}

/* External data file: 0 with COPIED is a cluster, nothing is shared, nothing is compressed. */
static void test_data_apart(void)
{
	static const struct {
		uint64_t entry;
		enum l2_kind kind;
		bool copied;
		uint64_t host;
	} rows_apart[] = {
		{ 0, L2_ABSENT, false, 0 },
		{ 1, L2_ZERO, false, 0 },
		{ COPIED, L2_DATA, true, 0 },
		{ COPIED | 1, L2_ZERO_ALLOCATED, true, 0 },
		{ COPIED | 0x10000, L2_DATA, true, 0x10000 },
		{ 0x10000, L2_DATA, true, 0x10000 },
		{ COPIED | 0x10001, L2_ZERO_ALLOCATED, true, 0x10000 },
		{ COPIED | 0x10200, L2_INVALID, false, 0 },
		{ 0x5380000000050000, L2_INVALID, false, 0 },
	};
	struct geometry g = geometry_of(3, 16, 4, QCOW2_DATA_FILE);

	for (size_t i = 0; i < ARRAY_SIZE(rows_apart); i++) {
		struct l2_entry e = l2_decode(&g, rows_apart[i].entry);

		check_case("L2, data apart: %016" PRIx64, rows_apart[i].entry);
		CHECK_EQ(e.kind, rows_apart[i].kind);
		if (e.kind == L2_INVALID)
			continue;
		CHECK_EQ(e.copied, rows_apart[i].copied);
		CHECK_EQ(e.host.byte, rows_apart[i].host);
	}
	check_case("data apart: at the guest's own address, or not");
	CHECK(l2_in_place(&g, (struct host){ 0x10000 }, (struct guest){ 0x1fe00 }));
	CHECK(!l2_in_place(&g, (struct host){ 0x20000 }, (struct guest){ 0x1fe00 }));
	CHECK(l2_in_place(&g, (struct host){ 0 }, (struct guest){ 0 }));
}

static void test_compressed(void)
{
	static const struct {
		unsigned cluster_bits;
		uint64_t entry;
		uint64_t off;
		uint32_t len;
	} vectors[] = {
		{ 16, 0x5380000000050000, 0x50000, 40448 },
		{ 16, 0x53c0000000059cff, 0x59cff, 40705 },
		{ 16, 0x5380000000063a01, 0x63a01, 40447 },
		{ 16, 0x4000000000050000, 0x50000, 512 },
		{ 21, 0x4008000000a00000, 0xa00000, 5 * 512 },
		{ 21, 0x4008000000a00802, 0xa00802, 5 * 512 - 2 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
		struct geometry g = geometry_of(3, vectors[i].cluster_bits, 4, 0);
		struct compressed_range range = l2_compressed_range(&g, vectors[i].entry);

		check_case("compressed: %016" PRIx64, vectors[i].entry);
		CHECK_EQ(range.off.byte, vectors[i].off);
		CHECK_EQ(range.len, vectors[i].len);
	}

	/* A stream of len bytes at off, described as the specification says, for each field width. */
	check_case("compressed: what a writer writes, every cluster size");
	for (unsigned bits = 9; bits <= 21; bits++) {
		static const unsigned offset_bits[] = {
			[9] = 61,  [10] = 60, [11] = 59, [12] = 58, [13] = 57, [14] = 56, [15] = 55,
			[16] = 54, [17] = 53, [18] = 52, [19] = 51, [20] = 50, [21] = 49
		};
		struct geometry g = geometry_of(3, bits, 4, 0);
		uint64_t off = (UINT64_C(1) << 48) + (UINT64_C(1) << bits) + 777;
		uint64_t len = (UINT64_C(1) << bits) - 1;
		uint64_t more = ((off + len - 1) >> 9) - (off >> 9);
		uint64_t entry = COMPRESSED | more << offset_bits[bits] | off;
		struct compressed_range range = l2_compressed_range(&g, entry);

		CHECK_EQ(l2_decode(&g, entry).kind, L2_COMPRESSED);
		CHECK_EQ(range.off.byte, off);
		CHECK(range.len >= len && range.len < len + 512);
		CHECK_EQ((range.off.byte + range.len) % 512, 0);
	}

	check_case("compressed: beyond the highest host offset");
	for (unsigned bits = 9; bits < 14; bits++) {
		struct geometry g = geometry_of(3, bits, 4, 0);

		CHECK_EQ(l2_decode(&g, COMPRESSED | LIMIT_HOST_OFFSET).kind, L2_INVALID);
		CHECK_EQ(l2_decode(&g, COMPRESSED | (LIMIT_HOST_OFFSET - 1)).kind, L2_COMPRESSED);
	}
}

static void test_refcount_table(void)
{
	struct geometry g = geometry_of(3, 16, 4, 0);
	struct host host = { 1 };

	check_case("refcount table: no block");
	CHECK_EQ(refcount_table_decode(&g, 0, &host), 0);
	CHECK_EQ(host.byte, 0);
	CHECK_EQ(refcount_table_decode(&g, 0x1ff, &host), 0);
	CHECK_EQ(host.byte, 0);

	check_case("refcount table: a block");
	CHECK_EQ(refcount_table_decode(&g, 0x20000, &host), 0);
	CHECK_EQ(host.byte, 0x20000);
	CHECK_EQ(refcount_table_decode(&g, 0x00ffffffffff0000, &host), 0);
	CHECK_EQ(host.byte, 0x00ffffffffff0000);

	check_case("refcount table: not a block");
	CHECK_EQ(refcount_table_decode(&g, 0x20200, &host), -EINVAL);
	CHECK_EQ(refcount_table_decode(&g, 0x200, &host), -EINVAL);
	CHECK_EQ(refcount_table_decode(&g, UINT64_C(1) << 56, &host), -EINVAL);
	CHECK_EQ(refcount_table_decode(&g, UINT64_C(1) << 63, &host), -EINVAL);
}

/* Against division, for every cluster size and refcount width. */
static void check_geometry(const struct geometry *g, unsigned cluster_bits, unsigned order)
{
	uint64_t cluster = UINT64_C(1) << cluster_bits;
	struct guest guest = { 123456789 * SECTOR_SIZE };
	uint64_t slice_entries = g->slice_bytes / g->l2_entry_bytes;

	CHECK_EQ(g->cluster_bytes, cluster);
	CHECK_EQ(1u << g->l2_bits, cluster / g->l2_entry_bytes);
	CHECK_EQ(UINT64_C(1) << g->refcount_block_bits, cluster * 8 >> order);
	CHECK_EQ(g->slice_bytes, cluster < 4096 ? cluster : 4096);
	CHECK_EQ(1u << g->slice_bits, g->slice_bytes);
	CHECK_EQ(1u << g->slice_entries_bits, slice_entries);
	CHECK_EQ(1u << g->slice_refcounts_bits, g->slice_bytes * 8 >> order);
	CHECK_EQ(guest_cluster(g, guest), guest.byte / cluster);
	CHECK_EQ(guest_in_cluster(g, guest), guest.byte % cluster);
	CHECK_EQ(guest_l1_index(g, guest), guest.byte / cluster / (cluster / g->l2_entry_bytes));
	CHECK_EQ(guest_slice(g, guest), guest.byte / cluster / slice_entries);
	CHECK_EQ(guest_slice_entry(g, guest), guest.byte / cluster % slice_entries);
	CHECK_EQ(host_cluster(g, cluster_host(g, 77)), 77);
	CHECK_EQ(cluster_host(g, 77).byte, 77 * cluster);
	CHECK_EQ(1u << g->subcluster_bits, g->extended ? cluster / 32 : cluster);
	CHECK_EQ(guest_subcluster(g, guest), guest.byte % cluster >> g->subcluster_bits);
}

static void test_geometry(void)
{
	for (unsigned bits = 9; bits <= 21; bits++) {
		check_case("geometry: clusters of 2^%u", bits);
		for (unsigned order = 0; order <= 6; order++) {
			struct geometry g = geometry_of(3, bits, order, 0);

			CHECK_EQ(g.l2_entry_bytes, 8);
			check_geometry(&g, bits, order);
			if (bits < 14)
				continue;
			g = geometry_of(3, bits, order, QCOW2_EXTENDED_L2);
			CHECK_EQ(g.l2_entry_bytes, 16);
			check_geometry(&g, bits, order);
		}
	}

	check_case("geometry: largest refcount");
	CHECK_EQ(geometry_of(3, 16, 0, 0).refcount_max, 1);
	CHECK_EQ(geometry_of(3, 16, 1, 0).refcount_max, 3);
	CHECK_EQ(geometry_of(3, 16, 2, 0).refcount_max, 15);
	CHECK_EQ(geometry_of(3, 16, 3, 0).refcount_max, 255);
	CHECK_EQ(geometry_of(3, 16, 4, 0).refcount_max, 65535);
	CHECK_EQ(geometry_of(3, 16, 5, 0).refcount_max, UINT32_MAX);
	CHECK_EQ(geometry_of(3, 16, 6, 0).refcount_max, UINT64_MAX);
}

int main(void)
{
	test_l1();
	test_data_apart();
	test_l2();
	test_extended();
	test_alike();
	test_compressed();
	test_refcount_table();
	test_geometry();
	return check_end();
}
