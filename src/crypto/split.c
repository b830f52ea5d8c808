/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Split keys: each stripe but the last is mixed into what becomes of the ones before it. */
#include "split.h"
#include "library.h"

#include <errno.h>

/* Each piece of @bytes that a digest can replace becomes the digest of its number and itself. */
static int diffuse(EVP_MD_CTX *digest, const EVP_MD *hash, uint8_t *block, size_t bytes)
{
	size_t size = (size_t)library.EVP_MD_get_size(hash);
	uint8_t result[EVP_MAX_MD_SIZE];
	uint32_t number = 0;

	for (size_t at = 0; at < bytes; at += size) {
		struct be32 prefix = be32_make(number++);
		size_t n = min_u64(size, bytes - at);

		if (!library.EVP_DigestInit_ex2(digest, hash, NULL) ||
		    !library.EVP_DigestUpdate(digest, &prefix, sizeof(prefix)) ||
		    !library.EVP_DigestUpdate(digest, block + at, n) ||
		    !library.EVP_DigestFinal_ex(digest, result, NULL))
			return -ENOMEM;
		memcpy(block + at, result, n);
	}
	explicit_bzero(result, sizeof(result));
	return 0;
}

int split_merge(const EVP_MD *hash, const uint8_t *split, size_t bytes, uint32_t stripes,
		uint8_t *key)
{
	EVP_MD_CTX *digest = library.EVP_MD_CTX_new();
	int err = digest ? 0 : -ENOMEM;

	memset(key, 0, bytes);
	for (uint32_t i = 0; i < stripes && !err; i++) {
		for (size_t k = 0; k < bytes; k++)
			key[k] ^= split[i * bytes + k];
		if (i + 1 < stripes)
			err = diffuse(digest, hash, key, bytes);
	}
	library.EVP_MD_CTX_free(digest);
	return err;
}
