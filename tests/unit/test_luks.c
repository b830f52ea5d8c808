/* SPDX-License-Identifier: GPL-2.0-or-later */
/* LUKS headers: what QEMU writes, what cannot be used, and hostile bytes. */
#include "format.h"
#include "luks_bytes.h"

#include "check.h"

#include <errno.h>

static uint8_t bytes[LUKS_HEADER_BYTES];
static struct crypto_area area;
static struct luks_header luks;
static struct why why;

/* The default of qemu-img. */
static void make(void)
{
	area.host.byte = 0x40000;
	area.bytes = luks_bytes_make(bytes, "xts-plain64", "sha256", 64);
}

static int decode(void)
{
	why.text[0] = '\0';
	return luks_header_decode(bytes, &area, "image", &luks, &why);
}

static void expect(int err, const char *text)
{
	CHECK_EQ(decode(), err);
	CHECK_CONTAINS(why.text, text);
	CHECK_CONTAINS(why.text, "image: ");
}

static void test_vector(void)
{
	check_case("as qemu-img writes it");
	make();
	memset(bytes + LUKS_AT_DIGEST, 1, LUKS_DIGEST_BYTES);
	memset(bytes + LUKS_AT_DIGEST_SALT, 2, LUKS_SALT_BYTES);
	memset(bytes + LUKS_AT_SLOTS + LUKS_AT_SLOT_SALT, 3, LUKS_SALT_BYTES);
	CHECK_EQ(area.bytes, 2068480);
	CHECK_EQ(luks_area_check(&area, "image", &why), 0);
	CHECK_EQ(decode(), 0);
	CHECK_EQ(luks.mode, LUKS_XTS);
	CHECK_EQ(luks.iv, LUKS_PLAIN64);
	CHECK_EQ(luks.hash, LUKS_SHA256);
	CHECK_EQ(luks.key_bytes, 64);
	CHECK_EQ(luks.digest[0] + luks.digest[19], 2);
	CHECK_EQ(luks.digest_salt[0] + luks.digest_salt[31], 4);
	CHECK_EQ(luks.digest_iterations, 1000);
	CHECK_EQ(luks_material_bytes(&luks), 256000);
	CHECK(luks.slot[0].active);
	CHECK_EQ(luks.slot[0].iterations, 2000);
	CHECK_EQ(luks.slot[0].material, 4096);
	CHECK_EQ(luks.slot[0].salt[0] + luks.slot[0].salt[31], 6);
	for (unsigned i = 1; i < LUKS_SLOTS; i++)
		CHECK(!luks.slot[i].active);
}

