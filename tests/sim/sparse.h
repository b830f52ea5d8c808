/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A sparse array of bytes in 4 KiB pages: what is in a simulated file. */
#ifndef SPARSE_H
#define SPARSE_H

#include "base.h"

#define PAGE_SHIFT 12u
#define PAGE_BYTES (1u << PAGE_SHIFT)
/* The largest file that a simulation may make; the page table of it is reserved, not used. */
#define SPARSE_MAX (16 * GIB)

struct undo_page {
	uint64_t index;
	uint8_t *copy; /* NULL: there was a hole */
};

/* Holes read as zeros, and so does everything at and beyond size. */
struct sparse {
	uint64_t size; /* bytes */
	uint8_t **page; /* by index; NULL: a hole */
	uint64_t *used; /* indices of pages that have ever been there, since the last reset */
	uint64_t nused;
	uint8_t *seen; /* by page index: is it among used? */

	bool undoing; /* changes are remembered */
	uint64_t undo_size;
	struct undo_page *undo;
	uint64_t nundo;
	uint8_t *saved; /* by page index: is it among undo? */

	const struct sparse_watch *watch; /* NULL: nobody cares */
	uint64_t *digest; /* by page index */
	uint8_t *digested; /* is it up to date? */
};

/* Who wants to know of these bytes before somebody makes something of them. */
struct sparse_watch {
	void (*before)(const struct sparse *s, uint64_t off, uint64_t len);
};

void sparse_init(struct sparse *s);

/* Empty, of size 0. */
void sparse_reset(struct sparse *s);

/* Who does not use sparse_read() says so before it looks at bytes. */
static inline void sparse_ask(const struct sparse *s, uint64_t off, uint64_t len)
{
	if (s->watch)
		s->watch->before(s, off, len);
}

/* Any range: zeros where there is nothing. */
void sparse_read(const struct sparse *s, uint64_t off, void *buf, uint64_t len);

/* Grows the file when it ends before off + len. */
void sparse_write(struct sparse *s, uint64_t off, const void *buf, uint64_t len);

/* The size stays, even if it ends before. */
void sparse_poke(struct sparse *s, uint64_t off, const void *buf, uint64_t len);

/* Bytes become zeros; the size stays. */
void sparse_punch(struct sparse *s, uint64_t off, uint64_t len);

/* What is cut off is gone: zeros when the file grows again. */
void sparse_resize(struct sparse *s, uint64_t size);

/* The page is as in @from.  The size is not looked at. */
void sparse_copy_page(struct sparse *s, const struct sparse *from, uint64_t index);

extern const uint8_t sparse_zeros[PAGE_BYTES];

/* The bytes at @off, which do not cross a page. */
static inline const uint8_t *sparse_at(const struct sparse *s, uint64_t off)
{
	const uint8_t *page = off < min_u64(s->size, SPARSE_MAX) ? s->page[off >> PAGE_SHIFT] :
								   NULL;

	return (page ? page : sparse_zeros) + off % PAGE_BYTES;
}

/* The sum of all sectors' (digest.h). */
uint64_t sparse_digest(struct sparse *s);

/* How many of @len bytes at @off are in holes; the first of them may not be, then 0. */
uint64_t sparse_hole(const struct sparse *s, uint64_t off, uint64_t len);

/* Remember what changes do from here on, and make it undone. */
void sparse_undo_begin(struct sparse *s);
void sparse_undo(struct sparse *s);
/* Keep what they did. */
void sparse_undo_forget(struct sparse *s);

#endif
