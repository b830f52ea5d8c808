/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Header extensions: what follows the fixed fields, up to the backing file's name. */
#include "format.h"

#include "decoder.h"

#include <inttypes.h>
#include <stdio.h>

#define EXTENSION_END 0u
#define EXTENSION_BACKING_FORMAT 0xe2792acau
#define EXTENSION_FEATURE_NAMES 0x6803f857u
#define EXTENSION_BITMAPS 0x23852875u
#define EXTENSION_CRYPTO 0x0537be77u
#define EXTENSION_DATA_FILE 0x44415441u

struct extension {
	uint32_t type;
	struct header_range data;
};

struct extension_raw {
	struct be32 type;
	struct be32 len;
};

struct bitmaps_raw {
	struct be32 bitmaps;
	struct be32 reserved;
	struct be64 directory_bytes;
	struct be64 directory_offset;
};

struct crypto_raw {
	struct be64 offset;
	struct be64 bytes;
};

#define FEATURE_NAME_BYTES 46

struct feature_raw {
	uint8_t set; /* 0 incompatible, 1 compatible, 2 autoclear */
	uint8_t bit;
	char name[FEATURE_NAME_BYTES]; /* filled up with NULs, not terminated */
};

/*
 * Decode the extension at *@off and move *@off behind it.  1 when there is one, 0 at the end of
 * the area, -EINVAL with the sentence.
 */
static int extension_next(const struct header_decoder *d, uint64_t *off, struct extension *ext)
{
	uint64_t end = d->backing_off ? d->backing_off : UINT64_C(1) << d->header->cluster_bits;
	struct extension_raw raw;
	uint32_t len;

	/* Beyond the end of the file there are zeros, that is: the end. */
	if (*off >= end || *off + sizeof(raw) > d->len)
		return 0;
	if (end - *off < sizeof(raw))
		return damaged(d, "the header extension at %" PRIu64 " is cut off", *off);
	memcpy(&raw, d->bytes + *off, sizeof(raw));
	len = be32_get(raw.len);
	ext->type = be32_get(raw.type);
	ext->data = (struct header_range){ (uint32_t)(*off + sizeof(raw)), len };
	if (len > end - ext->data.off)
		return damaged(d, "header extension %#x is too large: %u bytes", ext->type, len);
	if (ext->type == EXTENSION_END)
		return 0;
	if (len > d->len - ext->data.off)
		return damaged(d, "the file ends within header extension %#x", ext->type);
	*off = ext->data.off + round_up(len, 8);
	return 1;
}

static int check_bitmaps(const struct header_decoder *d, struct header_range data)
{
	uint64_t cluster_bytes = UINT64_C(1) << d->header->cluster_bits;
	struct bitmaps_raw raw;
	uint64_t bytes;

	if (data.len != sizeof(raw))
		return damaged(d, "the bitmaps extension has %u bytes, not 24", data.len);
	/* Without the feature bit a program that knows no bitmaps has left this behind. */
	if (!(d->header->autoclear & QCOW2_BITMAPS))
		return 0;
	memcpy(&raw, d->bytes + data.off, sizeof(raw));
	if (be32_get(raw.bitmaps) == 0 || be32_get(raw.bitmaps) > LIMIT_BITMAPS)
		return damaged(d, "the number of bitmaps is %u", be32_get(raw.bitmaps));
	if (be32_get(raw.reserved) != 0)
		return damaged(d, "the bitmaps extension uses a reserved field");
	bytes = be64_get(raw.directory_bytes);
	if (bytes > LIMIT_BITMAP_DIRECTORY_BYTES)
		return damaged(d, "the bitmap directory is too large: %" PRIu64 " bytes", bytes);
	if (!is_aligned(be64_get(raw.directory_offset), cluster_bytes))
		return damaged(d, "the bitmap directory at %#" PRIx64 " is not aligned",
			       be64_get(raw.directory_offset));
	return 0;
}