static void test_modes(void)
{
	static const struct {
		const char *mode, *hash;
		uint32_t key_bytes;
		int err;
		enum luks_mode is;
		enum luks_iv iv;
		enum luks_hash by;
	} cases[] = {
		{ "xts-plain64", "sha256", 64, 0, LUKS_XTS, LUKS_PLAIN64, LUKS_SHA256 },
		{ "xts-plain64", "sha512", 48, 0, LUKS_XTS, LUKS_PLAIN64, LUKS_SHA512 },
		{ "xts-plain", "sha1", 32, 0, LUKS_XTS, LUKS_PLAIN, LUKS_SHA1 },
		{ "xts-plain64:sha256", "sha1", 32, 0, LUKS_XTS, LUKS_PLAIN64, LUKS_SHA1 },
		{ "cbc-essiv:sha256", "sha1", 32, 0, LUKS_CBC, LUKS_ESSIV_SHA256, LUKS_SHA1 },
		{ "cbc-plain", "sha256", 24, 0, LUKS_CBC, LUKS_PLAIN, LUKS_SHA256 },
		{ "cbc-plain64", "sha256", 16, 0, LUKS_CBC, LUKS_PLAIN64, LUKS_SHA256 },
		{ "cbc-essiv:sha1", "sha256", 16, -ENOTSUP, 0, 0, 0 },
		{ "cbc-essiv", "sha256", 16, -ENOTSUP, 0, 0, 0 },
		{ "cbc-benbi", "sha256", 16, -ENOTSUP, 0, 0, 0 },
		{ "ctr-plain64", "sha256", 32, -ENOTSUP, 0, 0, 0 },
		{ "ecb", "sha256", 32, -ENOTSUP, 0, 0, 0 },
		{ "", "sha256", 32, -ENOTSUP, 0, 0, 0 },
		{ "xts-", "sha256", 32, -ENOTSUP, 0, 0, 0 },
		{ "xts-plain64", "ripemd160", 64, -ENOTSUP, 0, 0, 0 },
		{ "xts-plain64", "", 64, -ENOTSUP, 0, 0, 0 },
		{ "xts-plain64", "sha256", 16, -EINVAL, 0, 0, 0 },
		{ "xts-plain64", "sha256", 33, -EINVAL, 0, 0, 0 },
		{ "cbc-plain64", "sha256", 64, -EINVAL, 0, 0, 0 },
		{ "cbc-plain64", "sha256", 0, -EINVAL, 0, 0, 0 },
		{ "cbc-plain64", "sha256", 17, -EINVAL, 0, 0, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		check_case("%s, %s, %u bytes", cases[i].mode, cases[i].hash, cases[i].key_bytes);
		area.bytes =
			luks_bytes_make(bytes, cases[i].mode, cases[i].hash, cases[i].key_bytes);
		CHECK_EQ(decode(), cases[i].err);
		if (cases[i].err) {
			CHECK_CONTAINS(why.text, "image: ");
			continue;
		}
		CHECK_EQ(luks.mode, cases[i].is);
		CHECK_EQ(luks.iv, cases[i].iv);
		CHECK_EQ(luks.hash, cases[i].by);
		CHECK_EQ(luks.key_bytes, cases[i].key_bytes);
	}
	check_case("half sectors of material count whole");
	area.bytes = luks_bytes_make(bytes, "cbc-plain64", "sha256", 24);
	CHECK_EQ(decode(), 0);
	CHECK_EQ(luks_material_bytes(&luks), 188 * SECTOR_SIZE);
}

/* One word of the header, or of slot 0, changed. */
static const struct {
	const char *name;
	uint32_t at, value;
	int err;
	const char *text;
} words[] = {
	{ "no magic", 0, 0x4c554b53 ^ 1, -EINVAL, "no LUKS header at 0x40000" },
	{ "half a magic", 4, 0xbabf0001, -EINVAL, "no LUKS header" },
	{ "version 2", 4, 0xbabe0002, -ENOTSUP, "LUKS version 2" },
	{ "another cipher", LUKS_AT_CIPHER, 0x73657270, -ENOTSUP, "LUKS cipher is serp" },
	{ "digest without iterations", LUKS_AT_DIGEST_ITERATIONS, 0, -EINVAL, "0 iterations" },
	{ "digest by the hour", LUKS_AT_DIGEST_ITERATIONS, LIMIT_LUKS_ITERATIONS + 1, -ENOTSUP,
	  "67108865 iterations" },
	{ "the most iterations", LUKS_AT_DIGEST_ITERATIONS, LIMIT_LUKS_ITERATIONS, 0, "" },
	{ "slot in no state", LUKS_AT_SLOTS, 0xac71f4, -EINVAL, "neither active nor free" },
	{ "no slot", LUKS_AT_SLOTS, 0xdead, -EINVAL, "slots are free" },
	{ "slot without iterations", LUKS_AT_SLOTS + LUKS_AT_SLOT_ITERATIONS, 0, -EINVAL,
	  "0 iterations" },
	{ "slot by the hour", LUKS_AT_SLOTS + LUKS_AT_SLOT_ITERATIONS, UINT32_MAX, -ENOTSUP,
	  "4294967295 iterations" },
	{ "3999 stripes", LUKS_AT_SLOTS + LUKS_AT_SLOT_STRIPES, 3999, -EINVAL, "3999 stripes" },
	{ "no stripes", LUKS_AT_SLOTS + LUKS_AT_SLOT_STRIPES, 0, -EINVAL, "0 stripes" },
	{ "many stripes", LUKS_AT_SLOTS + LUKS_AT_SLOT_STRIPES, UINT32_MAX, -EINVAL, "stripes" },
	{ "key in the header", LUKS_AT_SLOTS + LUKS_AT_SLOT_MATERIAL, 1, -EINVAL, "out of range" },
	{ "key behind it", LUKS_AT_SLOTS + LUKS_AT_SLOT_MATERIAL, 2, 0, "" },
	{ "key at the end", LUKS_AT_SLOTS + LUKS_AT_SLOT_MATERIAL, 3540, 0, "" },
	{ "key behind the end", LUKS_AT_SLOTS + LUKS_AT_SLOT_MATERIAL, 3541, -EINVAL, "of range" },
	{ "key far behind the end", LUKS_AT_SLOTS + LUKS_AT_SLOT_MATERIAL, UINT32_MAX, -EINVAL,
	  "of range" },
	{ "anything in a free slot", LUKS_AT_SLOTS + LUKS_SLOT_BYTES + LUKS_AT_SLOT_STRIPES, 7, 0,
	  "" },
};

static void test_words(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		check_case("%s", words[i].name);
		make();
		luks_put32(bytes, words[i].at, words[i].value);
		if (words[i].err)
			expect(words[i].err, words[i].text);
		else
			CHECK_EQ(decode(), 0);
	}
}

static void test_names(void)
{
	static const uint32_t at[] = { LUKS_AT_CIPHER, LUKS_AT_MODE, LUKS_AT_HASH };

	for (size_t i = 0; i < ARRAY_SIZE(at); i++) {
		check_case("a name at %u without end", at[i]);
		make();
		memset(bytes + at[i], 'a', 32);
		expect(-EINVAL, "does not end");
	}
}

static int check_area(uint64_t off, uint64_t len)
{
	struct crypto_area other = { { off }, len };

	return luks_area_check(&other, "image", &why);
}

static void test_areas(void)
{
	check_case("areas");
	CHECK_EQ(check_area(0, LUKS_HEADER_BYTES), 0);
	CHECK_EQ(check_area(0, LUKS_HEADER_BYTES - 1), -EINVAL);
	CHECK_EQ(check_area(0, LIMIT_CRYPTO_BYTES), 0);
	CHECK_EQ(check_area(0, LIMIT_CRYPTO_BYTES + 1), -EINVAL);
	CHECK_EQ(check_area(0, UINT64_MAX), -EINVAL);
	CHECK_EQ(check_area((uint64_t)INT64_MAX - LUKS_HEADER_BYTES, LUKS_HEADER_BYTES), 0);
	CHECK_EQ(check_area((uint64_t)INT64_MAX - LUKS_HEADER_BYTES + 1, LUKS_HEADER_BYTES),
		 -EINVAL);
	CHECK_EQ(check_area(UINT64_MAX, LUKS_HEADER_BYTES), -EINVAL);

	check_case("an area that ends before the key does");
	make();
	area.bytes = 4096 + 256000;
	CHECK_EQ(decode(), 0);
	area.bytes--;
	expect(-EINVAL, "out of range");
	area.bytes = LUKS_HEADER_BYTES;
	expect(-EINVAL, "out of range");
}

int main(void)
{
	make();
	test_vector();
	test_modes();
	test_words();
	test_names();
	test_areas();
	return check_end();
}
