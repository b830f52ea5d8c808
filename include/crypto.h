/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keys and ciphers of encrypted images: functions over bytes; a library does the cryptography.
 */
#ifndef CRYPTO_H
#define CRYPTO_H

#include "base.h"
#include "format.h"

/* The key of one image, ready for use. */
struct cipher;

/* Was this program built with the library, and is it here?  Without, no cipher can be had. */
bool crypto_available(void);

/*
 * Does the passphrase open key slot @slot (LUKS On-Disk Format Specification: "Master key
 * recovery")?  @material: luks_material_bytes() of the slot.  @users: how many threads will use the cipher
 * at a time, numbered from 0.  Takes as long as the slot's iterations do; all that is secret is
 * overwritten but what the cipher needs.
 * 0: *@cipher is the caller's.  -EKEYREJECTED: it does not.  -ENOMEM; -ENOTSUP: the library does
 * not have this cipher or hash.
 */
int cipher_unlock(struct cipher **cipher, const struct luks_header *luks, unsigned slot,
		  const void *material, const void *passphrase, size_t bytes, unsigned users);

/*
 * Whole sectors, @bytes in all, between plain and encrypted.  @sector is the host offset, in sectors,
 * of the first of them in the file that holds them.  @from may be @to.  Allocates nothing.  0, or
 * -EIO when the library fails: then @to may hold anything.
 */
int cipher_encrypt(struct cipher *cipher, unsigned user, uint64_t sector, const void *from,
		   void *to, size_t bytes);
int cipher_decrypt(struct cipher *cipher, unsigned user, uint64_t sector, const void *from,
		   void *to, size_t bytes);

/* The key is overwritten; @cipher may be NULL. */
void cipher_free(struct cipher *cipher);

#endif
