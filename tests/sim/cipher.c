/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Noise for sectors, and LUKS headers to go with it. */
#include "cipher.h"

#include "format.h"
#include "sparse.h"

#define KEY_BYTES 16u
#define MATERIAL_AT 4096u

void sim_cipher(uint64_t key, uint64_t sector, const void *from, void *to, uint64_t bytes)
{
	for (uint64_t at = 0; at < bytes; at += sizeof(uint64_t)) {
		uint64_t place = (sector * SECTOR_SIZE + at) * UINT64_C(0xd1342543de82ef95);
		uint64_t noise = (key ^ place) * UINT64_C(0x9e3779b97f4a7c15);
		uint64_t word;

		memcpy(&word, (const uint8_t *)from + at, sizeof(word));
		word ^= noise ^ noise >> 29;
		memcpy((uint8_t *)to + at, &word, sizeof(word));
	}
}

/* --- headers ----------------------------------------------------------------------------------------- */

static void put_be32(struct sparse *file, uint64_t off, uint32_t value)
{
	struct be32 word = be32_make(value);

	sparse_write(file, off, &word, sizeof(word));
}

uint64_t sim_luks_bytes(void)
{
	return MATERIAL_AT + round_up(KEY_BYTES * LUKS_STRIPES, SECTOR_SIZE);
}

/* What the slots keep overlaps: only its start matters here. */
void sim_luks_make(struct sparse *file, uint64_t off, uint64_t key, struct rng *rng)
{
	unsigned right = rng_below(rng, LUKS_SLOTS);

	sparse_write(file, off, "LUKS\xba\xbe\0\1", 8);
	sparse_write(file, off + 8, "aes", 3);
	sparse_write(file, off + 40, "cbc-plain64", 11);
	sparse_write(file, off + 72, "sha256", 6);
	put_be32(file, off + 108, KEY_BYTES);
	sparse_write(file, off + 132, &key, sizeof(key)); /* the salt of the digest */
	put_be32(file, off + 164, 1);
	for (unsigned i = 0; i < LUKS_SLOTS; i++) {
		bool active = i == right || rng_one_in(rng, 4);
		uint64_t slot = off + 208 + 48 * i;
		uint64_t sector = 2 + (MATERIAL_AT / SECTOR_SIZE - 2) * i / LUKS_SLOTS;

		put_be32(file, slot, active ? 0x00ac71f3 : 0x0000dead);
		put_be32(file, slot + 4, 1);
		put_be32(file, slot + 40, (uint32_t)sector);
		put_be32(file, slot + 44, LUKS_STRIPES);
		if (i == right)
			sparse_write(file, off + sector * SECTOR_SIZE, SIM_KEY, sizeof(SIM_KEY));
	}
	/* The file may end behind that. */
	put_be32(file, off + sim_luks_bytes() - 4, 0);
}

uint64_t sim_luks_key(const struct sparse *file, uint64_t off)
{
	uint64_t key;

	sparse_read(file, off + 132, &key, sizeof(key));
	return key;
}
