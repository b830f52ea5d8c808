/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From the bytes of a compressed cluster to a cluster: no I/O, no memory but what was made at open. */
#ifndef INFLATE_H
#define INFLATE_H

#include "base.h"

/* As the header numbers them. */
enum inflate_kind { INFLATE_ZLIB, INFLATE_ZSTD };

/* Who decompresses one cluster at a time; not for two threads at once. */
struct inflater;

/* @kinds: a bit for each kind that will be asked for.  NULL: not enough memory. */
struct inflater *inflater_open(unsigned kinds);
void inflater_free(struct inflater *inflater); /* NULL is fine */

/*
 * Fill @out, exactly (specification: "Compressed Clusters").  @in is hostile, and reaches to the
 * end of a sector or farther: what follows the stream is ignored.  -EIO when it does not make a
 * cluster.
 */
int inflate_cluster(struct inflater *inflater, enum inflate_kind kind, const void *in,
		    size_t in_bytes, void *out, size_t out_bytes);

#endif
