/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The LUKS header of an encrypted image: which cipher, and where keys are kept. */
#include "format.h"

#include "decoder.h"

#include <inttypes.h>

#define NAME_BYTES 32

/* A key slot as it lies in the header. */
struct slot_raw {
	struct be32 active;
	struct be32 iterations;
	uint8_t salt[LUKS_SALT_BYTES];
	struct be32 material_sector;
	struct be32 stripes;
};

struct luks_raw {
	uint8_t magic[6];
	struct be16 version;
	char cipher[NAME_BYTES]; /* these three end with a NUL */
	char mode[NAME_BYTES];
	char hash[NAME_BYTES];
	struct be32 payload_sector; /* says nothing about where an image's data is */
	struct be32 key_bytes;
	uint8_t digest[LUKS_DIGEST_BYTES];
	uint8_t digest_salt[LUKS_SALT_BYTES];
	struct be32 digest_iterations;
	char uuid[40];
	struct slot_raw slot[LUKS_SLOTS];
};

_Static_assert(sizeof(struct luks_raw) == LUKS_HEADER_BYTES, "layout");
_Static_assert(offsetof(struct luks_raw, slot) == 208, "layout");

static const uint8_t magic[6] = { 'L', 'U', 'K', 'S', 0xba, 0xbe };

#define SLOT_ACTIVE 0x00ac71f3u
#define SLOT_FREE 0x0000deadu

struct luks_decoder {
	struct luks_raw raw;
	const struct crypto_area *area;
	const char *name; /* of the file, for messages */
	struct luks_header *luks;
	struct why *why;
};

int luks_area_check(const struct crypto_area *area, const char *name, struct why *why)
{
	struct luks_decoder d = { .name = name, .why = why };

	if (area->bytes < LUKS_HEADER_BYTES || area->bytes > LIMIT_CRYPTO_BYTES)
		return damaged(&d, "%" PRIu64 " bytes for the LUKS header cannot be", area->bytes);
	if (area->host.byte > (uint64_t)INT64_MAX - area->bytes)
		return damaged(&d, "the LUKS header at %#" PRIx64 " is out of range",
			       area->host.byte);
	return 0;
}

/* --- names ----------------------------------------------------------------------------------------- */

struct name {
	const char *text;
	int value;
};

/* The value of a name of the header; -1: not in the table. */
static int find_name(const struct name *names, size_t count, const char *text)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(names[i].text, text) == 0)
			return names[i].value;
	return -1;
}

static int not_supported(const struct luks_decoder *d, const char *what, const char *text,
			 const char *instead)
{
	return why_set(d->why, -ENOTSUP,
		       "%s: its LUKS %s is %s, which is not supported; convert it with qemu-img "
		       "convert to one with %s",
		       d->name, what, text, instead);
}

/* "plain", "plain64" or "essiv:sha256"; behind plain ones QEMU may write a hash that means nothing. */
static int decode_iv(char *iv)
{
	static const struct name ivs[] = { { "plain", LUKS_PLAIN },
					   { "plain64", LUKS_PLAIN64 },
					   { "essiv", LUKS_ESSIV_SHA256 } };
	char *hash = strchr(iv, ':');
	int found;

	if (hash)
		*hash++ = '\0';
	found = find_name(ivs, ARRAY_SIZE(ivs), iv);
	if (found == LUKS_ESSIV_SHA256 && (!hash || strcmp(hash, "sha256") != 0))
		return -1;
	return found;
}

static int decode_cipher(const struct luks_decoder *d)
{
	static const struct name modes[] = { { "xts", LUKS_XTS }, { "cbc", LUKS_CBC } };
	int found_mode, found_iv = -1;
	char mode[NAME_BYTES], *iv;

	if (strcmp(d->raw.cipher, "aes") != 0)
		return not_supported(d, "cipher", d->raw.cipher, "aes-256");
	memcpy(mode, d->raw.mode, NAME_BYTES);
	iv = strchr(mode, '-');
	if (iv) {
		*iv++ = '\0';
		found_iv = decode_iv(iv);
	}
	found_mode = find_name(modes, ARRAY_SIZE(modes), mode);
	if (found_mode < 0 || found_iv < 0)
		return not_supported(d, "cipher mode", d->raw.mode, "xts-plain64");
	d->luks->mode = (enum luks_mode)found_mode;
	d->luks->iv = (enum luks_iv)found_iv;
	return 0;
}

static int decode_hash(const struct luks_decoder *d)
{
	static const struct name hashes[] = { { "sha1", LUKS_SHA1 },
					      { "sha256", LUKS_SHA256 },
					      { "sha512", LUKS_SHA512 } };
	int found = find_name(hashes, ARRAY_SIZE(hashes), d->raw.hash);

	if (found < 0)
		return not_supported(d, "hash", d->raw.hash, "sha256");
	d->luks->hash = (enum luks_hash)found;
	return 0;
}

