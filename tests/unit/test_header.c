/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Headers: what is accepted, what it is decoded to, what is refused and with which sentence. */
#include "format.h"

#include "check.h"

#include <errno.h>
#include <stdlib.h>

#define CLUSTER 65536u
#define ROOM (4u << 20) /* for the largest header cluster, and more */

static uint8_t image[ROOM];
static size_t image_len;
static struct qcow2_header header;
static struct why why;

static void poke32(size_t at, uint32_t value)
{
	struct be32 raw = be32_make(value);

	memcpy(image + at, &raw, sizeof(raw));
}

static void poke64(size_t at, uint64_t value)
{
	struct be64 raw = be64_make(value);

	memcpy(image + at, &raw, sizeof(raw));
}

static void poke_hex(size_t at, const char *hex)
{
	for (; *hex; hex++) {
		unsigned byte;

		if (*hex == ' ')
			continue;
		sscanf(hex++, "%2x", &byte);
		image[at++] = (uint8_t)byte;
	}
}

/* Cluster 0 of a 64 MiB image made with default options. */
static void default_image(void)
{
	memset(image, 0, sizeof(image));
	image_len = 0x30008;
	poke_hex(0x00, "514649fb 00000003 0000000000000000 00000000 00000010 0000000004000000");
	poke_hex(0x20, "00000000 00000001 0000000000030000");
	poke_hex(0x30, "0000000000010000 00000001 00000000 0000000000000000");
	poke_hex(0x60, "00000004 00000070");
	poke_hex(0x70, "6803f857 00000180");
	image[0x78] = 0;
	image[0x79] = 0;
	memcpy(image + 0x7a, "dirty bit", 9);
}

/* The bytes are copied to memory of just their size, so that an overrun does not go unseen. */
static int decode(void)
{
	uint8_t *copy = malloc(image_len ? image_len : 1);
	int err;

	memcpy(copy, image, image_len);
	why.text[0] = '\0';
	err = qcow2_header_decode(copy, image_len, "vm.qcow2", &header, &why);
	free(copy);
	return err;
}

static void accepted(void)
{
	CHECK_EQ(decode(), 0);
	if (why.text[0])
		CHECK_CONTAINS("", why.text);
}

static void refused(const char *sentence)
{
	CHECK_EQ(decode(), -EINVAL);
	CHECK_CONTAINS(why.text, "vm.qcow2: ");
	CHECK_CONTAINS(why.text, sentence);
}

static void test_defaults(void)
{
	check_case("defaults, 64 MiB");
	default_image();
	accepted();
	CHECK_EQ(header.version, 3);
	CHECK_EQ(header.cluster_bits, 16);
	CHECK_EQ(header.size_bytes, 64 * MIB);
	CHECK_EQ(header.crypt_method, 0);
	CHECK_EQ(header.l1_entries, 1);
	CHECK_EQ(header.l1.byte, 0x30000);
	CHECK_EQ(header.refcount_table.byte, 0x10000);
	CHECK_EQ(header.refcount_table_clusters, 1);
	CHECK_EQ(header.snapshots, 0);
	CHECK_EQ(header.incompatible | header.compatible | header.autoclear, 0);
	CHECK_EQ(header.refcount_order, 4);
	CHECK_EQ(header.header_bytes, 112);
	CHECK_EQ(header.compression_type, 0);
	CHECK(!header.has_backing);
	CHECK_EQ(header.backing_format.len, 0);
}

static void test_version_2(void)
{
	check_case("version 2: no features, 16 bit refcounts, extensions at 72");
	default_image();
	poke32(4, 2);
	memset(image + 0x48, 0, 0x200);
	accepted();
	CHECK_EQ(header.version, 2);
	CHECK_EQ(header.refcount_order, 4);
	CHECK_EQ(header.header_bytes, 72);
	poke_hex(72, "e2792aca 00000003 7261770000000000");
	accepted();
	CHECK_EQ(header.backing_format.off, 80);
	CHECK_EQ(header.backing_format.len, 3);

	check_case("version 2: what would be feature bits is something else");
	poke_hex(72, "00000000 00000000 ffffffffffffffff ffffffffffffffff ffffffffffffffff");
	accepted();
	CHECK_EQ(header.incompatible | header.compatible | header.autoclear, 0);
	CHECK_EQ(header.compression_type, 0);
}

