/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sparse files in memory; pages come from a pool and go back to it. */
#include "sparse.h"

#include "digest.h"
#include "memory.h"

#include <stdlib.h>

const uint8_t sparse_zeros[PAGE_BYTES];

#define MAX_PAGES (SPARSE_MAX >> PAGE_SHIFT)

static uint8_t **pool;
static uint64_t pooled, pool_room;

static uint8_t *page_get(void)
{
	if (pooled)
		return pool[--pooled];
	return xmalloc(PAGE_BYTES);
}

static void page_put(uint8_t *page)
{
	if (!page)
		return;
	if (pooled == pool_room) {
		pool_room = pool_room ? 2 * pool_room : 1024;
		pool = xrealloc(pool, pool_room * sizeof(*pool));
	}
	pool[pooled++] = page;
}

void sparse_init(struct sparse *s)
{
	*s = (struct sparse){
		.page = reserve_zeroed(MAX_PAGES * sizeof(*s->page)),
		.used = reserve_zeroed(MAX_PAGES * sizeof(*s->used)),
		.seen = reserve_zeroed(MAX_PAGES),
		.undo = reserve_zeroed(MAX_PAGES * sizeof(*s->undo)),
		.saved = reserve_zeroed(MAX_PAGES),
		.digest = reserve_zeroed(MAX_PAGES * sizeof(*s->digest)),
		.digested = reserve_zeroed(MAX_PAGES),
	};
}

void sparse_reset(struct sparse *s)
{
	must(!s->undoing);
	for (uint64_t i = 0; i < s->nused; i++) {
		page_put(s->page[s->used[i]]);
		s->page[s->used[i]] = NULL;
		s->seen[s->used[i]] = 0;
		s->digested[s->used[i]] = 0;
	}
	s->nused = 0;
	s->size = 0;
}

/* Before the page at @index changes. */
static void save_page(struct sparse *s, uint64_t index)
{
	uint8_t *copy = NULL;

	s->digested[index] = 0;
	if (!s->undoing || s->saved[index])
		return;
	s->saved[index] = 1;
	if (s->page[index]) {
		copy = page_get();
		memcpy(copy, s->page[index], PAGE_BYTES);
	}
	s->undo[s->nundo++] = (struct undo_page){ .index = index, .copy = copy };
}

static void mark_used(struct sparse *s, uint64_t index)
{
	if (s->seen[index])
		return;
	s->seen[index] = 1;
	s->used[s->nused++] = index;
}

static uint8_t *page_to_change(struct sparse *s, uint64_t index)
{
	must(index < MAX_PAGES);
	save_page(s, index);
	if (!s->page[index]) {
		s->page[index] = page_get();
		memset(s->page[index], 0, PAGE_BYTES);
		mark_used(s, index);
	}
	return s->page[index];
}

static void drop_page(struct sparse *s, uint64_t index)
{
	if (!s->page[index])
		return;
	save_page(s, index);
	page_put(s->page[index]);
	s->page[index] = NULL;
}

/* How many of @len bytes at @off lie in the first page. */
static uint64_t in_page(uint64_t off, uint64_t len)
{
	return min_u64(len, PAGE_BYTES - off % PAGE_BYTES);
}

void sparse_read(const struct sparse *s, uint64_t off, void *buf, uint64_t len)
{
	uint8_t *to = buf;
	uint64_t end = min_u64(s->size, SPARSE_MAX);
	uint64_t there = off < end ? min_u64(len, end - off) : 0;

	sparse_ask(s, off, len);
	memset(to + there, 0, len - there);
	while (there) {
		uint64_t n = in_page(off, there);
		const uint8_t *page = s->page[off >> PAGE_SHIFT];

		if (page)
			memcpy(to, page + off % PAGE_BYTES, n);
		else
			memset(to, 0, n);
		to += n;
		off += n;
		there -= n;
	}
}

void sparse_write(struct sparse *s, uint64_t off, const void *buf, uint64_t len)
{
	s->size = max_u64(s->size, off + len);
	sparse_poke(s, off, buf, len);
}

void sparse_poke(struct sparse *s, uint64_t off, const void *buf, uint64_t len)
{
	const uint8_t *from = buf;

	while (len) {
		uint64_t n = in_page(off, len);

		memcpy(page_to_change(s, off >> PAGE_SHIFT) + off % PAGE_BYTES, from, n);
		from += n;
		off += n;
		len -= n;
	}
}

void sparse_punch(struct sparse *s, uint64_t off, uint64_t len)
{
	len = off < SPARSE_MAX ? min_u64(len, SPARSE_MAX - off) : 0;
	while (len) {
		uint64_t n = in_page(off, len);
		uint64_t index = off >> PAGE_SHIFT;

		if (n == PAGE_BYTES)
			drop_page(s, index);
		else if (s->page[index])
			memset(page_to_change(s, index) + off % PAGE_BYTES, 0, n);
		off += n;
		len -= n;
	}
}

void sparse_resize(struct sparse *s, uint64_t size)
{
	if (size < s->size)
		sparse_punch(s, size, s->size - size);
	s->size = size;
}

void sparse_copy_page(struct sparse *s, const struct sparse *from, uint64_t index)
{
	if (from->page[index])
		memcpy(page_to_change(s, index), from->page[index], PAGE_BYTES);
	else
		drop_page(s, index);
}

uint64_t digest_sector(uint64_t sector, const uint8_t *bytes)
{
	if (memcmp(bytes, sparse_zeros, SECTOR_SIZE) == 0)
		return 0;
	return digest_add(digest_bytes(bytes, SECTOR_SIZE), sector);
}

uint64_t sparse_digest(struct sparse *s)
{
	uint64_t sum = 0;

	for (uint64_t i = 0; i < s->nused; i++) {
		uint64_t index = s->used[i], page = 0;
		uint64_t sector = index * (PAGE_BYTES / SECTOR_SIZE);

		for (uint64_t at = 0; !s->digested[index] && s->page[index] && at < PAGE_BYTES;
		     at += SECTOR_SIZE)
			page += digest_sector(sector++, s->page[index] + at);
		if (!s->digested[index])
			s->digest[index] = page;
		s->digested[index] = 1;
		sum += s->digest[index];
	}
	return sum;
}

uint64_t sparse_hole(const struct sparse *s, uint64_t off, uint64_t len)
{
	uint64_t hole = 0;

	while (hole < len) {
		uint64_t at = off + hole;

		if (at >= min_u64(s->size, SPARSE_MAX))
			return len;
		if (s->page[at >> PAGE_SHIFT])
			break;
		hole += in_page(at, len - hole);
	}
	return hole;
}

void sparse_undo_begin(struct sparse *s)
{
	must(!s->undoing);
	s->undoing = true;
	s->undo_size = s->size;
	s->nundo = 0;
}

void sparse_undo(struct sparse *s)
{
	s->undoing = false;
	s->size = s->undo_size;
	for (uint64_t i = 0; i < s->nundo; i++) {
		const struct undo_page *undo = &s->undo[i];

		page_put(s->page[undo->index]);
		s->page[undo->index] = undo->copy;
		s->digested[undo->index] = 0;
		s->saved[undo->index] = 0;
		if (undo->copy)
			mark_used(s, undo->index);
	}
	s->nundo = 0;
}

void sparse_undo_forget(struct sparse *s)
{
	s->undoing = false;
	for (uint64_t i = 0; i < s->nundo; i++) {
		page_put(s->undo[i].copy);
		s->saved[s->undo[i].index] = 0;
	}
	s->nundo = 0;
}
