/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * AES over sectors, each with an IV that is made of its number.
 *
 * The library's contexts have the key schedule in them and take no second thread, so each user
 * has contexts of its own.
 */
#include "cipher.h"
#include "library.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define BLOCK_BYTES 16u
#define SHA256_BYTES 32u

struct user {
	EVP_CIPHER_CTX *encrypt; /* of sectors; of single blocks if by_blocks */
	EVP_CIPHER_CTX *decrypt;
	EVP_CIPHER_CTX *tweak; /* by_blocks: of single blocks, with the second half of the key */
	EVP_CIPHER_CTX *essiv; /* of single blocks, with the hash of the key; NULL: plain IVs */
};

struct cipher {
	enum luks_iv iv;
	bool by_blocks; /* XTS with a key that the library has no XTS for */
	unsigned users;
	struct user user[];
};

/* --- making ---------------------------------------------------------------------------------------- */

/* AES with a key of @bytes bytes in a mode that the library knows by that name. */
static int add_context(EVP_CIPHER_CTX **context, const char *mode, const uint8_t *key,
		       uint32_t bytes, bool encrypt)
{
	static const uint8_t iv[BLOCK_BYTES];
	EVP_CIPHER *kind;
	char name[24];
	bool made;

	snprintf(name, sizeof(name), "AES-%u-%s", bytes * 8, mode);
	kind = library.EVP_CIPHER_fetch(NULL, name, NULL);
	if (!kind)
		return -ENOTSUP;
	*context = library.EVP_CIPHER_CTX_new();
	made = *context && library.EVP_CipherInit_ex2(*context, kind, key, iv, encrypt, NULL);
	/* Whole blocks come and go.  XTS never pads; told so, it would look at that for each sector. */
	if (made && strcmp(mode, "XTS") != 0)
		made = library.EVP_CIPHER_CTX_set_padding(*context, 0);
	library.EVP_CIPHER_free(kind);
	return made ? 0 : -ENOMEM;
}

static int add_essiv(struct user *user, const struct luks_header *luks, const uint8_t *key)
{
	uint8_t hash[SHA256_BYTES];
	int err = -ENOMEM;

	if (library.EVP_Digest(key, luks->key_bytes, hash, NULL, library.EVP_sha256(), NULL))
		err = add_context(&user->essiv, "ECB", hash, sizeof(hash), true);
	explicit_bzero(hash, sizeof(hash));
	return err;
}

static int add_user(const struct cipher *cipher, struct user *user, const struct luks_header *luks,
		    const uint8_t *key)
{
	bool xts = luks->mode == LUKS_XTS;
	uint32_t aes_bytes = luks->key_bytes / (xts ? 2 : 1);
	const char *mode = cipher->by_blocks ? "ECB" : xts ? "XTS" : "CBC";
	int err = add_context(&user->encrypt, mode, key, aes_bytes, true);

	if (!err)
		err = add_context(&user->decrypt, mode, key, aes_bytes, false);
	if (!err && cipher->by_blocks)
		err = add_context(&user->tweak, "ECB", key + aes_bytes, aes_bytes, true);
	if (!err && luks->iv == LUKS_ESSIV_SHA256)
		err = add_essiv(user, luks, key);
	return err;
}

int cipher_make(struct cipher **cipher, const struct luks_header *luks, const void *key,
		unsigned users)
{
	struct cipher *fresh;
	int err = 0;

	if (!library_load())
		return -ENOTSUP;
	fresh = calloc(1, sizeof(*fresh) + users * sizeof(*fresh->user));
	if (!fresh)
		return -ENOMEM;
	fresh->iv = luks->iv;
	/* IEEE 1619 has XTS with AES-128 and AES-256, LUKS does not mind. */
	fresh->by_blocks = luks->mode == LUKS_XTS && luks->key_bytes == 2 * 24;
	fresh->users = users;
	for (unsigned i = 0; i < users && !err; i++)
		err = add_user(fresh, &fresh->user[i], luks, key);
	if (err)
		cipher_free(fresh);
	else
		*cipher = fresh;
	return err;
}

