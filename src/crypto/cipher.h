/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A cipher from a key that is known; what crypto.h has is not repeated. */
#ifndef CIPHER_H
#define CIPHER_H

#include "crypto.h"

/* @key: luks->key_bytes; not kept but in the library's schedules.  0, -ENOMEM or -ENOTSUP. */
int cipher_make(struct cipher **cipher, const struct luks_header *luks, const void *key,
		unsigned users);

#endif
