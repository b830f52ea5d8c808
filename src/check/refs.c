/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sparse counters: pages found by an open hash table of their indices. */
#include "refs.h"
#include "format.h"
#include "hash.h"

#include <errno.h>
#include <stdlib.h>

#define CHUNK_PAGES 1024u
#define INDEX_LEAST 1024u

void refs_free(struct refs *refs)
{
	for (uint32_t i = 0; i < refs->chunks; i++)
		free(refs->chunk[i]);
	free(refs->chunk);
	free(refs->index);
	*refs = (struct refs){ 0 };
}

struct ref_page *refs_page(const struct refs *refs, uint32_t index)
{
	return &refs->chunk[index / CHUNK_PAGES][index % CHUNK_PAGES];
}

/* The slot of page @number, or the free one where it belongs. */
static uint32_t *find_slot(const struct refs *refs, uint64_t number)
{
	uint32_t slot = hash_slot(refs->multiplier, number, refs->index_mask);

	while (refs->index[slot] && refs_page(refs, refs->index[slot] - 1)->number != number)
		slot = (slot + 1) & refs->index_mask;
	return &refs->index[slot];
}

struct ref_page *refs_find(struct refs *refs, uint64_t host_cluster)
{
	uint64_t number = host_cluster >> REF_PAGE_BITS;
	uint32_t *slot;

	if (refs->last && refs->last->number == number)
		return refs->last;
	if (!refs->index || refs->missing == number + 1)
		return NULL;
	slot = find_slot(refs, number);
	if (!*slot) {
		refs->missing = number + 1;
		return NULL;
	}
	refs->last = refs_page(refs, *slot - 1);
	return refs->last;
}

/* Twice the index, so that it is never more than half full. */
static int grow_index(struct refs *refs)
{
	uint32_t slots = refs->index ? 2 * (refs->index_mask + 1) : INDEX_LEAST;
	uint32_t *index = calloc(slots, sizeof(*index));

	if (!index)
		return -ENOMEM;
	if (!refs->index)
		refs->multiplier = hash_multiplier();
	free(refs->index);
	refs->index = index;
	refs->index_mask = slots - 1;
	for (uint32_t i = 0; i < refs->pages; i++)
		*find_slot(refs, refs_page(refs, i)->number) = i + 1;
	return 0;
}

static int grow_chunks(struct refs *refs)
{
	struct ref_page **chunk;

	if ((refs->pages + UINT64_C(1)) * sizeof(struct ref_page) > refs->most_bytes)
		return -ENOMEM;
	chunk = realloc(refs->chunk, (refs->chunks + 1) * sizeof(*chunk));
	if (!chunk)
		return -ENOMEM;
	refs->chunk = chunk;
	chunk[refs->chunks] = calloc(CHUNK_PAGES, sizeof(struct ref_page));
	if (!chunk[refs->chunks])
		return -ENOMEM;
	refs->chunks++;
	return 0;
}

static int make_page(struct refs *refs, uint64_t host_cluster, struct ref_page **page)
{
	uint64_t number = host_cluster >> REF_PAGE_BITS;
	int err = 0;

	if (refs->pages == refs->chunks * CHUNK_PAGES)
		err = grow_chunks(refs);
	if (!err && (!refs->index || 2 * refs->pages > refs->index_mask))
		err = grow_index(refs);
	if (err)
		return err;
	*page = refs_page(refs, refs->pages);
	(*page)->number = number;
	*find_slot(refs, number) = ++refs->pages;
	refs->last = *page;
	refs->missing = 0;
	return 0;
}

static int add(struct refs *refs, uint64_t host_cluster, uint32_t times, struct ref_page **page)
{
	uint32_t *count;

	*page = refs_find(refs, host_cluster);
	if (!*page) {
		int err = make_page(refs, host_cluster, page);

		if (err)
			return err;
	}
	count = &(*page)->count[host_cluster & (REF_PAGE_CLUSTERS - 1)];
	*count = (uint32_t)min_u64((uint64_t)*count + times, REF_COUNT_MOST);
	refs->end_cluster = max_u64(refs->end_cluster, host_cluster + 1);
	return 0;
}

int refs_add(struct refs *refs, uint64_t host_cluster, uint32_t times)
{
	struct ref_page *page;

	return add(refs, host_cluster, times, &page);
}

int refs_add_metadata(struct refs *refs, uint64_t host_cluster, uint32_t times)
{
	struct ref_page *page;
	int err = add(refs, host_cluster, times, &page);

	if (err)
		return err;
	page->clash |= page->metadata & ref_bit(host_cluster);
	page->metadata |= ref_bit(host_cluster);
	return 0;
}

uint32_t refs_count(struct refs *refs, uint64_t host_cluster)
{
	const struct ref_page *page = refs_find(refs, host_cluster);

	return page ? page->count[host_cluster & (REF_PAGE_CLUSTERS - 1)] : 0;
}

bool refs_stored_one(struct refs *refs, uint64_t host_cluster)
{
	const struct ref_page *page = refs_find(refs, host_cluster);

	return page && (page->stored_one & ref_bit(host_cluster));
}

bool refs_first_compared(struct refs *refs, uint64_t host_cluster)
{
	struct ref_page *page = refs_find(refs, host_cluster);
	bool first;

	if (!page || !page->count[host_cluster & (REF_PAGE_CLUSTERS - 1)])
		return true;
	first = !(page->compared & ref_bit(host_cluster));
	page->compared |= ref_bit(host_cluster);
	return first;
}

bool refs_is_own(struct refs *refs, uint64_t host_cluster)
{
	const struct ref_page *page = refs_find(refs, host_cluster);

	return page && !(page->clash & ref_bit(host_cluster));
}