static int decode_names(const struct luks_decoder *d)
{
	int err;

	if (memcmp(d->raw.magic, magic, sizeof(magic)) != 0)
		return damaged(d, "there is no LUKS header at %#" PRIx64, d->area->host.byte);
	if (be16_get(d->raw.version) != 1)
		return why_set(d->why, -ENOTSUP,
			       "%s: LUKS version %u is not supported, only 1 is; convert the image "
			       "with qemu-img",
			       d->name, be16_get(d->raw.version));
	if (!memchr(d->raw.cipher, '\0', NAME_BYTES) || !memchr(d->raw.mode, '\0', NAME_BYTES) ||
	    !memchr(d->raw.hash, '\0', NAME_BYTES))
		return damaged(d, "a name in the LUKS header does not end");
	err = decode_cipher(d);
	return err ? err : decode_hash(d);
}

/* --- keys ------------------------------------------------------------------------------------------ */

static int check_iterations(const struct luks_decoder *d, uint32_t iterations)
{
	if (iterations == 0)
		return damaged(d, "the LUKS header derives a key in 0 iterations");
	if (iterations > LIMIT_LUKS_ITERATIONS)
		return why_set(d->why, -ENOTSUP,
			       "%s: its LUKS header asks for %u iterations of key derivation, more "
			       "than %u; give it another key slot with qemu-img amend",
			       d->name, iterations, LIMIT_LUKS_ITERATIONS);
	return 0;
}

static int decode_master_key(const struct luks_decoder *d)
{
	struct luks_header *luks = d->luks;
	uint32_t aes_bytes;

	luks->key_bytes = be32_get(d->raw.key_bytes);
	aes_bytes = luks->mode == LUKS_XTS ? luks->key_bytes / 2 : luks->key_bytes;
	if ((aes_bytes != 16 && aes_bytes != 24 && aes_bytes != 32) || luks->key_bytes % 8)
		return damaged(d, "a LUKS key of %u bytes does not fit its cipher",
			       luks->key_bytes);
	memcpy(luks->digest, d->raw.digest, sizeof(luks->digest));
	memcpy(luks->digest_salt, d->raw.digest_salt, sizeof(luks->digest_salt));
	luks->digest_iterations = be32_get(d->raw.digest_iterations);
	return check_iterations(d, luks->digest_iterations);
}

static int decode_slot(const struct luks_decoder *d, unsigned number)
{
	const struct slot_raw *raw = &d->raw.slot[number];
	struct luks_slot *slot = &d->luks->slot[number];
	uint32_t bytes = luks_material_bytes(d->luks);

	*slot = (struct luks_slot){ 0 };
	if (be32_get(raw->active) == SLOT_FREE)
		return 0;
	if (be32_get(raw->active) != SLOT_ACTIVE)
		return damaged(d, "LUKS key slot %u is neither active nor free", number);
	if (be32_get(raw->stripes) != LUKS_STRIPES)
		return damaged(d, "LUKS key slot %u has %u stripes, not %u", number,
			       be32_get(raw->stripes), LUKS_STRIPES);
	slot->active = true;
	slot->iterations = be32_get(raw->iterations);
	slot->material = (uint64_t)be32_get(raw->material_sector) * SECTOR_SIZE;
	memcpy(slot->salt, raw->salt, sizeof(slot->salt));
	if (slot->material < LUKS_HEADER_BYTES || d->area->bytes < bytes ||
	    slot->material > d->area->bytes - bytes)
		return damaged(d, "LUKS key slot %u keeps its key at %#" PRIx64 ", out of range",
			       number, slot->material);
	return check_iterations(d, slot->iterations);
}

static int decode_slots(const struct luks_decoder *d)
{
	bool any = false;

	for (unsigned i = 0; i < LUKS_SLOTS; i++) {
		int err = decode_slot(d, i);

		if (err)
			return err;
		any |= d->luks->slot[i].active;
	}
	if (!any)
		return why_set(d->why, -EINVAL,
			       "%s: no key can open it: all of its LUKS key slots are free; restore "
			       "it from a backup",
			       d->name);
	return 0;
}

int luks_header_decode(const void *bytes, const struct crypto_area *area, const char *name,
		       struct luks_header *luks, struct why *why)
{
	struct luks_decoder d = { .area = area, .name = name, .luks = luks, .why = why };
	int err;

	*luks = (struct luks_header){ 0 };
	memcpy(&d.raw, bytes, sizeof(d.raw));
	err = decode_names(&d);
	if (!err)
		err = decode_master_key(&d);
	return err ? err : decode_slots(&d);
}
