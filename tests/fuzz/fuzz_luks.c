/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hostile LUKS headers: of what is accepted, keys can be looked for.  An area, then a header. */
#include "format.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_iterations(uint32_t iterations)
{
	must(iterations >= 1 && iterations <= LIMIT_LUKS_ITERATIONS);
}

static void check_luks(const struct luks_header *luks, const struct crypto_area *area)
{
	uint32_t aes_bytes = luks->key_bytes / (luks->mode == LUKS_XTS ? 2 : 1);
	unsigned active = 0;

	must(luks->mode == LUKS_XTS || luks->mode == LUKS_CBC);
	must(luks->iv <= LUKS_ESSIV_SHA256 && luks->hash <= LUKS_SHA512);
	must(aes_bytes == 16 || aes_bytes == 24 || aes_bytes == 32);
	must(luks->key_bytes <= LUKS_KEY_BYTES_MAX);
	check_iterations(luks->digest_iterations);
	for (unsigned i = 0; i < LUKS_SLOTS; i++) {
		const struct luks_slot *slot = &luks->slot[i];

		if (!slot->active)
			continue;
		active++;
		check_iterations(slot->iterations);
		must(slot->material >= LUKS_HEADER_BYTES);
		must(is_aligned(slot->material, SECTOR_SIZE));
		must(slot->material + luks_material_bytes(luks) <= area->bytes);
		must(area->host.byte + slot->material + luks_material_bytes(luks) <=
		     (uint64_t)INT64_MAX);
	}
	must(active > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct luks_header luks;
	struct crypto_area area;
	struct why why = { "" };
	uint8_t *header;
	int err;

	if (size < 16 + LUKS_HEADER_BYTES)
		return 0;
	area = crypto_area_decode(data);
	err = luks_area_check(&area, "image", &why);
	if (!err) {
		/* A copy, so that reads beyond its end are seen. */
		header = malloc(LUKS_HEADER_BYTES);
		memcpy(header, data + 16, LUKS_HEADER_BYTES);
		err = luks_header_decode(header, &area, "image", &luks, &why);
		free(header);
	}
	if (err)
		must(why.text[0]);
	else
		check_luks(&luks, &area);
	return 0;
}
