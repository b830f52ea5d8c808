/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Is an image sound?  Counts who refers to each host cluster and holds that against the refcounts,
 * as qemu-img check does.
 */
#ifndef JUDGE_H
#define JUDGE_H

#include "sparse.h"

/* What the judge comes by on its way; guest addresses in bytes. */
struct judge_visitor {
	void *arg;
	/* @len bytes at @guest are at @host of @file: image, data file, @below, or what was compressed. */
	void (*data)(void *arg, bool snapshot, uint64_t guest, const struct sparse *file,
		     uint64_t host, uint64_t len);
	/* They read as zeros. */
	void (*zeros)(void *arg, bool snapshot, uint64_t guest, uint64_t len);
	const struct sparse *below; /* what absent clusters read as; NULL: zeros */
	/* They read as zeros, or absent; and this is what who reads the raw data file alone sees.  May be NULL. */
	void (*alone)(void *arg, uint64_t guest, const struct sparse *file, uint64_t len);
};

struct verdict {
	uint64_t corruptions;
	uint64_t leaks; /* clusters whose refcount is higher than their references */
	uint64_t used_end; /* bytes: behind the last cluster that has a refcount */
	uint64_t mapped; /* host clusters that the active disk refers to, each time it does */
	uint64_t snapshots;
	uint64_t cluster_bytes;
	uint64_t disk_bytes;
	char why[256]; /* the first corruption */
	char leak[128]; /* the first leak */
};

/*
 * @data is the external data file, NULL if there is none.  @visitor may be NULL; it is not called for
 * what is not sound.
 */
struct verdict judge(const struct sparse *file, const struct sparse *data,
		     const struct judge_visitor *visitor);

/* Of the file that was judged last: has any cluster that [at, end) touches no refcount? */
bool judge_uncounted(uint64_t at, uint64_t end);

#endif
