/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Parts of the checker that need no image: judged words, sparse counters, escaped text. */
#include "entry.h"
#include "json.h"
#include "refs.h"

#include "check.h"

#include <stdlib.h>

static const struct geometry plain = {
	.version = 3,
	.cluster_bits = 16,
	.cluster_bytes = 65536,
	.l2_entry_bytes = 8,
};

static const struct geometry extended = {
	.version = 3,
	.cluster_bits = 16,
	.cluster_bytes = 65536,
	.l2_entry_bytes = 16,
	.extended = true,
	.subcluster_bits = 11,
};

#define PLACE UINT64_C(0x50000)
#define ALL_ZERO UINT64_C(0xffffffff00000000)

static void judge(const struct geometry *g, bool data_file, uint64_t entry, uint64_t bitmap,
		  enum entry_kind kind, unsigned faults, uint32_t len)
{
	struct entry e = entry_judge(g, data_file, (struct l2_word){ entry, bitmap });

	CHECK_EQ(e.kind, kind);
	CHECK_EQ(e.faults, faults);
	CHECK_EQ(e.len, len);
}

static void test_entries(void)
{
	check_case("standard entries");
	judge(&plain, false, 0, 0, ENTRY_EMPTY, 0, 0);
	judge(&plain, false, ENTRY_ZERO, 0, ENTRY_EMPTY, 0, 0);
	judge(&plain, false, ENTRY_COPIED, 0, ENTRY_EMPTY, 0, 0);
	judge(&plain, false, ENTRY_COPIED | PLACE, 0, ENTRY_CLUSTER, 0, 65536);
	judge(&plain, false, PLACE | ENTRY_ZERO, 0, ENTRY_CLUSTER, 0, 65536);
	judge(&plain, false, PLACE | 512, 0, ENTRY_CLUSTER, ENTRY_MISALIGNED, 65536);
	judge(&plain, false, PLACE | 2, 0, ENTRY_CLUSTER, ENTRY_RESERVED_BITS, 65536);
	check_case("compressed entries");
	judge(&plain, false, ENTRY_COMPRESSED | PLACE, 0, ENTRY_STREAM, 0, 512);
	judge(&plain, false, ENTRY_COMPRESSED | PLACE | 1, 0, ENTRY_STREAM, 0, 511);
	judge(&plain, false, ENTRY_COPIED | ENTRY_COMPRESSED | PLACE, 0, ENTRY_STREAM,
	      ENTRY_COPIED_STREAM, 512);
	judge(&plain, true, ENTRY_COMPRESSED | PLACE, 0, ENTRY_STREAM, ENTRY_STREAM_OUTSIDE, 0);
	judge(&extended, false, ENTRY_COMPRESSED | PLACE, 1, ENTRY_STREAM, ENTRY_STREAM_BITMAP,
	      512);
	check_case("extended entries");
	judge(&extended, false, 0, ALL_ZERO, ENTRY_EMPTY, 0, 0);
	judge(&extended, false, 0, 1, ENTRY_EMPTY, ENTRY_BITS_WITHOUT_CLUSTER, 0);
	judge(&extended, false, PLACE, UINT64_C(0x200000001), ENTRY_CLUSTER, 0, 65536);
	judge(&extended, false, PLACE, UINT64_C(0x100000001), ENTRY_CLUSTER, ENTRY_BOTH_BITS,
	      65536);
	check_case("an external data file");
	judge(&plain, true, ENTRY_COPIED, 0, ENTRY_CLUSTER, 0, 0);
	judge(&plain, true, 0, 0, ENTRY_EMPTY, 0, 0);
	judge(&plain, true, ENTRY_COPIED | PLACE, 0, ENTRY_CLUSTER, 0, 0);
}

static uint64_t mend(const struct geometry *g, uint64_t entry, uint64_t bitmap, uint64_t *bits)
{
	struct l2_word word = { entry, bitmap };

	if (!entry_mend(g, false, &word))
		return UINT64_MAX;
	*bits = word.bitmap;
	return word.entry;
}

static void test_mend(void)
{
	uint64_t bits = 0;

	check_case("what can be mended, and what holds data");
	CHECK_EQ(mend(&plain, PLACE, 0, &bits), UINT64_MAX);
	CHECK_EQ(mend(&plain, PLACE | 512, 0, &bits), UINT64_MAX);
	CHECK_EQ(mend(&plain, PLACE | 512 | ENTRY_ZERO, 0, &bits), ENTRY_ZERO);
	CHECK_EQ(mend(&extended, PLACE | 512, 1, &bits), UINT64_MAX);
	CHECK_EQ(mend(&extended, PLACE | 512, ALL_ZERO, &bits), 0);
	CHECK_EQ(bits, ALL_ZERO);
	/* The others are the backing file's, and stay so. */
	CHECK_EQ(mend(&extended, PLACE | 512, UINT64_C(1) << 33, &bits), 0);
	CHECK_EQ(bits, UINT64_C(1) << 33);
	CHECK_EQ(mend(&plain, ENTRY_COPIED | ENTRY_COMPRESSED | PLACE, 0, &bits),
		 ENTRY_COMPRESSED | PLACE);
}

