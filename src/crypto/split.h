/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The anti-forensic splitter (LUKS On-Disk Format Specification: "AF splitter"). */
#ifndef SPLIT_H
#define SPLIT_H

#include "base.h"

#include <openssl/evp.h>

/*
 * Put the key together that @stripes stripes of @bytes bytes each, at @split, were made of.
 * 0, or -ENOMEM when the library fails.
 */
int split_merge(const EVP_MD *hash, const uint8_t *split, size_t bytes, uint32_t stripes,
		uint8_t *key);

#endif
