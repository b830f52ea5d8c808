/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A LUKS header as qemu-img writes it, with the first key slot active. */
#ifndef LUKS_BYTES_H
#define LUKS_BYTES_H

#include "format.h"

#include <stdio.h>

/* Offsets of what tests change. */
enum luks_at {
	LUKS_AT_VERSION = 6,
	LUKS_AT_CIPHER = 8,
	LUKS_AT_MODE = 40,
	LUKS_AT_HASH = 72,
	LUKS_AT_KEY_BYTES = 108,
	LUKS_AT_DIGEST = 112,
	LUKS_AT_DIGEST_SALT = 132,
	LUKS_AT_DIGEST_ITERATIONS = 164,
	LUKS_AT_SLOTS = 208, /* of LUKS_SLOT_BYTES each */
	LUKS_SLOT_BYTES = 48,
	LUKS_AT_SLOT_ITERATIONS = 4,
	LUKS_AT_SLOT_SALT = 8,
	LUKS_AT_SLOT_MATERIAL = 40,
	LUKS_AT_SLOT_STRIPES = 44,
};

static inline void luks_put32(uint8_t *bytes, uint32_t at, uint32_t value)
{
	struct be32 word = be32_make(value);

	memcpy(bytes + at, &word, sizeof(word));
}

/* The bytes of the whole area: header and eight slots, each from a multiple of 4096 on. */
static inline uint64_t luks_bytes_make(uint8_t bytes[static LUKS_HEADER_BYTES], const char *mode,
				       const char *hash, uint32_t key_bytes)
{
	uint32_t stride = (uint32_t)round_up((uint64_t)key_bytes * LUKS_STRIPES, 4096);

	memset(bytes, 0, LUKS_HEADER_BYTES);
	memcpy(bytes, "LUKS\xba\xbe\0\1", 8);
	snprintf((char *)bytes + LUKS_AT_CIPHER, 32, "aes");
	snprintf((char *)bytes + LUKS_AT_MODE, 32, "%s", mode);
	snprintf((char *)bytes + LUKS_AT_HASH, 32, "%s", hash);
	luks_put32(bytes, 104, (4096 + LUKS_SLOTS * stride) / SECTOR_SIZE);
	luks_put32(bytes, LUKS_AT_KEY_BYTES, key_bytes);
	luks_put32(bytes, LUKS_AT_DIGEST_ITERATIONS, 1000);
	for (uint32_t i = 0; i < LUKS_SLOTS; i++) {
		uint32_t slot = LUKS_AT_SLOTS + i * LUKS_SLOT_BYTES;

		luks_put32(bytes, slot, i ? 0x0000dead : 0x00ac71f3);
		luks_put32(bytes, slot + LUKS_AT_SLOT_ITERATIONS, i ? 0 : 2000);
		luks_put32(bytes, slot + LUKS_AT_SLOT_MATERIAL, (4096 + i * stride) / SECTOR_SIZE);
		luks_put32(bytes, slot + LUKS_AT_SLOT_STRIPES, LUKS_STRIPES);
	}
	return 4096 + LUKS_SLOTS * stride;
}

#endif