static int check_crypto(const struct header_decoder *d, struct header_range data)
{
	uint64_t cluster_bytes = UINT64_C(1) << d->header->cluster_bits;
	struct crypto_raw raw;

	if (d->header->crypt_method != CRYPT_LUKS)
		return damaged(d, "there is a LUKS extension, but no LUKS encryption");
	if (data.len != sizeof(raw))
		return damaged(d, "the LUKS extension has %u bytes, not 16", data.len);
	memcpy(&raw, d->bytes + data.off, sizeof(raw));
	if (!is_aligned(be64_get(raw.offset), cluster_bytes))
		return damaged(d, "the LUKS header at %#" PRIx64 " is not aligned to a cluster",
			       be64_get(raw.offset));
	return 0;
}

struct bitmap_directory bitmap_directory_decode(const void *extension)
{
	struct bitmaps_raw raw;

	memcpy(&raw, extension, sizeof(raw));
	return (struct bitmap_directory){
		.bitmaps = be32_get(raw.bitmaps),
		.bytes = be64_get(raw.directory_bytes),
		.host = { be64_get(raw.directory_offset) },
	};
}

struct crypto_area crypto_area_decode(const void *extension)
{
	struct crypto_raw raw;

	memcpy(&raw, extension, sizeof(raw));
	return (struct crypto_area){
		.host = { be64_get(raw.offset) },
		.bytes = be64_get(raw.bytes),
	};
}

/* Of several extensions of a type the last one counts.  Unknown ones are nobody's error. */
static int take_extension(struct header_decoder *d, struct extension ext)
{
	struct qcow2_header *h = d->header;

	switch (ext.type) {
	case EXTENSION_BACKING_FORMAT:
		h->backing_format = ext.data;
		if (ext.data.len > LIMIT_BACKING_FORMAT)
			return damaged(d, "the backing format's name is too long: %u bytes",
				       ext.data.len);
		return 0;
	case EXTENSION_DATA_FILE:
		h->data_file_name = ext.data;
		return 0;
	case EXTENSION_BITMAPS:
		h->bitmaps = ext.data;
		return check_bitmaps(d, ext.data);
	case EXTENSION_CRYPTO:
		h->crypto = ext.data;
		return check_crypto(d, ext.data);
	default:
		return 0;
	}
}

int header_extensions_decode(struct header_decoder *d)
{
	uint64_t off = d->header->header_bytes;
	struct extension ext = { 0 };
	int more;

	while ((more = extension_next(d, &off, &ext)) > 0) {
		int err = take_extension(d, ext);

		if (err)
			return err;
	}
	if (more < 0)
		return more;
	if (d->header->crypt_method == CRYPT_LUKS && d->header->crypto.len == 0)
		return damaged(d, "encrypted with LUKS, but without the LUKS extension");
	return 0;
}

/* The name of an incompatible feature in @table, or "" when it has none. */
static void feature_name(const struct header_decoder *d, struct header_range table, unsigned bit,
			 char name[static FEATURE_NAME_BYTES + 1])
{
	struct feature_raw raw;

	name[0] = '\0';
	for (uint32_t at = 0; at + sizeof(raw) <= table.len; at += (uint32_t)sizeof(raw)) {
		memcpy(&raw, d->bytes + table.off + at, sizeof(raw));
		if (raw.set != 0 || raw.bit != bit)
			continue;
		memcpy(name, raw.name, FEATURE_NAME_BYTES);
		name[FEATURE_NAME_BYTES] = '\0';
	}
	for (; *name; name++)
		if (*name < ' ' || *name > '~')
			*name = '?';
}

void header_feature_names(const struct header_decoder *d, uint64_t bits, char *text, size_t size)
{
	uint64_t off = d->header->header_bytes;
	struct header_range table = { 0 };
	struct extension ext = { 0 };
	const char *comma = "";
	size_t used = 0;

	while (extension_next(d, &off, &ext) > 0)
		if (ext.type == EXTENSION_FEATURE_NAMES)
			table = ext.data;
	text[0] = '\0';
	for (unsigned bit = 0; bit < 64 && used < size; bit++) {
		char name[FEATURE_NAME_BYTES + 1];

		if (!(bits >> bit & 1))
			continue;
		feature_name(d, table, bit, name);
		used += (size_t)snprintf(text + used, size - used, "%s%s%sbit %u", comma, name,
					 name[0] ? ", " : "", bit);
		comma = "; ";
	}
}
