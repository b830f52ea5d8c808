/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shifts and masks that follow from the header, worked out once. */
#include "format.h"

#define SUBCLUSTERS_LOG2 5u

struct geometry qcow2_geometry(const struct qcow2_header *header)
{
	bool extended = header->incompatible & QCOW2_EXTENDED_L2;
	unsigned entry_bits = extended ? 4 : 3;
	unsigned order = header->refcount_order;
	struct geometry g = {
		.version = header->version,
		.cluster_bits = header->cluster_bits,
		.cluster_bytes = 1u << header->cluster_bits,
		.l2_bits = header->cluster_bits - entry_bits,
		.l2_entry_bytes = 1u << entry_bits,
		.extended = extended,
		.subcluster_bits = header->cluster_bits - (extended ? SUBCLUSTERS_LOG2 : 0),
		.refcount_order = order,
		.refcount_block_bits = header->cluster_bits + 3 - order,
		.refcount_max = UINT64_MAX >> (64 - (1u << order)),
		.size_bytes = header->size_bytes,
		.data_apart = header->incompatible & QCOW2_DATA_FILE,
	};

	g.slice_bytes = (uint32_t)min_u64(g.cluster_bytes, LIMIT_SLICE_BYTES);
	g.slice_bits = (unsigned)__builtin_ctz(g.slice_bytes);
	g.slice_entries_bits = g.slice_bits - entry_bits;
	g.slice_refcounts_bits = g.slice_bits + 3 - order;
	return g;
}