static void test_variants(void)
{
	check_case("backing file");
	default_image();
	poke64(8, 528);
	poke32(16, 7);
	poke_hex(112, "e2792aca 00000005 71636f7732000000 6803f857 00000180");
	memset(image + 520, 0, 8);
	memcpy(image + 528, "a.qcow2", 7);
	accepted();
	CHECK(header.has_backing);
	CHECK_EQ(header.backing_name.off, 528);
	CHECK_EQ(header.backing_name.len, 7);
	CHECK_EQ(header.backing_format.len, 5);
	CHECK(memcmp(image + header.backing_format.off, "qcow2", 5) == 0);

	check_case("zstd");
	default_image();
	poke64(72, QCOW2_COMPRESSION_TYPE);
	image[104] = 1;
	accepted();
	CHECK_EQ(header.compression_type, 1);

	check_case("raw data file");
	default_image();
	poke64(72, QCOW2_DATA_FILE);
	poke64(88, QCOW2_DATA_FILE_RAW);
	poke_hex(112, "44415441 00000009 2f782f64 61746131 32000000 00000000");
	accepted();
	CHECK_EQ(header.data_file_name.off, 120);
	CHECK_EQ(header.data_file_name.len, 9);
	CHECK_EQ(header.autoclear, QCOW2_DATA_FILE_RAW);

	check_case("512 byte clusters");
	default_image();
	poke32(20, 9);
	poke64(24, MIB);
	poke32(36, 32);
	poke64(40, 0x600);
	poke64(48, 0x200);
	memset(image + 0x70, 0, 0x200);
	image_len = 0x700;
	accepted();
	CHECK_EQ(header.l1_entries, 32);
}

struct poke {
	size_t at;
	unsigned bytes; /* 1, 4, 8; 0: none */
	uint64_t value;
};

struct row {
	const char *name;
	struct poke poke[4];
	const char *sentence; /* NULL: accepted */
};

