/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sectors as QEMU encrypts them, split keys, passphrases; and that nothing is allocated meanwhile. */
#include "cipher.h"
#include "luks_bytes.h"
#include "split.h"

#include "check.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdlib.h>

/* --- sectors ----------------------------------------------------------------------------------------- */

/* Master key, and the ends of a sector full of 0x5a, from images that qemu-io has written to. */
static const struct vector {
	const char *name;
	enum luks_mode mode;
	enum luks_iv iv;
	uint64_t sector;
	const char *key, *begins, *ends;
} vectors[] = {
	{ "aes-128-cbc-essiv", LUKS_CBC, LUKS_ESSIV_SHA256, 1792,
	  "d2f3e4aad5b0e6ec9959c92ad04e82b3", "78b019070f2eb5bcfb2a7166d6d0a925",
	  "b995401d8e99bdf822f4bc9c893948ea" },
	{ "aes-128-cbc-plain", LUKS_CBC, LUKS_PLAIN, 1792, "9c8ffaf85d18bd828d6cf6cc1c9364cf",
	  "b0ce5e6638339a55578fd1582135dc4c", "e6d31f9774938fbded38121a24e32252" },
	{ "aes-128-cbc-plain64", LUKS_CBC, LUKS_PLAIN64, 1792, "f9ac32c866ea7c4b83a0cd23e0d9cd6d",
	  "d16a21b93810b759d7dfbc0d92e93ed3", "84f80325ab422fa30e719256054a222a" },
	{ "aes-128-xts-essiv", LUKS_XTS, LUKS_ESSIV_SHA256, 2816,
	  "05006dc21d185f68a249e4d609011d45ad984d8da97770df612b1c9bbbb19c52",
	  "7615c38f7190df5db1a0288763a15b65", "6e3707529d292baf121edc599c623858" },
	{ "aes-128-xts-plain", LUKS_XTS, LUKS_PLAIN, 2816,
	  "c8507b159dcd9f74a21c51954b165336d907b00de68cc1a3b7f323b3a4fb4eab",
	  "ccc4627d3b7b686e940dbebb95e40f61", "06f784eab7c3327d4d68c24c87de4d9c" },
	{ "aes-128-xts-plain64", LUKS_XTS, LUKS_PLAIN64, 2816,
	  "722fe8053d8c3585bcfe5ed193199aa8dbc3f66662ab41111de426cf68ad01ad",
	  "d37c299ab4d1ad19883154b5a0770ff3", "a45d841b48d30db2a25f6ff437887ce1" },
	{ "aes-192-xts-essiv", LUKS_XTS, LUKS_ESSIV_SHA256, 3712,
	  "06ffb678826f56311c65e22e11a7ba8f5f5109d85ee91854b65aa95f554b0fe6"
	  "6796b66c3668506f218622ac66df0e34",
	  "8663f999abf550b1e254d411795943e5", "62062514a2c8c6c28e613235741ec25f" },
	{ "aes-192-xts-plain", LUKS_XTS, LUKS_PLAIN, 3712,
	  "18ee35ad3e2dfdabeca3cde82167745274ab147cdee172beedec0fd6abd36029"
	  "6e91aaa45ea55f04f43e0eb3046a8b4d",
	  "21e173713539e631d970cb326f3bd1d2", "03f737ac57b32717329776129ff57c59" },
	{ "aes-192-xts-plain64", LUKS_XTS, LUKS_PLAIN64, 3712,
	  "87e153dff3cc485827ba23de4f46e81b7f29bb4fc660421eef70ef31cd59350d"
	  "acf44a21c3b2cb2eeefcffd2a2777bad",
	  "64bf959fa31831fd3ffbfefd638af9e8", "5fc2698887021882414b6f3d86ac7d7d" },
	{ "aes-256-cbc-essiv", LUKS_CBC, LUKS_ESSIV_SHA256, 2816,
	  "490af11f11c24ec1d2f466dd6b853bb01f5b8387ac369781e384f876a57da730",
	  "6d7ffb9a5472c65a3164c74a28b93334", "ee69da4383218c42ff1e29b7cbdde6a5" },
	{ "aes-256-cbc-plain", LUKS_CBC, LUKS_PLAIN, 2816,
	  "584663bcfb1e3730522401de028e24a7bca18d6e4ea5be7a5867cde7c90629f6",
	  "85d8716d5ef86a1674250142214725a8", "92aa11d2d93c447f4f502fb92b41c683" },
	{ "aes-256-cbc-plain64", LUKS_CBC, LUKS_PLAIN64, 2816,
	  "6c205f98809893802081488578abde6a35b65b4ab704ec855f4774bb689a741a",
	  "5d0a270ce9189ad065da2b2d6534a927", "84027150115c0f51effcbb8200d9cd2a" },
	{ "aes-256-xts-essiv", LUKS_XTS, LUKS_ESSIV_SHA256, 4736,
	  "d255df12f9ab7b8ee1856db1241f07722dd2fdf87bb3377cb1bfa8c33ae4d202"
	  "b17f247ad038f81c3de4a1e40de0a90d107868b2595bf144442e098e39f4880f",
	  "b519bf5cba074ddf9936496ba04a7e6c", "9f9b581f1a6e188a48fdc55877543104" },
	{ "aes-256-xts-plain", LUKS_XTS, LUKS_PLAIN, 4736,
	  "37ff1cdaa306fb057cdaa0cdea510032a69639444bbe7b0f00f2915edb39df11"
	  "fbc173296b73b4022d3e9d13fa24d65c06de46602facf74ef70bcf9a541fffe9",
	  "eb6909f5e3d945bd413b79edf760a06f", "e94c9ce56a02a920a279c9a07d050d1a" },
	{ "aes-256-xts-plain64", LUKS_XTS, LUKS_PLAIN64, 4736,
	  "93be13b09fda1e7bb2ea4c649e624d890f22111c73cd81d684a1110908c2962c"
	  "c36070c64823d2525b6ecdc25a85e62345b50ea3d1f97338fcfc2961ad5833d7",
	  "de049dc001ab46d9fe3fd5f553f26bd0", "3edabae1f00e5035ac8e85e1e39bb410" },
};

