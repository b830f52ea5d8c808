/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * In the place of libcrypto: a sector is mixed with noise that a key and its number make.  So what was
 * encrypted for another place, with another key, or not at all, is garbage.
 */
#ifndef SIM_CIPHER_H
#define SIM_CIPHER_H

#include "base.h"
#include "rng.h"

/* Opens all encrypted images. */
#define SIM_KEY "open sesame"

/* The bytes of a LUKS area that sim_luks_make() makes. */
uint64_t sim_luks_bytes(void);

/* A LUKS header for the key @key, with one or more active slots, one of which SIM_KEY opens. */
struct sparse;
void sim_luks_make(struct sparse *file, uint64_t off, uint64_t key, struct rng *rng);

/* The key in a LUKS header. */
uint64_t sim_luks_key(const struct sparse *file, uint64_t off);

/* @bytes from sector @sector on, to and fro. */
void sim_cipher(uint64_t key, uint64_t sector, const void *from, void *to, uint64_t bytes);

/* In this life: was what lies at @memory encrypted for a guest?  Looks at the start only. */
bool sim_cipher_made(const void *memory);

/* Is what such bytes hold zeros, when they are written to @off? */
bool sim_cipher_zeros(uint64_t off, const uint8_t *bytes, uint64_t len);

/* May make the engine's calls fail; NULL: they never do. */
extern bool (*sim_cipher_fails)(void);

#endif
