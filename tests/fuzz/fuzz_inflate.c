/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hostile compressed clusters: whatever the bytes, a whole cluster comes of them or an error, and
 * nothing beside the cluster is touched.
 *
 * The first byte says which compression and which size of cluster; the rest is the stream.
 */
#include "base.h"
#include "inflate.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct inflater *inflater;
	enum inflate_kind kind = INFLATE_ZLIB;
	size_t cluster;
	uint8_t *in, *out;
	int err;

	if (!inflater)
		inflater = inflater_open(1u << INFLATE_ZLIB | 1u << INFLATE_ZSTD);
	must(inflater);
	if (size < 2)
		return 0;
	if (data[0] & 1)
		kind = INFLATE_ZSTD;
	cluster = (size_t)SECTOR_SIZE << (data[0] >> 1) % 8;
	/* Exactly as large as they say, so that the sanitizer sees each byte too far. */
	in = malloc(size - 1);
	out = malloc(cluster);
	must(in && out);
	memcpy(in, data + 1, size - 1);
	err = inflate_cluster(inflater, kind, in, size - 1, out, cluster);
	must(err <= 0);
	free(in);
	free(out);
	return 0;
}
