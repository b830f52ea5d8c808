/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to the judge: what it has counted so far. */
#ifndef COUNT_H
#define COUNT_H

#include "judge.h"

#include "format.h"

/* What a host cluster is used for.  Nothing may be two things. */
enum use {
	USE_NONE,
	USE_HEADER,
	USE_LUKS,
	USE_REFCOUNT_TABLE,
	USE_REFCOUNT_BLOCK,
	USE_L1,
	USE_SNAPSHOT_TABLE,
	USE_L2,
	USE_DATA
};

struct judge {
	const struct sparse *file;
	const struct sparse *data; /* NULL: the same */
	struct qcow2_header header;
	struct geometry geo;
	struct crypto_area luks; /* of an encrypted image */
	uint64_t key; /* the same */
	uint64_t clusters; /* of the file, the last one may be cut off */
	uint32_t *references; /* by host cluster */
	uint8_t *use;
	bool *active; /* data that the active disk refers to already */
	uint64_t room;
	uint8_t stream[2u << LIMIT_CLUSTER_BITS_MAX]; /* of a compressed cluster */
	uint8_t unpacked[1u << LIMIT_CLUSTER_BITS_MAX];
	struct sparse scratch; /* the same, for the visitor */
	struct verdict verdict;
	const struct judge_visitor *visitor;
};

/* Take note of a corruption; the first one is told. */
void judge_corrupt(struct judge *j, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* An entry of a table; @off is a multiple of 8. */
uint64_t judge_word_at(const struct judge *j, uint64_t off);

/* The offset of the first word in [off, end) that is not 0, or @end. */
uint64_t judge_next_word(const struct judge *j, uint64_t off, uint64_t end);

const char *judge_use_name(enum use use);

/* Bytes [off, off + len) are used @use; false when that cannot be. */
bool judge_refer(struct judge *j, uint64_t off, uint64_t len, enum use use);

uint64_t judge_refcount_of(const struct judge *j, uint64_t cluster);

/* Count the refcount table and its blocks. */
void judge_refer_to_blocks(struct judge *j);

/* When all references are counted. */
void judge_compare_all(struct judge *j);

#endif
