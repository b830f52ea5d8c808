/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest range -> extent: the hit path.
 *
 * No lock and no store to shared memory: L1 and L2 entries are loaded atomically, and what keeps
 * the host cluster alive is the epoch that the part has entered.
 */
#include "map.h"

#include "cache.h"
#include "claim.h"

#include <errno.h>

/* What the entry means; @owned: what a shared table maps is shared, whatever its entries say. */
static int extent_of(struct l2_entry entry, uint64_t word, bool owned, struct extent *extent)
{
	*extent = (struct extent){ .host = entry.host, .in_place = entry.copied && owned };
	switch (entry.kind) {
	case L2_DATA:
		extent->kind = EXTENT_DATA;
		return 0;
	case L2_ZERO:
		extent->kind = EXTENT_ZERO;
		extent->in_place = false;
		return 0;
	case L2_ZERO_ALLOCATED:
		extent->kind = EXTENT_ZERO;
		extent->preallocated = true;
		return 0;
	case L2_ABSENT:
		extent->kind = EXTENT_ABSENT;
		extent->in_place = false;
		return 0;
	case L2_ABSENT_ALLOCATED:
		extent->kind = EXTENT_ABSENT;
		extent->preallocated = true;
		return 0;
	case L2_COMPRESSED:
		extent->kind = EXTENT_PACKED;
		extent->entry = word;
		return 0;
	case L2_INVALID:
		break;
	}
	return -EIO;
}

/* Does the cluster that begins with this entry go on where the extent ends? */
static bool extent_continues(struct l2_entry entry, bool owned, const struct extent *first,
			     uint64_t distance)
{
	struct extent next;

	if (first->kind == EXTENT_PACKED || extent_of(entry, 0, owned, &next) ||
	    next.kind != first->kind || next.in_place != first->in_place ||
	    next.preallocated != first->preallocated)
		return false;
	if (!extent_has_host(first))
		return true;
	return next.host.byte == first->host.byte + distance;
}

/* No L2 table: the rest of what it would map is absent. */
static void extent_no_table(const struct geometry *geo, struct guest guest, uint64_t len,
			    struct extent *extent)
{
	uint64_t covered = (uint64_t)1 << (geo->cluster_bits + geo->l2_bits);

	*extent = (struct extent){ .kind = EXTENT_ABSENT };
	extent->len = min_u64(len, covered - (guest.byte & (covered - 1)));
}

/*
 * How far the extent reaches; returns the distance of its end from the start of its first cluster.
 * Lengths count from there until the end; then from the guest offset that was asked for.
 */
static uint64_t reach(const struct node *node, struct guest guest, uint64_t wanted, bool owned,
		      const struct extent *extent)
{
	const struct geometry *geo = &node->geo;
	uint32_t entry = guest_slice_entry(geo, guest);
	uint32_t last = (1u << geo->slice_entries_bits) - 1;
	uint64_t distance = geo->cluster_bytes;
	uint64_t word;

	while (distance < wanted && entry < last) {
		if (!slice_peek(node, guest_slice(geo, guest), ++entry, &word) ||
		    !extent_continues(l2_decode(geo, word), owned, extent, distance))
			break;
		distance += geo->cluster_bytes;
	}
	return distance;
}

/* The same with extended L2, where @first is the first entry: the last cluster may end it. */
static uint64_t reach_extended(const struct node *node, struct guest guest, uint64_t wanted,
			       bool owned, const struct extent *extent, struct l2_word word)
{
	const struct geometry *geo = &node->geo;
	uint32_t entry = guest_slice_entry(geo, guest);
	uint32_t last = (1u << geo->slice_entries_bits) - 1;
	unsigned subcluster = guest_subcluster(geo, guest);
	unsigned alike = subcluster + l2_subclusters_alike(word, subcluster);
	uint64_t distance = (uint64_t)alike << geo->subcluster_bits;

	while (alike == SUBCLUSTERS && distance < wanted && entry < last) {
		if (!slice_peek_extended(node, guest_slice(geo, guest), ++entry, &word) ||
		    !extent_continues(l2_decode_extended(geo, word, 0), owned, extent, distance))
			break;
		alike = l2_subclusters_alike(word, 0);
		distance += (uint64_t)alike << geo->subcluster_bits;
	}
	return distance;
}