static unsigned digit(char c)
{
	return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

static uint32_t from_hex(const char *text, uint8_t *bytes)
{
	uint32_t n = 0;

	for (; *text; text += 2)
		bytes[n++] = (uint8_t)(digit(text[0]) << 4 | digit(text[1]));
	return n;
}

static struct cipher *cipher_of(const struct vector *vector)
{
	struct luks_header luks = { .mode = vector->mode, .iv = vector->iv };
	uint8_t key[LUKS_KEY_BYTES_MAX];
	struct cipher *cipher = NULL;

	luks.key_bytes = from_hex(vector->key, key);
	CHECK_EQ(cipher_make(&cipher, &luks, key, 2), 0);
	return cipher;
}

static bool is_filled(const uint8_t *bytes, size_t len, uint8_t with)
{
	return bytes[0] == with && memcmp(bytes, bytes + 1, len - 1) == 0;
}

static void test_vector(const struct vector *vector)
{
	uint8_t plain[3 * SECTOR_SIZE], sealed[3 * SECTOR_SIZE], begins[16], ends[16];
	struct cipher *cipher = cipher_of(vector);

	check_case("%s", vector->name);
	from_hex(vector->begins, begins);
	from_hex(vector->ends, ends);
	memset(plain, 0x5a, sizeof(plain));
	memset(sealed, 0, sizeof(sealed));
	CHECK_EQ(cipher_encrypt(cipher, 0, vector->sector - 1, plain, sealed, sizeof(plain)), 0);
	CHECK(memcmp(sealed + SECTOR_SIZE, begins, 16) == 0);
	CHECK(memcmp(sealed + 2 * SECTOR_SIZE - 16, ends, 16) == 0);
	CHECK(memcmp(sealed, sealed + SECTOR_SIZE, SECTOR_SIZE) != 0);

	check_case("%s, back, in place, by another user", vector->name);
	memset(plain, 0, sizeof(plain));
	CHECK_EQ(cipher_decrypt(cipher, 1, vector->sector, sealed + SECTOR_SIZE, plain,
				SECTOR_SIZE),
		 0);
	CHECK(is_filled(plain, SECTOR_SIZE, 0x5a));
	CHECK(is_filled(plain + SECTOR_SIZE, SECTOR_SIZE, 0));
	CHECK_EQ(cipher_decrypt(cipher, 1, vector->sector - 1, sealed, sealed, sizeof(sealed)), 0);
	CHECK(is_filled(sealed, sizeof(sealed), 0x5a));
	CHECK_EQ(cipher_encrypt(cipher, 1, vector->sector, sealed, sealed, SECTOR_SIZE), 0);
	CHECK(memcmp(sealed, begins, 16) == 0);
	cipher_free(cipher);
}

/* Behind 2 TiB the numbers of sectors have more than 32 bits. */
static void test_far(const struct vector *vector)
{
	uint8_t plain[SECTOR_SIZE] = { 0 }, near[SECTOR_SIZE], far[SECTOR_SIZE];
	struct cipher *cipher = cipher_of(vector);

	check_case("%s, behind 2 TiB", vector->name);
	CHECK_EQ(cipher_encrypt(cipher, 0, 5, plain, near, SECTOR_SIZE), 0);
	CHECK_EQ(cipher_encrypt(cipher, 0, 5 | UINT64_C(1) << 32, plain, far, SECTOR_SIZE), 0);
	CHECK((memcmp(near, far, SECTOR_SIZE) == 0) == (vector->iv == LUKS_PLAIN));
	cipher_free(cipher);
}

/* --- memory ------------------------------------------------------------------------------------------ */

static unsigned allocations;

static void *count_malloc(size_t bytes, const char *file, int line)
{
	(void)file;
	(void)line;
	allocations++;
	return malloc(bytes);
}

static void *count_realloc(void *old, size_t bytes, const char *file, int line)
{
	(void)file;
	(void)line;
	allocations++;
	return realloc(old, bytes);
}

static void count_free(void *old, const char *file, int line)
{
	(void)file;
	(void)line;
	free(old);
}

static void test_memory(const struct vector *vector)
{
	uint8_t sector[SECTOR_SIZE] = { 0 };
	struct cipher *cipher = cipher_of(vector);

	check_case("%s allocates nothing", vector->name);
	CHECK(allocations > 0);
	allocations = 0;
	for (unsigned i = 0; i < 10; i++) {
		CHECK_EQ(cipher_encrypt(cipher, 0, i, sector, sector, SECTOR_SIZE), 0);
		CHECK_EQ(cipher_decrypt(cipher, 0, i, sector, sector, SECTOR_SIZE), 0);
	}
	CHECK_EQ(allocations, 0);
	cipher_free(cipher);
}

/* --- splitting --------------------------------------------------------------------------------------- */

/* By an implementation of the specification in another language. */
static void test_merge(void)
{
	static const struct {
		size_t bytes;
		const char *hash, *key;
	} cases[] = {
		{ 16, "sha1", "05c33de23a80cc6cd830f2d67f4e032e" },
		{ 32, "sha1", "c15b00a5904518efb704baee0650f521edbd0ba2a5bcdc612c9f205720251a21" },
		{ 48, "sha1",
		  "07c862e8f1ed8afb467c47288b304bcb604308d711cdd92bdc3aae6ddb59a01e"
		  "453b63d1eebfa1d22cdf2eb324aef091" },
		{ 64, "sha1",
		  "8ed5d2e7aa26014766493d5d705c79e395db2255afca386e253699e44b6c055c"
		  "2d8f24c8e0f326d4f4dc5862d9afcfcb987175ef1bb4bd4ef89cba8797324b15" },
		{ 16, "sha256", "a3ba5c4e5b8d13bc454fb7c8e41c607e" },
		{ 32, "sha256",
		  "c606ccb61a5be875599d7cce9cdc9991559430249c7c9116f4805085559052fa" },
		{ 48, "sha256",
		  "422ec9e77ac92e35d1985f51cfe15c336cd4105771822112b5b82e1c2353bf6d"
		  "1ad8a64e504a870100febfc7689550cf" },
		{ 64, "sha256",
		  "a55e4597d98a10fed080d01a963f5622503285ff0288f443b83064b51c375175"
		  "e8448e3f94683b538deb78d279194afe646fc983375f015acaecef8357a8badf" },
		{ 16, "sha512", "12e18b359d1fdb3653f640c3d4682ed9" },
		{ 32, "sha512",
		  "65c148642ed3450453b990823a6d710eb78bb5731253886cbe5ffc55482b0e17" },
		{ 48, "sha512",
		  "ca63106aa7d0624c121c79cabbad29577d4f6cc8144a49846cc38fdff1cd643e"
		  "40d82fdb2d7bd09893a5642e66758e4f" },
		{ 64, "sha512",
		  "c9e83e4d5dcca7eb46774a8eaca18cc1f94a8e1253aa39ebc4ecfd60b36a3b56"
		  "b4729778fd3c4cb58db338793306b36f856dda4e96249235c71f6736e8750aee" },
	};
	uint8_t split[5 * 64], key[64], right[64];

	for (size_t i = 0; i < sizeof(split); i++)
		split[i] = (uint8_t)(i * 7 + i / 64);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const EVP_MD *hash = EVP_get_digestbyname(cases[i].hash);

		check_case("merged by %s, %zu bytes", cases[i].hash, cases[i].bytes);
		CHECK_EQ(from_hex(cases[i].key, right), cases[i].bytes);
		CHECK_EQ(split_merge(hash, split, cases[i].bytes, 5, key), 0);
		CHECK(memcmp(key, right, cases[i].bytes) == 0);
	}
}