static const struct row rows[] = {
	{ "magic", { { 0, 4, 0x514649fa } }, "not a qcow2 image" },
	{ "version 0", { { 4, 4, 0 } }, "version 0 is not supported" },
	{ "version 1", { { 4, 4, 1 } }, "version 1 is not supported" },
	{ "version 4", { { 4, 4, 4 } }, "version 4 is not supported" },
	{ "version 5", { { 4, 4, 5 } }, "version 5 is not supported" },
	{ "clusters of 2^8",
	  { { 20, 4, 8 } },
	  "vm.qcow2: cluster size 2^8 is outside 2^9..2^21; the header is damaged" },
	{ "clusters of 2^21", { { 20, 4, 21 }, { 40, 8, 0x600000 }, { 48, 8, 0x200000 } }, NULL },
	{ "clusters of 2^22", { { 20, 4, 22 } }, "2^22 is outside" },
	{ "clusters of 2^64", { { 20, 4, 64 } }, "2^64 is outside" },
	{ "clusters of 2^max", { { 20, 4, UINT32_MAX } }, "is outside 2^9..2^21" },
	{ "size 2^63", { { 24, 8, UINT64_C(1) << 63 } }, "L1 table is too small" },
	{ "size 2^63 - 1", { { 24, 8, INT64_MAX } }, "L1 table is too small" },
	{ "size 2^64 - 1", { { 24, 8, UINT64_MAX } }, "L1 table is too small" },
	{ "size 512 MiB", { { 24, 8, 512 * MIB } }, NULL },
	{ "size 512 MiB + 1", { { 24, 8, 512 * MIB + 1 } }, "L1 table is too small: 1 of 2" },
	{ "encryption 1", { { 32, 4, 1 } }, NULL },
	{ "encryption 2 without extension", { { 32, 4, 2 } }, "LUKS extension" },
	{ "encryption 3", { { 32, 4, 3 } }, "unknown encryption method 3" },
	{ "L1 of 2^32 - 1", { { 36, 4, UINT32_MAX } }, "L1 table too large" },
	{ "L1 of 2^31 - 1", { { 36, 4, INT32_MAX } }, "L1 table too large" },
	{ "L1 of 4 Mi + 1", { { 36, 4, (4 << 20) + 1 } }, "L1 table too large" },
	{ "L1 of 4 Mi, beyond the end of the file", { { 36, 4, 4 << 20 } }, NULL },
	{ "L1 of 0", { { 36, 4, 0 } }, "L1 table is too small" },
	{ "L1 of 0, disk of 0, at 0", { { 36, 4, 0 }, { 24, 8, 0 }, { 40, 8, 0 } }, NULL },
	{ "L1 not aligned", { { 40, 8, 0x123456 } }, "L1 table at 0x123456 is not aligned" },
	{ "L1 not aligned, empty",
	  { { 36, 4, 0 }, { 24, 8, 0 }, { 40, 8, 512 } },
	  "L1 table at 0x200 is not aligned" },
	{ "L1 wraps",
	  { { 40, 8, 0x7fffffffffff0000 }, { 36, 4, 0xffff } },
	  "L1 table at 0x7fffffffffff0000 is out of range" },
	{ "L1 wraps 64 bits", { { 40, 8, 0xffffffffffff0000 } }, "is out of range" },
	{ "L1 at 0", { { 40, 8, 0 } }, "L1 table at offset 0" },
	{ "refcount table of 8 MiB", { { 56, 4, 128 } }, NULL },
	{ "refcount table of 129 clusters", { { 56, 4, 129 } }, "refcount table too large" },
	{ "refcount table of 0x20001", { { 56, 4, 0x20001 } }, "refcount table too large" },
	{ "refcount table of max", { { 56, 4, UINT32_MAX } }, "refcount table too large" },
	{ "refcount table of 0", { { 56, 4, 0 } }, "there is no refcount table; repair" },
	{ "refcount table at 0", { { 48, 8, 0 } }, "refcount table at offset 0" },
	{ "refcount table not aligned", { { 48, 8, 0x10200 } }, "refcount table at 0x10200" },
	{ "refcount table wraps",
	  { { 48, 8, 0xffffffffffff0000 }, { 56, 4, 0x7f } },
	  "refcount table at 0xffffffffffff0000 is out of range" },
	{ "65536 snapshots", { { 60, 4, 65536 } }, NULL },
	{ "65537 snapshots", { { 60, 4, 65537 } }, "snapshot table too large" },
	{ "2^31 - 1 snapshots", { { 60, 4, INT32_MAX } }, "snapshot table too large" },
	{ "2^32 - 1 snapshots", { { 60, 4, UINT32_MAX } }, "snapshot table too large" },
	{ "snapshots not aligned", { { 64, 8, 0x200 } }, "snapshot table at 0x200 is not aligned" },
	{ "snapshots wrap",
	  { { 64, 8, 0x7fffffffffff0000 }, { 60, 4, 65536 } },
	  "snapshot table at 0x7fffffffffff0000 is out of range" },
	{ "backing name beyond cluster 0", { { 8, 8, CLUSTER + 1 } }, "is not in cluster 0" },
	{ "empty backing name behind cluster 0", { { 8, 8, CLUSTER } }, NULL },
	{ "backing name wraps", { { 8, 8, UINT64_MAX } }, "is not in cluster 0" },
	{ "backing name of max", { { 8, 8, 0x1000 }, { 16, 4, UINT32_MAX } }, "name is too long" },
	{ "backing name of 1024", { { 8, 8, 0x1000 }, { 16, 4, 1024 } }, "name is too long" },
	{ "backing name of 1023", { { 8, 8, 0x1000 }, { 16, 4, 1023 } }, NULL },
	{ "backing name crosses cluster 0",
	  { { 8, 8, CLUSTER - 8 }, { 16, 4, 9 } },
	  "name is too long: 9" },
	{ "length of a backing name without one", { { 16, 4, UINT32_MAX } }, NULL },
	{ "refcounts of 1 bit", { { 96, 4, 0 } }, NULL },
	{ "refcounts of 64 bits", { { 96, 4, 6 } }, NULL },
	{ "refcounts of 128 bits", { { 96, 4, 7 } }, "wider than 64 bits" },
	{ "refcounts of max", { { 96, 4, UINT32_MAX } }, "wider than 64 bits" },
	{ "header length 103", { { 100, 4, 103 } }, "header length 103 is less than 104" },
	{ "header length 0", { { 100, 4, 0 } }, "header length 0 is less than 104" },
	{ "header length 104", { { 100, 4, 104 }, { 104, 8, 0 } }, NULL },
	{ "header length 105", { { 100, 4, 105 }, { 105, 8, 0 } }, NULL },
	{ "header length of a cluster", { { 100, 4, CLUSTER } }, NULL },
	{ "header length over a cluster", { { 100, 4, CLUSTER + 1 } }, "exceeds the cluster size" },
	{ "compression type 2", { { 104, 1, 2 }, { 72, 8, 8 } }, "unknown compression type 2" },
	{ "compression type 1 outside the header",
	  { { 100, 4, 104 }, { 104, 8, UINT64_C(1) << 56 }, { 72, 8, 8 } },
	  "disagree" },
	{ "compression type without bit", { { 104, 1, 1 } }, "disagree" },
	{ "compression bit without type", { { 72, 8, 8 } }, "disagree" },
	{ "dirty and corrupt", { { 72, 8, 3 } }, NULL },
	{ "extended L2, clusters of 64 KiB", { { 72, 8, 16 } }, NULL },
	{ "extended L2, table too small by half",
	  { { 72, 8, 16 }, { 24, 8, 512 * MIB } },
	  "L1 table is too small: 1 of 2" },
	{ "extended L2, clusters of 16 KiB", { { 72, 8, 16 }, { 20, 4, 14 }, { 36, 4, 8 } }, NULL },
	{ "extended L2, clusters of 8 KiB",
	  { { 72, 8, 16 }, { 20, 4, 13 } },
	  "extended L2 entries need clusters of 2^14" },
	{ "raw data file without data file", { { 88, 8, 2 } }, "no data file" },
	{ "unknown compatible and autoclear bits",
	  { { 80, 8, UINT64_MAX }, { 88, 8, ~UINT64_C(2) } },
	  NULL },
	{ "extension longer than its area",
	  { { 0x74, 4, CLUSTER - 0x78 + 1 } },
	  "header extension 0x6803f857 is too large" },
	{ "extension as long as its area", { { 0x74, 4, CLUSTER - 0x78 } }, NULL },
	{ "extension of 2^31 - 1", { { 0x74, 4, INT32_MAX } }, "is too large" },
	{ "extension of 2^32 - 1", { { 0x74, 4, UINT32_MAX } }, "is too large" },
	{ "end of extensions too long", { { 0x70, 8, UINT32_MAX } }, "is too large" },
	{ "extension runs into the backing name",
	  { { 8, 8, 0x1f0 }, { 16, 4, 1 } },
	  "header extension 0x6803f857 is too large" },
	{ "extension cut off by the backing name", { { 8, 8, 0x74 }, { 16, 4, 1 } }, "is cut off" },
	{ "backing name inside the header", { { 8, 8, 8 }, { 16, 4, 8 } }, NULL },
	{ "unknown extension", { { 0x70, 4, 0xdeadbeef } }, NULL },
	{ "backing format of 15", { { 0x70, 8, 0xe2792aca0000000f } }, NULL },
	{ "backing format of 16",
	  { { 0x70, 8, 0xe2792aca00000010 } },
	  "backing format's name is too long" },
	{ "LUKS extension without LUKS", { { 0x70, 8, 0x0537be7700000010 } }, "no LUKS encryption" },
	{ "LUKS extension of 15",
	  { { 0x70, 8, 0x0537be770000000f }, { 32, 4, 2 } },
	  "LUKS extension has 15 bytes" },
	{ "LUKS extension",
	  { { 0x70, 8, 0x0537be7700000010 }, { 32, 4, 2 }, { 0x78, 8, 0x40000 } },
	  NULL },
	{ "LUKS header not aligned",
	  { { 0x70, 8, 0x0537be7700000010 }, { 32, 4, 2 }, { 0x78, 8, 0x40200 } },
	  "LUKS header at 0x40200 is not aligned" },
	{ "bitmaps extension of 23", { { 0x70, 8, 0x2385287500000017 } }, "has 23 bytes" },
	{ "bitmaps extension without its bit", { { 0x70, 8, 0x2385287500000018 } }, NULL },
	{ "bitmaps: none",
	  { { 0x70, 8, 0x2385287500000018 }, { 88, 8, 1 }, { 0x78, 8, 0 } },
	  "number of bitmaps is 0" },
};