static int lookup_table(const struct node *node, struct guest guest, uint64_t len,
			struct extent *extent)
{
	const struct geometry *geo = &node->geo;
	struct l1_entry table = l1_decode(geo, be64_load(&node->l1[guest_l1_index(geo, guest)]));
	uint32_t entry = guest_slice_entry(geo, guest);
	uint32_t in_cluster = guest_in_cluster(geo, guest);
	struct l2_word word;
	struct l2_entry decoded;
	uint64_t distance;

	if (table.kind == L1_ABSENT) {
		extent_no_table(geo, guest, len, extent);
		return 0;
	}
	if (table.kind == L1_INVALID)
		return -EIO;
	if (geo->extended) {
		if (!slice_peek_extended(node, guest_slice(geo, guest), entry, &word))
			return -EAGAIN;
		decoded = l2_decode_extended(geo, word, guest_subcluster(geo, guest));
	} else {
		if (!slice_peek(node, guest_slice(geo, guest), entry, &word.entry))
			return -EAGAIN;
		decoded = l2_decode(geo, word.entry);
	}
	if (extent_of(decoded, word.entry, table.copied, extent))
		return -EIO;
	if (geo->data_apart && extent_has_host(extent) && !l2_in_place(geo, extent->host, guest))
		return -EIO;
	if (geo->extended)
		distance =
			reach_extended(node, guest, in_cluster + len, table.copied, extent, word);
	else
		distance = reach(node, guest, in_cluster + len, table.copied, extent);
	if (extent_has_host(extent))
		extent->host.byte += in_cluster;
	extent->len = min_u64(len, distance - in_cluster);
	return 0;
}

int map_lookup(const struct node *node, struct guest guest, uint64_t len, struct extent *extent)
{
	uint64_t backed_bytes = node_backed_bytes(node);
	bool backed = guest.byte < backed_bytes;

	if (node->raw) {
		*extent = (struct extent){ .kind = EXTENT_DATA, .len = len };
		extent->host.byte = guest.byte;
		return 0;
	}
	if (backed)
		len = min_u64(len, backed_bytes - guest.byte);

	int err = lookup_table(node, guest, len, extent);

	extent->backed = backed;
	return err;
}

int map_chain(struct part *part)
{
	struct extent *extent = &part->extent;

	if (!part->node) {
		part->node = &part->image->top;
		part->reach = part->len;
	}
	must(part->reach <= part->len);
	for (;;) {
		const struct node *node = part->node;
		uint64_t size = node_bytes(node);

		/* Behind the end of a layer there are zeros, whatever is below. */
		if (part->guest.byte >= size) {
			*extent = (struct extent){ .kind = EXTENT_ZERO, .len = part->reach };
			return 0;
		}

		int err = map_lookup(node, part->guest,
				     min_u64(part->reach, size - part->guest.byte), extent);

		if (err || extent->kind != EXTENT_ABSENT || !extent->backed)
			return err;
		part->reach = extent->len;
		part->node = node->below;
	}
}

struct references extent_references(const struct geometry *geo, struct guest guest,
				    const struct extent *extent)
{
	struct references held = { 0 };

	if (geo->data_apart)
		return held;
	if (extent->kind == EXTENT_PACKED) {
		struct compressed_range range = l2_compressed_range(geo, extent->entry);
		uint64_t last = range.off.byte + range.len - 1;

		held.cluster = host_cluster(geo, range.off);
		held.clusters = (uint32_t)((last >> geo->cluster_bits) - held.cluster) + 1;
		held.where = where_make(guest_cluster(geo, guest), WHERE_PACKED);
		if (mutant(ONE_PACKED_REFERENCE))
			held.clusters = 1;
	} else if (extent_has_host(extent)) {
		held.cluster = host_cluster(geo, extent->host);
		held.clusters = clusters_touched(geo, guest, extent->len);
		held.where = where_make(guest_cluster(geo, guest), WHERE_DATA);
	}
	return held;
}

void map_bad(struct part *part)
{
	if (!part->node || part->node == &part->image->top)
		image_corrupt(part->image, "the mapping of guest offset %#llx",
			      (unsigned long long)part->guest.byte);
}