/* --- passphrases ------------------------------------------------------------------------------------- */

/* A header and the material of slot 0 for a key: the last stripe is what makes the others it. */
static uint8_t *make_slot(struct luks_header *luks, const char *mode, const char *hash,
			  uint32_t key_bytes, const uint8_t *key, const char *passphrase)
{
	const EVP_MD *md = EVP_get_digestbyname(hash);
	uint8_t bytes[LUKS_HEADER_BYTES], slot_key[LUKS_KEY_BYTES_MAX], last[LUKS_KEY_BYTES_MAX];
	struct crypto_area area = { { 0 }, luks_bytes_make(bytes, mode, hash, key_bytes) };
	struct cipher *cipher = NULL;
	uint8_t *material;
	struct why why;

	CHECK_EQ(luks_header_decode(bytes, &area, "image", luks, &why), 0);
	memset(luks->digest_salt, 0x31, LUKS_SALT_BYTES);
	memset(luks->slot[0].salt, 0x32, LUKS_SALT_BYTES);
	PKCS5_PBKDF2_HMAC((const char *)key, (int)key_bytes, luks->digest_salt, LUKS_SALT_BYTES,
			  1000, md, LUKS_DIGEST_BYTES, luks->digest);
	PKCS5_PBKDF2_HMAC(passphrase, (int)strlen(passphrase), luks->slot[0].salt, LUKS_SALT_BYTES,
			  2000, md, (int)key_bytes, slot_key);
	material = calloc(1, luks_material_bytes(luks));
	for (uint32_t i = 0; i < (LUKS_STRIPES - 1) * key_bytes; i++)
		material[i] = (uint8_t)(i * 31 >> 3);
	CHECK_EQ(split_merge(md, material, key_bytes, LUKS_STRIPES, last), 0);
	for (uint32_t i = 0; i < key_bytes; i++)
		material[(LUKS_STRIPES - 1) * key_bytes + i] = last[i] ^ key[i];
	CHECK_EQ(cipher_make(&cipher, luks, slot_key, 1), 0);
	CHECK_EQ(cipher_encrypt(cipher, 0, 0, material, material, luks_material_bytes(luks)), 0);
	cipher_free(cipher);
	return material;
}

