/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which key slot of an encrypted layer does the key open? */
#include "unlock.h"

#include <errno.h>
#include <stdlib.h>

#define HEADER_READ (2 * SECTOR_SIZE)

_Static_assert(LUKS_HEADER_BYTES <= HEADER_READ, "sectors of the header");

/* What lies behind the end of the file is zeros. */
static int read_area(const struct node *node, void *buf, size_t bytes, uint64_t off,
		     struct why *why)
{
	struct host_file *file = node->file;
	int64_t got;

	memset(buf, 0, bytes);
	got = file->read(file, buf, bytes, node->crypto.host.byte + off);
	if (got < 0)
		return why_set(why, (int)got, "%s: cannot read the LUKS header: %s", file->name,
			       strerror((int)-got));
	return 0;
}

static int read_luks(const struct node *node, struct luks_header *luks, struct why *why)
{
	const char *name = node->file->name;
	uint8_t bytes[HEADER_READ];
	int err = luks_area_check(&node->crypto, name, why);

	if (!err)
		err = read_area(node, bytes, sizeof(bytes), 0, why);
	return err ? err : luks_header_decode(bytes, &node->crypto, name, luks, why);
}

static int explain(const struct node *node, const struct image_options *options, int err,
		   struct why *why)
{
	const char *name = node->file->name;
	const char *key = options->key;

	if (err == -EKEYREJECTED && options->key_bytes && key[options->key_bytes - 1] == '\n')
		return why_set(why, err,
			       "%s: is encrypted with another key; the one that was given ends with "
			       "a newline, which is a part of it",
			       name);
	if (err == -EKEYREJECTED)
		return why_set(why, err,
			       "%s: is encrypted with another key; give the right one with "
			       "--key-file",
			       name);
	if (err == -ENOTSUP)
		return why_set(why, err,
			       "%s: the crypto library does not have its cipher or its hash; does "
			       "the library's configuration forbid them?",
			       name);
	return why_set(why, err, "%s: cannot make its key: %s", name, strerror(-err));
}

static int try_slots(struct node *node, const struct luks_header *luks,
		     const struct image_options *options, struct why *why)
{
	uint32_t bytes = luks_material_bytes(luks);
	void *material = aligned_alloc(SECTOR_SIZE, bytes);
	int err = -EKEYREJECTED;

	if (!material)
		return explain(node, options, -ENOMEM, why);
	for (unsigned i = 0; i < LUKS_SLOTS && err == -EKEYREJECTED; i++) {
		if (!luks->slot[i].active)
			continue;
		err = read_area(node, material, bytes, luks->slot[i].material, why);
		if (err) {
			free(material);
			return err;
		}
		err = cipher_unlock(&node->cipher, luks, i, material, options->key,
				    options->key_bytes, options->lanes);
	}
	free(material);
	return err ? explain(node, options, err, why) : 0;
}

int unlock_node(struct node *node, const struct image_options *options, struct why *why)
{
	struct luks_header luks;
	int err;

	if (node->raw || node->header.crypt_method != CRYPT_LUKS)
		return 0;
	err = read_luks(node, &luks, why);
	if (err)
		return err;
	if (!options->key)
		return why_set(why, -ENOKEY, "%s: is encrypted; give its key with --key-file",
			       node->file->name);
	return try_slots(node, &luks, options, why);
}
