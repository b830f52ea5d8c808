/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Short names for long things, 64 bits of each: what has the same name is taken for the same. */
#ifndef DIGEST_H
#define DIGEST_H

#include "base.h"

static inline uint64_t digest_fold(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* In this order. */
static inline uint64_t digest_add(uint64_t digest, uint64_t word)
{
	return digest_fold(digest ^ UINT64_C(0xa0761d6478bd642f),
			   word ^ UINT64_C(0xe7037ed1a0b428db)) +
	       (word ^ digest >> 7);
}

static inline uint64_t digest_bytes(const uint8_t *at, uint64_t len)
{
	uint64_t digest = len, pair[2] = { 0, 0 };

	for (; len >= sizeof(pair); at += sizeof(pair), len -= sizeof(pair)) {
		memcpy(pair, at, sizeof(pair));
		digest = digest_fold(pair[0] ^ UINT64_C(0x8ebc6af09c88c6e3),
				     pair[1] ^ digest ^ UINT64_C(0x589965cc75374cc3)) +
			 (digest << 5);
	}
	memset(pair, 0, sizeof(pair));
	memcpy(pair, at, len);
	return digest_add(digest_add(digest, pair[0]), pair[1]);
}

/* Of a sector at its place; 0 when it is all zeros.  A file's is the sum of its sectors'. */
uint64_t digest_sector(uint64_t sector, const uint8_t *bytes);

#endif