static void poke(const struct poke *p)
{
	if (p->bytes == 1)
		image[p->at] = (uint8_t)p->value;
	else if (p->bytes == 4)
		poke32(p->at, (uint32_t)p->value);
	else if (p->bytes == 8)
		poke64(p->at, p->value);
}

static void test_rows(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		check_case("%s", rows[i].name);
		default_image();
		for (size_t k = 0; k < ARRAY_SIZE(rows[i].poke); k++)
			poke(&rows[i].poke[k]);
		if (rows[i].sentence)
			refused(rows[i].sentence);
		else
			accepted();
	}
}

static void test_bitmaps(void)
{
	check_case("bitmaps extension");
	default_image();
	poke64(88, QCOW2_BITMAPS);
	poke_hex(112, "23852875 00000018 00000001 00000000 0000000000000020 0000000000050000");
	accepted();
	CHECK_EQ(header.bitmaps.off, 120);
	CHECK_EQ(header.bitmaps.len, 24);
	poke64(136, 0x50200);
	refused("bitmap directory at 0x50200 is not aligned");
	poke64(136, 0x50000);
	poke64(128, 65535 * KIB);
	accepted();
	poke64(128, 65535 * KIB + 1);
	refused("bitmap directory is too large");
	poke64(128, 32);
	poke32(124, 1);
	refused("reserved field");
	poke32(124, 0);
	poke32(120, 65535);
	accepted();
	poke32(120, 65536);
	refused("number of bitmaps is 65536");

	check_case("of two extensions of a type the last one counts");
	default_image();
	poke_hex(112, "e2792aca 00000003 7261770000000000 e2792aca 00000005 71636f7732000000");
	memset(image + 144, 0, 8);
	accepted();
	CHECK_EQ(header.backing_format.off, 136);
	CHECK_EQ(header.backing_format.len, 5);
}