static void test_refs(void)
{
	struct refs refs = { .most_bytes = LIMIT_CHECK_BYTES };

	check_case("counters, sparse and dense");
	CHECK_EQ(refs_count(&refs, 5), 0);
	for (uint64_t i = 0; i < 100000; i++)
		CHECK_EQ(refs_add(&refs, i * 977, 1), 0);
	for (uint64_t i = 0; i < 100000; i += 3)
		CHECK_EQ(refs_add(&refs, i * 977, 2), 0);
	for (uint64_t i = 0; i < 100000; i++) {
		CHECK_EQ(refs_count(&refs, i * 977), i % 3 ? 1 : 3);
		CHECK_EQ(refs_count(&refs, i * 977 + 1), 0);
	}
	CHECK_EQ(refs.end_cluster, 99999 * 977 + 1);
	CHECK_EQ(refs_add(&refs, 7, REF_COUNT_MOST), 0);
	CHECK_EQ(refs_add(&refs, 7, 3), 0);
	CHECK_EQ(refs_count(&refs, 7), REF_COUNT_MOST);
	check_case("tables that lie on each other");
	CHECK_EQ(refs_add_metadata(&refs, 8, 2), 0);
	CHECK(refs_is_own(&refs, 8));
	CHECK_EQ(refs_add(&refs, 8, 1), 0);
	CHECK(refs_is_own(&refs, 8));
	CHECK_EQ(refs_add_metadata(&refs, 8, 1), 0);
	CHECK(!refs_is_own(&refs, 8));
	CHECK_EQ(refs_count(&refs, 8), 4);
	check_case(
		"each refcount block is compared once; what is not counted, whenever it is named");
	CHECK(refs_first_compared(&refs, 8));
	CHECK(!refs_first_compared(&refs, 8));
	CHECK_EQ(refs_count(&refs, 9), 0);
	CHECK(refs_first_compared(&refs, 9));
	CHECK(refs_first_compared(&refs, 9));
	refs_free(&refs);
}

/* Numbers that the usual multiplier of hash tables puts into one slot of 2^23. */
static void test_collisions(void)
{
	const uint64_t usual = UINT64_C(0x9e3779b97f4a7c15);
	struct refs refs = { .most_bytes = LIMIT_CHECK_BYTES };
	uint64_t inverse = usual, product = 0;
	unsigned probes = 0;

	check_case("numbers that were chosen to collide");
	for (int i = 0; i < 6; i++)
		inverse *= 2 - usual * inverse;
	CHECK_EQ(usual * inverse, 1);
	while (refs.pages < 1 << 17) {
		uint64_t number = ++product * inverse;

		if (number >> (64 - REF_PAGE_BITS) == 0)
			CHECK_EQ(refs_add(&refs, number << REF_PAGE_BITS, 1), 0);
	}
	for (uint32_t slot = 1, run = 0; slot <= refs.index_mask; slot++) {
		run = refs.index[slot] ? run + 1 : 0;
		probes = run > probes ? run : probes;
	}
	/* By lot, a run of half full slots is some hundreds long at most. */
	CHECK(probes < 1 << 14);
	refs_free(&refs);
}

static void escape(const char *text, size_t len, const char *json, const char *plain_text)
{
	void (*const print[])(FILE * out, const void *bytes, size_t size) = { json_string,
									      plain_string };
	const char *want[] = { json, plain_text };

	for (int i = 0; i < 2; i++) {
		char *got = NULL;
		size_t size;
		FILE *out = open_memstream(&got, &size);

		print[i](out, text, len);
		fclose(out);
		CHECK_CONTAINS(got, want[i]);
		CHECK_EQ(size, strlen(want[i]));
		free(got);
	}
}

static void test_text(void)
{
	check_case("text for JSON and for terminals");
	escape("a b", 3, "\"a b\"", "a b");
	escape("\"\\\n", 3, "\"\\\"\\\\\\u000a\"", "\"\\\\x0a");
	escape("\0\x7f", 2, "\"\\u0000\\u007f\"", "\\x00\\x7f");
	escape("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 9,
	       "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80");
	escape("\xff\xc3", 2, "\"\\ufffd\\ufffd\"", "\\xff\\xc3");
	escape("\xc0\x80", 2, "\"\\ufffd\\ufffd\"", "\\xc0\\x80"); /* overlong */
	escape("\xed\xa0\x80", 3, "\"\\ufffd\\ufffd\\ufffd\"", "\\xed\\xa0\\x80"); /* surrogate */
	escape("\xc2\x9b", 2, "\"\xc2\x9b\"", "\\xc2\\x9b"); /* moves a terminal's cursor */
}

int main(void)
{
	test_entries();
	test_mend();
	test_refs();
	test_collisions();
	test_text();
	return check_end();
}
