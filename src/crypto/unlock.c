/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From a passphrase to the master key: the passphrase and the slot's salt make the slot's key, which
 * decrypts the slot's material, which is the master key in many pieces; its digest tells whether it
 * is the right one.
 */
#include "cipher.h"
#include "library.h"
#include "split.h"

#include <errno.h>

/* All that must not stay in memory. */
struct secrets {
	uint8_t slot_key[LUKS_KEY_BYTES_MAX];
	uint8_t master_key[LUKS_KEY_BYTES_MAX];
	uint8_t digest[LUKS_DIGEST_BYTES];
	uint8_t split[]; /* luks_material_bytes() */
};

static const EVP_MD *hash_of(const struct luks_header *luks)
{
	switch (luks->hash) {
	case LUKS_SHA1:
		return library.EVP_sha1();
	case LUKS_SHA256:
		return library.EVP_sha256();
	case LUKS_SHA512:
		return library.EVP_sha512();
	}
	return NULL;
}

static int derive(const struct luks_header *luks, const void *secret, size_t bytes,
		  const uint8_t *salt, uint32_t iterations, uint8_t *key, size_t key_bytes)
{
	if (!library.PKCS5_PBKDF2_HMAC(secret, (int)bytes, salt, LUKS_SALT_BYTES, (int)iterations,
				       hash_of(luks), (int)key_bytes, key))
		return -ENOTSUP;
	return 0;
}

/* The slot's material, decrypted and put together.  Any passphrase makes some key of it. */
static int recover(const struct luks_header *luks, unsigned slot, const void *material,
		   const void *passphrase, size_t bytes, struct secrets *secrets)
{
	const struct luks_slot *from = &luks->slot[slot];
	struct cipher *cipher;
	int err = derive(luks, passphrase, bytes, from->salt, from->iterations, secrets->slot_key,
			 luks->key_bytes);

	if (!err)
		err = cipher_make(&cipher, luks, secrets->slot_key, 1);
	if (err)
		return err;
	err = cipher_decrypt(cipher, 0, 0, material, secrets->split, luks_material_bytes(luks));
	cipher_free(cipher);
	return err ? err :
		     split_merge(hash_of(luks), secrets->split, luks->key_bytes, LUKS_STRIPES,
				 secrets->master_key);
}

static int check_digest(const struct luks_header *luks, struct secrets *secrets)
{
	int err = derive(luks, secrets->master_key, luks->key_bytes, luks->digest_salt,
			 luks->digest_iterations, secrets->digest, sizeof(secrets->digest));

	if (err)
		return err;
	return library.CRYPTO_memcmp(secrets->digest, luks->digest, sizeof(luks->digest)) ?
		       -EKEYREJECTED :
		       0;
}

int cipher_unlock(struct cipher **cipher, const struct luks_header *luks, unsigned slot,
		  const void *material, const void *passphrase, size_t bytes, unsigned users)
{
	size_t secret_bytes = sizeof(struct secrets) + luks_material_bytes(luks);
	struct secrets *secrets = secret_alloc(secret_bytes);
	int err;

	must(luks->slot[slot].active);
	must(bytes <= LIMIT_KEY_FILE_BYTES);
	if (!secrets)
		return -ENOMEM;
	err = library_load() ? recover(luks, slot, material, passphrase, bytes, secrets) : -ENOTSUP;
	if (!err)
		err = check_digest(luks, secrets);
	if (!err)
		err = cipher_make(cipher, luks, secrets->master_key, users);
	secret_free(secrets, secret_bytes);
	return err;
}
