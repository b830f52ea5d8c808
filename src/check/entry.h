/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is wrong with an entry of an L2 table?  Unlike l2_decode(), which gives the engine either a
 * usable mapping or none, this tells faults apart and goes on where QEMU's check goes on
 * (specification: "Cluster mapping").
 */
#ifndef CHECK_ENTRY_H
#define CHECK_ENTRY_H

#include "format.h"

enum entry_kind {
	ENTRY_EMPTY, /* refers to nothing */
	ENTRY_CLUSTER, /* data, or set aside for zeros */
	ENTRY_STREAM, /* compressed */
};

enum entry_fault {
	ENTRY_RESERVED_BITS = 1 << 0,
	ENTRY_MISALIGNED = 1 << 1,
	ENTRY_COPIED_STREAM = 1 << 2, /* COPIED on a compressed cluster */
	ENTRY_STREAM_BITMAP = 1 << 3, /* subclusters on a compressed cluster */
	ENTRY_STREAM_OUTSIDE = 1 << 4, /* a compressed cluster with an external data file */
	ENTRY_BOTH_BITS = 1 << 5, /* a subcluster is said to hold data and to be zero */
	ENTRY_BITS_WITHOUT_CLUSTER = 1 << 6, /* subclusters hold data, but there is no cluster */
};

struct entry {
	enum entry_kind kind;
	unsigned faults; /* enum entry_fault */
	bool copied;
	struct host host; /* of CLUSTER and STREAM, even if misaligned */
	uint32_t len; /* of the range that is referred to, from host on; 0: nothing to count */
};

#define L1_RESERVED UINT64_C(0x7f000000000001ff)

struct entry entry_judge(const struct geometry *g, bool data_file, struct l2_word word);

/*
 * Change the word so that its faults are gone, as far as that loses no data that could be read:
 * true when it has changed.
 */
bool entry_mend(const struct geometry *g, bool data_file, struct l2_word *word);

/* What is wrong, for a human; of several faults the first. */
const char *entry_fault_text(unsigned faults);

#endif
