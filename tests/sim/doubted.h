/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to doubts: what its files share. */
#ifndef DOUBTED_H
#define DOUBTED_H

#include "doubts.h"

#define FILES 2u
#define SECTORS (SPARSE_MAX / SECTOR_SIZE)
#define MOST_CONTENTS 256u /* of a sector */
#define MOST_CHOICES 256u
#define MOST_SIZES 256u
#define NOTHING UINT32_MAX

enum fate { FATE_OPEN, FATE_LOST, FATE_KEPT };

/* A piece that has to do with a sector. */
struct touch {
	uint32_t piece;
	uint32_t next; /* for the same sector; NOTHING: none */
};

/* A sector that may hold one thing or another. */
struct doubt {
	struct file *file;
	uint64_t sector;
	uint32_t first, last; /* touches, oldest first */
	uint32_t base; /* what was there; in contents */
	uint32_t content; /* the first of those that are possible, when no hole is in doubt */
	uint32_t contents; /* how many */
	bool holes; /* one may have been punched over it, and over others */
	bool chosen;
};

struct file {
	struct sparse *bytes;
	uint64_t size; /* of those that are possible: no piece ends between it and the next cluster */
	uint32_t *doubt; /* by sector: its number, from 1 on */
	uint64_t *known; /* by sector: see doubts_known() */
	uint64_t first, end; /* sectors; all doubts are between */
	uint64_t digest; /* the sum of its sectors' */
};

struct choice {
	uint32_t what; /* doubt or piece */
	bool hole;
	uint32_t now, all;
};

struct doubts {
	struct doubts_files files;
	struct file file[FILES];
	enum fate *fate; /* by piece */
	uint32_t fate_room;
	struct touch *touch;
	uint32_t touches, touch_room;
	struct doubt *doubt;
	uint32_t doubts, doubt_room;
	uint8_t (*content)[SECTOR_SIZE];
	uint32_t contents, content_room;
	/* choices: the image's truncates and its size, then what has been asked for */
	unsigned truncates;
	uint32_t truncate[DOUBTS_TRUNCATES]; /* pieces */
	unsigned kept; /* bits: which of them are */
	uint64_t size[MOST_SIZES];
	unsigned sizes, sized;
	struct choice choice[MOST_CHOICES];
	uint32_t choices, remade;
	uint32_t *chosen; /* doubts whose bytes are there */
	uint32_t nchosen, chosen_room;
	uint64_t round; /* of known */
};

extern struct doubts doubts;

static inline struct file *doubts_file_of(uint32_t piece)
{
	return &doubts.file[piece >= doubts.files.image_pieces];
}

/* An array of *@room gets room for @needed of @bytes each. */
void *doubts_room(void *array, uint32_t *room, uint32_t needed, size_t bytes);

/* Behind the other contents: all that may be in it now, doubts.contents - the returned one of them. */
uint32_t doubts_list(const struct doubt *doubt);

/* Every sector that a piece which may survive has to do with; what may be in it is not known yet. */
void doubts_touch(void);

/* Before any choice: what survives anyway, and of the truncates those that are kept now. */
void doubts_decide_truncates(void);

/* Then: sizes that the image may have, the largest first, so that no doubt is behind it. */
void doubts_list_sizes(void);

/* All ends of a data file: nobody looks at its size. */
uint64_t doubts_data_size(void);

#endif
