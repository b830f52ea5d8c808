/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How often is each host cluster referred to?  Counters in pages of neighbouring clusters, which
 * come into being with the first reference: a table entry of 8 bytes costs at most one page,
 * wherever in a sparse file it points.
 */
#ifndef CHECK_REFS_H
#define CHECK_REFS_H

#include "base.h"

/* A page never straddles two refcount blocks, the smallest of which has 64 refcounts. */
#define REF_PAGE_BITS 5u
#define REF_PAGE_CLUSTERS (1u << REF_PAGE_BITS)

/* Counting stops here; nobody can tell such counts apart. */
#define REF_COUNT_MOST UINT32_MAX

struct ref_page {
	uint64_t number; /* of its first cluster >> REF_PAGE_BITS */
	uint32_t stored_one; /* bit per cluster: the image's refcount is exactly 1 */
	uint32_t metadata; /* is part of a table */
	uint32_t clash; /* of more than one */
	uint32_t compared; /* is a refcount block that was read */
	uint32_t count[REF_PAGE_CLUSTERS];
};

struct refs {
	struct ref_page **chunk; /* arrays of pages, in the order in which they came */
	uint32_t chunks;
	uint32_t pages;
	uint32_t *index; /* hash table of page indices + 1 */
	uint32_t index_mask;
	uint64_t multiplier; /* of the hash */
	struct ref_page *last; /* found */
	uint64_t missing; /* number of a page that is not there, plus 1; 0: none */
	uint64_t end_cluster; /* behind the highest cluster that has been counted */
	uint64_t most_bytes; /* of pages; by the owner */
};

/* All zeros, but for most_bytes, is an empty one. */
void refs_free(struct refs *refs);

/* The page of @host_cluster, or NULL when nothing near it is counted. */
struct ref_page *refs_find(struct refs *refs, uint64_t host_cluster);

/* By index, 0 to pages - 1, in no order. */
struct ref_page *refs_page(const struct refs *refs, uint32_t index);

/* Count @host_cluster @times more.  0, or -ENOMEM: also beyond most_bytes. */
int refs_add(struct refs *refs, uint64_t host_cluster, uint32_t times);

/* Count it as part of one more table.  As refs_add(). */
int refs_add_metadata(struct refs *refs, uint64_t host_cluster, uint32_t times);

uint32_t refs_count(struct refs *refs, uint64_t host_cluster);

static inline uint32_t ref_bit(uint64_t host_cluster)
{
	return UINT32_C(1) << (host_cluster & (REF_PAGE_CLUSTERS - 1));
}

/* True if the image's refcount of it is 1, as refcounts_compare() has found. */
bool refs_stored_one(struct refs *refs, uint64_t host_cluster);

/* True the first time, and always for what is not counted: the refcount block there is to be compared. */
bool refs_first_compared(struct refs *refs, uint64_t host_cluster);

/* True if no other table than one lies there, so that it can be written. */
bool refs_is_own(struct refs *refs, uint64_t host_cluster);

#endif