static void test_unlock(const char *mode, const char *hash, uint32_t key_bytes)
{
	uint8_t key[LUKS_KEY_BYTES_MAX], sector[SECTOR_SIZE], other[SECTOR_SIZE];
	struct cipher *cipher = NULL, *right = NULL;
	struct luks_header luks;
	uint8_t *material;

	check_case("unlock %s, %s, %u bytes", mode, hash, key_bytes);
	for (unsigned i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)(i * i + 1);
	material = make_slot(&luks, mode, hash, key_bytes, key, "secret");
	CHECK_EQ(cipher_unlock(&cipher, &luks, 0, material, "Secret", 6, 1), -EKEYREJECTED);
	CHECK_EQ(cipher_unlock(&cipher, &luks, 0, material, "secret\n", 7, 1), -EKEYREJECTED);
	CHECK_EQ(cipher_unlock(&cipher, &luks, 0, material, "", 0, 1), -EKEYREJECTED);
	CHECK_EQ(cipher_unlock(&cipher, &luks, 0, material, "secret", 6, 1), 0);
	CHECK_EQ(cipher_make(&right, &luks, key, 1), 0);
	memset(sector, 0x77, sizeof(sector));
	CHECK_EQ(cipher_encrypt(cipher, 0, 9, sector, other, sizeof(sector)), 0);
	CHECK_EQ(cipher_encrypt(right, 0, 9, sector, sector, sizeof(sector)), 0);
	CHECK(memcmp(sector, other, sizeof(sector)) == 0);
	cipher_free(cipher);
	cipher_free(right);

	check_case("material with a wrong bit, %s", mode);
	material[12345] ^= 4;
	CHECK_EQ(cipher_unlock(&cipher, &luks, 0, material, "secret", 6, 1), -EKEYREJECTED);
	free(material);
}

int main(void)
{
	CRYPTO_set_mem_functions(count_malloc, count_realloc, count_free);
	for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
		test_vector(&vectors[i]);
		test_far(&vectors[i]);
		test_memory(&vectors[i]);
	}
	test_merge();
	test_unlock("xts-plain64", "sha256", 64);
	test_unlock("xts-plain", "sha1", 48);
	test_unlock("cbc-essiv:sha256", "sha512", 32);
	test_unlock("cbc-plain64", "sha1", 24);
	cipher_free(NULL);
	return check_end();
}
