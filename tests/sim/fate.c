/* SPDX-License-Identifier: GPL-2.0-or-later */
/* All of an operation, some of it, or none. */
#include "fate.h"

void hostop_apply(struct sparse *bytes, const struct hostop *op)
{
	switch (op->kind) {
	case HOSTOP_WRITE:
		sparse_write(bytes, op->off, op->data, op->len);
		break;
	case HOSTOP_PUNCH:
		sparse_punch(bytes, op->off, op->len);
		break;
	case HOSTOP_TRUNCATE:
		sparse_resize(bytes, op->off);
		break;
	}
}

static void apply_torn_write(struct sparse *bytes, const struct hostop *op, uint64_t len,
			     struct fate fate)
{
	for (uint64_t at = 0; at < len;) {
		uint64_t n = min_u64(len - at, SECTOR_SIZE - (op->off + at) % SECTOR_SIZE);

		if (rng_percent(fate.rng, fate.keep_percent))
			sparse_write(bytes, op->off + at, op->data + at, n);
		at += n;
	}
}

static void apply_torn_punch(struct sparse *bytes, const struct hostop *op, struct fate fate)
{
	for (uint64_t at = 0; at < op->len;) {
		uint64_t n = min_u64(op->len - at, PAGE_BYTES - (op->off + at) % PAGE_BYTES);

		if (rng_percent(fate.rng, fate.keep_percent))
			sparse_punch(bytes, op->off + at, n);
		at += n;
	}
}

/* The size is metadata of the host's file system: it survives or not apart from the bytes. */
static void apply_some_write(struct sparse *bytes, const struct hostop *op, struct fate fate)
{
	uint64_t len = op->len;

	if (op->off + len > bytes->size) {
		if (fate.grow || rng_percent(fate.rng, fate.keep_percent))
			sparse_resize(bytes, op->off + len);
		else if (op->off >= bytes->size)
			return;
		else
			len = bytes->size - op->off;
	}
	if (fate.tear)
		apply_torn_write(bytes, op, len, fate);
	else if (rng_percent(fate.rng, fate.keep_percent))
		sparse_write(bytes, op->off, op->data, len);
}

void hostop_apply_some(struct sparse *bytes, const struct hostop *op, struct fate fate)
{
	if (op->spent)
		return;
	if (op->forced || fate.keep_percent >= 100)
		hostop_apply(bytes, op);
	else if (fate.keep_percent == 0)
		return;
	else if (op->kind == HOSTOP_WRITE)
		apply_some_write(bytes, op, fate);
	else if (op->kind == HOSTOP_PUNCH && fate.tear)
		apply_torn_punch(bytes, op, fate);
	else if (rng_percent(fate.rng, fate.keep_percent))
		hostop_apply(bytes, op);
}