static void test_unknown_features(void)
{
	for (unsigned bit = 5; bit < 64; bit++) {
		char expected[16];

		check_case("unknown incompatible bit %u", bit);
		default_image();
		poke64(72, UINT64_C(1) << bit);
		snprintf(expected, sizeof(expected), ": bit %u;", bit);
		refused(expected);
	}

	check_case("the file's own names for unknown features");
	default_image();
	image[0x79] = 40;
	memset(image + 0x7a, 'x', 46); /* as long as can be, so without a NUL */
	memcpy(image + 0x7a, " ~\ntravel\x7f", 10);
	poke64(72, UINT64_C(1) << 40 | 1 << 7);
	refused(": bit 7;  ~?travel?xxxxxxxxx");
	CHECK_CONTAINS(why.text, "x, bit 40; convert");

	check_case("a name table that is damaged names nothing");
	poke32(0x74, UINT32_MAX);
	refused(": bit 7; bit 40;");

	check_case("all unknown features at once");
	default_image();
	poke64(72, UINT64_MAX);
	refused("bit 5; bit 6; ");

	check_case("a compatible bit's name is not an incompatible one's");
	default_image();
	image[0x78] = 1;
	image[0x79] = 9;
	poke64(72, 1 << 9);
	refused(": bit 9;");
}

/* The start of a file tells how much of it to read, whatever it says. */
static void test_most(void)
{
	check_case("how much a header may fill");
	default_image();
	CHECK_EQ(qcow2_header_most(image), 64 * KIB);
	poke32(20, LIMIT_CLUSTER_BITS_MIN);
	CHECK_EQ(qcow2_header_most(image), 512);
	poke32(20, LIMIT_CLUSTER_BITS_MAX);
	CHECK_EQ(qcow2_header_most(image), QCOW2_HEADER_READ);
	poke32(20, LIMIT_CLUSTER_BITS_MAX + 1);
	CHECK_EQ(qcow2_header_most(image), QCOW2_HEADER_START);
	poke32(20, UINT32_MAX);
	CHECK_EQ(qcow2_header_most(image), QCOW2_HEADER_START);
	poke32(20, 0);
	CHECK_EQ(qcow2_header_most(image), QCOW2_HEADER_START);
}

/* Every length up to behind the header: refused, or accepted with ranges inside. */
static void test_truncated(void)
{
	size_t whole;

	check_case("cut off anywhere");
	default_image();
	poke64(8, 528);
	poke32(16, 7);
	poke_hex(112, "e2792aca 00000005 71636f7732000000 6803f857 00000180");
	memset(image + 520, 0, 8);
	memcpy(image + 528, "a.qcow2", 7);
	whole = 535;
	for (image_len = 0; image_len < whole; image_len++)
		CHECK_EQ(decode(), -EINVAL);
	accepted();

	check_case("a file that ends right behind a version 2 header");
	default_image();
	poke32(4, 2);
	image_len = 71;
	refused("71 bytes are too few");
	image_len = 72;
	accepted();

	check_case("a file that ends right behind a version 3 header");
	default_image();
	poke32(100, 104);
	poke64(104, 0);
	image_len = 103;
	refused("the file ends within the header, after 103 bytes");
	image_len = 104;
	accepted();

	check_case("a file that ends within a long header");
	default_image();
	poke32(100, 4096);
	image_len = 4095;
	refused("the file ends within the header, after 4095 of 4096 bytes");
	image_len = 4096;
	accepted();

	check_case("a file that ends within an extension");
	default_image();
	poke_hex(112, "44415441 00000010");
	image_len = 135;
	refused("the file ends within header extension 0x44415441");
	image_len = 136;
	accepted();
	CHECK_EQ(header.data_file_name.len, 16);
	poke_hex(136, "00000000 ffffffff");
	image_len = 144;
	refused("header extension 0 is too large");

	check_case("size is floored to sectors");
	default_image();
	poke64(24, 64 * MIB + 511);
	accepted();
	CHECK_EQ(header.size_bytes, 64 * MIB);
}

int main(void)
{
	test_defaults();
	test_version_2();
	test_variants();
	test_rows();
	test_bitmaps();
	test_unknown_features();
	test_most();
	test_truncated();
	return check_end();
}