void cipher_free(struct cipher *cipher)
{
	for (unsigned i = 0; cipher && i < cipher->users; i++) {
		struct user *user = &cipher->user[i];

		library.EVP_CIPHER_CTX_free(user->encrypt);
		library.EVP_CIPHER_CTX_free(user->decrypt);
		library.EVP_CIPHER_CTX_free(user->tweak);
		library.EVP_CIPHER_CTX_free(user->essiv);
	}
	free(cipher);
}

/* --- sectors --------------------------------------------------------------------------------------- */

/* Through @context, from its IV on. */
static bool run(EVP_CIPHER_CTX *context, const uint8_t *from, uint8_t *to, uint32_t bytes)
{
	int done;

	return library.EVP_CipherUpdate(context, to, &done, from, (int)bytes) && done == (int)bytes;
}

static bool make_iv(const struct cipher *cipher, const struct user *user, uint64_t sector,
		    uint8_t iv[static BLOCK_BYTES])
{
	uint64_t number = cipher->iv == LUKS_PLAIN ? (uint32_t)sector : sector;

	memset(iv, 0, BLOCK_BYTES);
	for (unsigned i = 0; i < sizeof(number); i++)
		iv[i] = (uint8_t)(number >> 8 * i);
	return !user->essiv || run(user->essiv, iv, iv, BLOCK_BYTES);
}

/* The next block's mask: times x in GF(2^128), as XTS has it. */
static void next_mask(const uint8_t *mask, uint8_t *next)
{
	uint8_t carry = mask[BLOCK_BYTES - 1] >> 7;

	for (unsigned i = BLOCK_BYTES - 1; i > 0; i--)
		next[i] = (uint8_t)(mask[i] << 1 | mask[i - 1] >> 7);
	next[0] = (uint8_t)(mask[0] << 1 ^ carry * 0x87);
}

static void apply_mask(const uint8_t *mask, const uint8_t *from, uint8_t *to)
{
	for (unsigned i = 0; i < SECTOR_SIZE; i++)
		to[i] = from[i] ^ mask[i];
}

/* XTS out of single blocks (IEEE 1619, 5.3 and 5.4). */
static bool run_by_blocks(const struct user *user, EVP_CIPHER_CTX *blocks, const uint8_t *iv,
			  const uint8_t *from, uint8_t *to)
{
	uint8_t mask[SECTOR_SIZE];

	if (!run(user->tweak, iv, mask, BLOCK_BYTES))
		return false;
	for (unsigned at = BLOCK_BYTES; at < SECTOR_SIZE; at += BLOCK_BYTES)
		next_mask(mask + at - BLOCK_BYTES, mask + at);
	apply_mask(mask, from, to);
	if (!run(blocks, to, to, SECTOR_SIZE))
		return false;
	apply_mask(mask, to, to);
	return true;
}

static int run_sectors(const struct cipher *cipher, const struct user *user,
		       EVP_CIPHER_CTX *context, uint64_t sector, const uint8_t *from, uint8_t *to,
		       size_t bytes)
{
	uint8_t iv[BLOCK_BYTES];

	for (size_t at = 0; at < bytes; at += SECTOR_SIZE) {
		bool good = make_iv(cipher, user, sector++, iv);

		if (good && cipher->by_blocks)
			good = run_by_blocks(user, context, iv, from + at, to + at);
		else if (good)
			good = library.EVP_CipherInit_ex2(context, NULL, NULL, iv, -1, NULL) &&
			       run(context, from + at, to + at, SECTOR_SIZE);
		if (!good)
			return -EIO;
	}
	return 0;
}

int cipher_encrypt(struct cipher *cipher, unsigned user, uint64_t sector, const void *from,
		   void *to, size_t bytes)
{
	const struct user *own = &cipher->user[user];

	must(user < cipher->users);
	must(is_aligned(bytes, SECTOR_SIZE));
	return run_sectors(cipher, own, own->encrypt, sector, from, to, bytes);
}

int cipher_decrypt(struct cipher *cipher, unsigned user, uint64_t sector, const void *from,
		   void *to, size_t bytes)
{
	const struct user *own = &cipher->user[user];

	must(user < cipher->users);
	must(is_aligned(bytes, SECTOR_SIZE));
	return run_sectors(cipher, own, own->decrypt, sector, from, to, bytes);
}
