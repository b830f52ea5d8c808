/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The library, loaded when the first image is unlocked: to have it in memory takes 1.5 MB and half of
 * the time that a start takes to link, and most images are not encrypted.
 */
#ifndef LIBRARY_H
#define LIBRARY_H

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdbool.h>

#define LIBRARY_FUNCTIONS(f) \
	f(CRYPTO_memcmp) f(EVP_CIPHER_CTX_free) f(EVP_CIPHER_CTX_new) \
		f(EVP_CIPHER_CTX_set_padding) f(EVP_CIPHER_fetch) f(EVP_CIPHER_free) \
			f(EVP_CipherInit_ex2) f(EVP_CipherUpdate) f(EVP_Digest) \
				f(EVP_DigestFinal_ex) f(EVP_DigestInit_ex2) f(EVP_DigestUpdate) \
					f(EVP_MD_CTX_free) f(EVP_MD_CTX_new) f(EVP_MD_get_size) \
						f(EVP_sha1) f(EVP_sha256) f(EVP_sha512) \
							f(PKCS5_PBKDF2_HMAC)

struct library {
#define LIBRARY_MEMBER(name) __typeof__(&name) name;
	LIBRARY_FUNCTIONS(LIBRARY_MEMBER)
#undef LIBRARY_MEMBER
};

/* All set once library_load() has said so; never unloaded. */
extern struct library library;

/* By one thread at a time, as images are opened.  False: it is not on this machine. */
bool library_load(void);

#endif
