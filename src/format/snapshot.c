/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Entries of the snapshot table: of variable length, so sized first and decoded then. */
#include "format.h"

#include <errno.h>

struct snapshot_raw {
	struct be64 l1_offset;
	struct be32 l1_entries;
	struct be16 id_len;
	struct be16 name_len;
	struct be32 date_sec;
	struct be32 date_nsec;
	struct be64 clock_nsec;
	struct be32 vm_state_bytes;
	struct be32 extra_bytes;
};

/* The part of the extra data that we know, by its length. */
struct extra_raw {
	struct be64 vm_state_bytes;
	struct be64 disk_bytes;
};

_Static_assert(sizeof(struct snapshot_raw) == SNAPSHOT_FIXED_BYTES, "layout");
_Static_assert(sizeof(struct extra_raw) == SNAPSHOT_EXTRA_NEEDED, "layout");

uint64_t snapshot_entry_bytes(const void *fixed)
{
	struct snapshot_raw raw;

	memcpy(&raw, fixed, sizeof(raw));
	return sizeof(raw) + (uint64_t)be32_get(raw.extra_bytes) + be16_get(raw.id_len) +
	       be16_get(raw.name_len);
}

static unsigned find_faults(const struct geometry *g, const struct snapshot *s)
{
	uint64_t l1_bytes = (uint64_t)s->l1_entries * 8;
	unsigned faults = 0;

	if (!is_aligned(s->l1.byte, g->cluster_bytes))
		faults |= SNAPSHOT_L1_MISALIGNED;
	if (l1_bytes > LIMIT_L1_BYTES || s->l1.byte > (uint64_t)INT64_MAX - l1_bytes)
		faults |= SNAPSHOT_L1_TOO_LARGE;
	if (g->version >= 3 && s->extra_bytes < SNAPSHOT_EXTRA_NEEDED)
		faults |= SNAPSHOT_INCOMPLETE;
	if (s->extra_bytes > LIMIT_SNAPSHOT_EXTRA)
		faults |= SNAPSHOT_EXTRA_TOO_LARGE;
	return faults;
}

/* What is not there keeps what the fixed part says, or the size that the disk has now. */
static void decode_extra(struct snapshot *s, const uint8_t *extra)
{
	struct extra_raw raw;

	memcpy(&raw, extra, min_u64(s->extra_bytes, sizeof(raw)));
	if (s->extra_bytes >= offsetof(struct extra_raw, disk_bytes))
		s->vm_state_bytes = be64_get(raw.vm_state_bytes);
	if (s->extra_bytes >= sizeof(raw))
		s->disk_bytes = be64_get(raw.disk_bytes);
}

int snapshot_decode(const struct geometry *g, const void *entry, size_t len, struct snapshot *s)
{
	struct snapshot_raw raw;
	uint64_t strings;

	if (len < sizeof(raw))
		return -EINVAL;
	memcpy(&raw, entry, sizeof(raw));
	*s = (struct snapshot){
		.l1 = { be64_get(raw.l1_offset) },
		.l1_entries = be32_get(raw.l1_entries),
		.date_sec = be32_get(raw.date_sec),
		.date_nsec = be32_get(raw.date_nsec),
		.clock_nsec = be64_get(raw.clock_nsec),
		.vm_state_bytes = be32_get(raw.vm_state_bytes),
		.disk_bytes = g->size_bytes,
		.extra_bytes = be32_get(raw.extra_bytes),
		.entry_bytes = snapshot_entry_bytes(entry),
	};
	s->faults = find_faults(g, s);
	if (s->faults & SNAPSHOT_EXTRA_TOO_LARGE)
		return 0;
	if (len < s->entry_bytes)
		return -EINVAL;
	decode_extra(s, (const uint8_t *)entry + sizeof(raw));
	strings = sizeof(raw) + s->extra_bytes;
	s->id = (struct header_range){ (uint32_t)strings, be16_get(raw.id_len) };
	s->name = (struct header_range){ s->id.off + s->id.len, be16_get(raw.name_len) };
	return 0;
}
