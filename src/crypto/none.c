/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Built without a crypto library: nothing can be unlocked. */
#include "crypto.h"

#include <errno.h>

bool crypto_available(void)
{
	return false;
}

int cipher_unlock(struct cipher **cipher, const struct luks_header *luks, unsigned slot,
		  const void *material, const void *passphrase, size_t bytes, unsigned users)
{
	(void)cipher;
	(void)luks;
	(void)slot;
	(void)material;
	(void)passphrase;
	(void)bytes;
	(void)users;
	return -ENOTSUP;
}

int cipher_encrypt(struct cipher *cipher, unsigned user, uint64_t sector, const void *from,
		   void *to, size_t bytes)
{
	(void)cipher;
	(void)user;
	(void)sector;
	(void)from;
	(void)to;
	(void)bytes;
	return -EIO;
}

int cipher_decrypt(struct cipher *cipher, unsigned user, uint64_t sector, const void *from,
		   void *to, size_t bytes)
{
	return cipher_encrypt(cipher, user, sector, from, to, bytes);
}

void cipher_free(struct cipher *cipher)
{
	must(!cipher);
}
