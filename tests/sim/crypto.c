/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What src/crypto promises, without cryptography. */
#include "crypto.h"

#include "cipher.h"
#include "memory.h"
#include "report.h"
#include "task.h"

#include <errno.h>
#include <stdlib.h>

#define MADE_MAX 65536u

struct cipher {
	uint64_t key;
	unsigned users;
};

bool (*sim_cipher_fails)(void);

/* Where something was encrypted to, in this life: a hash table. */
static const void *made[MADE_MAX];
static unsigned mades;
static uint64_t made_key; /* of all of them: only the top layer is written to */

/* The place of @memory, or the free one where it belongs. */
static const void **made_at(const void *memory)
{
	uint64_t at = (uintptr_t)memory * UINT64_C(0x9e3779b97f4a7c15) >> 32;

	while (made[at % MADE_MAX] && made[at % MADE_MAX] != memory)
		at++;
	return &made[at % MADE_MAX];
}

static void note_made(const void *memory)
{
	const void **place = made_at(memory);

	if (*place)
		return;
	must(++mades < MADE_MAX / 2);
	*place = memory;
}

bool sim_cipher_made(const void *memory)
{
	return *made_at(memory);
}

bool sim_cipher_zeros(uint64_t off, const uint8_t *bytes, uint64_t len)
{
	static const uint8_t zeros[SECTOR_SIZE];
	uint8_t plain[SECTOR_SIZE];

	for (uint64_t at = 0; at < len; at += SECTOR_SIZE) {
		sim_cipher(made_key, (off + at) / SECTOR_SIZE, bytes + at, plain, SECTOR_SIZE);
		if (memcmp(plain, zeros, SECTOR_SIZE) != 0)
			return false;
	}
	return true;
}

bool crypto_available(void)
{
	return true;
}

int cipher_unlock(struct cipher **cipher, const struct luks_header *luks, unsigned slot,
		  const void *material, const void *passphrase, size_t bytes, unsigned users)
{
	must(luks->slot[slot].active);
	if (bytes != strlen(SIM_KEY) || memcmp(material, passphrase, bytes) != 0)
		return -EKEYREJECTED;
	*cipher = xmalloc(sizeof(**cipher));
	**cipher = (struct cipher){ .users = users };
	memcpy(&(*cipher)->key, luks->digest_salt, sizeof((*cipher)->key));
	if (mades)
		memset(made, 0, sizeof(made));
	mades = 0;
	return 0;
}

static int run(struct cipher *cipher, unsigned user, uint64_t sector, const void *from, void *to,
	       size_t bytes)
{
	if (user >= cipher->users || !this_lane || this_lane->id != user)
		sim_fail("lane %u uses the cipher as user %u", this_lane ? this_lane->id : 99u,
			 user);
	if (!bytes || bytes % SECTOR_SIZE)
		sim_fail("%zu bytes to encrypt or decrypt", bytes);
	if (sim_cipher_fails && sim_cipher_fails()) {
		memset(to, 0xcc, bytes / 2);
		return -EIO;
	}
	sim_cipher(cipher->key, sector, from, to, bytes);
	return 0;
}

int cipher_encrypt(struct cipher *cipher, unsigned user, uint64_t sector, const void *from,
		   void *to, size_t bytes)
{
	note_made(to);
	made_key = cipher->key;
	return run(cipher, user, sector, from, to, bytes);
}

int cipher_decrypt(struct cipher *cipher, unsigned user, uint64_t sector, const void *from,
		   void *to, size_t bytes)
{
	return run(cipher, user, sector, from, to, bytes);
}

void cipher_free(struct cipher *cipher)
{
	free(cipher);
}
