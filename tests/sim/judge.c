/* SPDX-License-Identifier: GPL-2.0-or-later */
/* References against refcounts. */
#include "judge.h"

#include "cipher.h"
#include "count.h"
#include "memory.h"
#include "pack.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static struct judge state; /* keeps its arrays from call to call */

void judge_corrupt(struct judge *j, const char *fmt, ...)
{
	va_list args;

	if (j->verdict.corruptions++)
		return;
	va_start(args, fmt);
	vsnprintf(j->verdict.why, sizeof(j->verdict.why), fmt, args);
	va_end(args);
}

uint64_t judge_word_at(const struct judge *j, uint64_t off)
{
	sparse_ask(j->file, off, sizeof(struct be64));
	return be64_get(*(const struct be64 *)sparse_at(j->file, off));
}

uint64_t judge_next_word(const struct judge *j, uint64_t off, uint64_t end)
{
	while (off < end) {
		uint64_t hole = sparse_hole(j->file, off, end - off), sector_end, word;
		const uint8_t *at;

		off += hole;
		if (off == end)
			break;
		sector_end = min_u64(end, round_down(off, SECTOR_SIZE) + SECTOR_SIZE);
		sparse_ask(j->file, off, sector_end - off);
		at = sparse_at(j->file, off);
		for (; off < sector_end; off += sizeof(word), at += sizeof(word)) {
			memcpy(&word, at, sizeof(word));
			if (word)
				return off;
		}
	}
	return end;
}

const char *judge_use_name(enum use use)
{
	static const char *const names[] = { "nothing",
					     "the header",
					     "the LUKS header",
					     "the refcount table",
					     "a refcount block",
					     "an L1 table",
					     "the snapshot table",
					     "an L2 table",
					     "data" };

	return names[use];
}

bool judge_refer(struct judge *j, uint64_t off, uint64_t len, enum use use)
{
	uint64_t first = off >> j->geo.cluster_bits;
	uint64_t last = (off + len - 1) >> j->geo.cluster_bits;

	if (len == 0)
		return true;
	/* A file may end before its last cluster does, not before its last cluster. */
	if (last >= j->clusters) {
		judge_corrupt(j,
			      "%s at %#" PRIx64 "+%#" PRIx64
			      " is beyond the end of the file, %#" PRIx64,
			      judge_use_name(use), off, len, j->file->size);
		return false;
	}
	for (uint64_t i = first; i <= last; i++) {
		if (j->references[i]++ && j->use[i] != use) {
			judge_corrupt(j, "cluster %" PRIu64 " is %s and also %s", i,
				      judge_use_name(j->use[i]), judge_use_name(use));
			return false;
		}
		j->use[i] = (uint8_t)use;
	}
	return true;
}

static void make_room(struct judge *j)
{
	if (j->room < j->clusters) {
		j->room = 2 * j->clusters + 1024;
		j->references = xrealloc(j->references, j->room * sizeof(*j->references));
		j->use = xrealloc(j->use, j->room * sizeof(*j->use));
		j->active = xrealloc(j->active, j->room * sizeof(*j->active));
	}
	memset(j->references, 0, j->clusters * sizeof(*j->references));
	memset(j->use, 0, j->clusters * sizeof(*j->use));
	memset(j->active, 0, j->clusters * sizeof(*j->active));
}

/* --- tables -------------------------------------------------------------------------------------- */

/* One table's way to its clusters. */
struct walk {
	bool snapshot;
	uint64_t l1_index;
	uint64_t table; /* the L2 table's host offset */
	bool check_flags;
};

/* What an L2 entry says. */
enum saying { SAYS_ABSENT, SAYS_ZEROS, SAYS_DATA };

static void check_copied(struct judge *j, const char *what, uint64_t entry, uint64_t host)
{
	uint64_t refcount = judge_refcount_of(j, host >> j->geo.cluster_bits);
	bool copied = entry & ENTRY_COPIED;

	if (copied && refcount != 1)
		judge_corrupt(j, "%s at %#" PRIx64 " is flagged COPIED and has refcount %" PRIu64,
			      what, host, refcount);
	if (!copied && refcount == 1)
		judge_corrupt(j, "%s at %#" PRIx64 " is not flagged COPIED and has refcount 1",
			      what, host);
}

/* What the visitor sees of it: @len bytes of the disk at most. */
static void visit(struct judge *j, const struct walk *walk, uint64_t guest,
		  const struct sparse *file, uint64_t host, uint64_t len)
{
	if (!j->visitor || guest >= j->geo.size_bytes || len == 0)
		return;
	len = min_u64(len, j->geo.size_bytes - guest);
	j->visitor->data(j->visitor->arg, walk->snapshot, guest, file, host, len);
}

/* Decrypt what the visitor is to see of [host, host + len). */
static const struct sparse *decrypted(struct judge *j, const struct sparse *file, uint64_t host,
				      uint64_t len)
{
	sparse_reset(&j->scratch);
	sparse_read(file, host, j->unpacked, len);
	sim_cipher(j->key, host / SECTOR_SIZE, j->unpacked, j->unpacked, len);
	sparse_write(&j->scratch, host, j->unpacked, len);
	return &j->scratch;
}

static void visit_data(struct judge *j, const struct walk *walk, uint64_t guest, uint64_t host,
		       uint64_t len)
{
	const struct sparse *file = j->data ? j->data : j->file;

	if (j->visitor && j->header.crypt_method)
		file = decrypted(j, file, host, len);
	visit(j, walk, guest, file, host, len);
}

/* The same for a stretch without data. */
static void visit_none(struct judge *j, const struct walk *walk, enum saying saying, uint64_t guest,
		       uint64_t len)
{
	bool is_raw = j->header.autoclear & QCOW2_DATA_FILE_RAW;

	/* Subclusters may read as zeros all the same. */
	if (is_raw && !j->geo.extended && guest < j->geo.size_bytes && len)
		judge_corrupt(j, "the data file is raw, and guest %#" PRIx64 " is not in it",
			      guest);
	if (!j->visitor || guest >= j->geo.size_bytes || len == 0)
		return;
	len = min_u64(len, j->geo.size_bytes - guest);
	if (is_raw && j->visitor->alone && !j->header.crypt_method)
		j->visitor->alone(j->visitor->arg, guest, j->data, len);
	if (saying == SAYS_ABSENT && j->visitor->below)
		visit(j, walk, guest, j->visitor->below, guest, len);
	else
		j->visitor->zeros(j->visitor->arg, walk->snapshot, guest, len);
}

static void judge_data(struct judge *j, const struct walk *walk, uint64_t entry,
		       const struct l2_entry *l2, uint64_t guest)
{
	uint64_t cluster = l2->host.byte >> j->geo.cluster_bits;

	if (!judge_refer(j, l2->host.byte, j->geo.cluster_bytes, USE_DATA))
		return;
	if (!walk->snapshot && j->active[cluster])
		judge_corrupt(j, "cluster %" PRIu64 " is mapped twice, also at guest %#" PRIx64,
			      cluster, guest);
	if (!walk->snapshot) {
		j->active[cluster] = true;
		j->verdict.mapped++;
	}
	if (walk->check_flags)
		check_copied(j, "data", entry, l2->host.byte);
}

/* A cluster of the data file, of which nobody counts references. */
static void judge_data_apart(struct judge *j, const struct walk *walk, uint64_t entry,
			     uint64_t guest)
{
	if ((entry & ENTRY_HOST_MASK) != guest || !(entry & ENTRY_COPIED))
		judge_corrupt(j, "the L2 entry of guest %#" PRIx64 " is %#" PRIx64 ", data apart",
			      guest, entry);
	if (!walk->snapshot)
		j->verdict.mapped++;
}

/* A compressed cluster: each host cluster that its sectors touch has one reference more. */
static enum saying judge_packed(struct judge *j, const struct walk *walk, uint64_t entry,
				uint64_t guest)
{
	struct compressed_range range = l2_compressed_range(&j->geo, entry);
	uint64_t first = range.off.byte >> j->geo.cluster_bits;
	uint64_t last = (range.off.byte + range.len - 1) >> j->geo.cluster_bits;

	if (!judge_refer(j, range.off.byte, range.len, USE_DATA))
		return SAYS_DATA;
	if (!walk->snapshot)
		j->verdict.mapped += last - first + 1;
	if (!j->visitor)
		return SAYS_DATA;
	sparse_read(j->file, range.off.byte, j->stream, range.len);
	if (!unpack(j->header.compression_type, j->stream, range.len, j->unpacked,
		    j->geo.cluster_bytes)) {
		judge_corrupt(j, "the compressed cluster of guest %#" PRIx64 " is damaged", guest);
		return SAYS_DATA;
	}
	sparse_reset(&j->scratch);
	sparse_write(&j->scratch, 0, j->unpacked, j->geo.cluster_bytes);
	visit(j, walk, guest, &j->scratch, 0, j->geo.cluster_bytes);
	return SAYS_DATA;
}

/* What was said last, and how many bytes of the disk before the one at hand it is said of. */
struct run {
	enum saying saying;
	uint64_t len;
};

static void run_end(struct judge *j, const struct walk *walk, const struct run *run, uint64_t end)
{
	if (run->saying != SAYS_DATA)
		visit_none(j, walk, run->saying, end - run->len, run->len);
}

/* @len bytes at @guest: what is said of them goes on, or begins. */
static void run_add(struct judge *j, const struct walk *walk, struct run *run, enum saying saying,
		    uint64_t guest, uint64_t len)
{
	if (saying != run->saying) {
		run_end(j, walk, run, guest);
		*run = (struct run){ .saying = saying };
	}
	run->len += len;
}

/* One subcluster, or a cluster that has none. */
static void judge_unit(struct judge *j, const struct walk *walk, struct run *run,
		       const struct l2_entry *l2, uint64_t guest)
{
	uint64_t len = UINT64_C(1) << j->geo.subcluster_bits;
	uint64_t host = l2->host.byte + guest_in_cluster(&j->geo, (struct guest){ guest });

	switch (l2->kind) {
	case L2_ABSENT:
	case L2_ABSENT_ALLOCATED:
		run_add(j, walk, run, SAYS_ABSENT, guest, len);
		break;
	case L2_DATA:
		run_add(j, walk, run, SAYS_DATA, guest, len);
		visit_data(j, walk, guest, host, len);
		break;
	default:
		run_add(j, walk, run, SAYS_ZEROS, guest, len);
		break;
	}
}

static void judge_entry(struct judge *j, const struct walk *walk, struct run *run,
			struct l2_word word, uint64_t guest)
{
	bool extended = j->geo.extended;
	uint64_t reserved = UINT64_C(0x3f000000000001fe) | extended;
	struct l2_entry l2 = extended ? l2_decode_extended(&j->geo, word, 0) :
					l2_decode(&j->geo, word.entry);

	if (l2.kind == L2_COMPRESSED) {
		run_add(j, walk, run, judge_packed(j, walk, word.entry, guest), guest,
			j->geo.cluster_bytes);
		if (word.bitmap)
			judge_corrupt(j, "the compressed guest %#" PRIx64 " has a bitmap", guest);
		return;
	}
	if (l2.kind == L2_INVALID || word.entry & reserved)
		judge_corrupt(j, "the L2 entry of guest %#" PRIx64 " is %#" PRIx64 " %#" PRIx64,
			      guest, word.entry, word.bitmap);
	if (l2.kind != L2_INVALID && l2.kind != L2_ABSENT && l2.kind != L2_ZERO) {
		if (j->data)
			judge_data_apart(j, walk, word.entry, guest);
		else
			judge_data(j, walk, word.entry, &l2, guest);
	}
	for (unsigned i = 0; i < (extended ? SUBCLUSTERS : 1); i++) {
		if (extended)
			l2 = l2_decode_extended(&j->geo, word, i);
		judge_unit(j, walk, run, &l2, guest + ((uint64_t)i << j->geo.subcluster_bits));
	}
}

static void judge_l2(struct judge *j, const struct walk *walk)
{
	uint64_t entries = UINT64_C(1) << j->geo.l2_bits;
	uint64_t first = walk->l1_index << j->geo.l2_bits;
	uint64_t entry_bytes = j->geo.l2_entry_bytes;
	uint64_t end = walk->table + j->geo.cluster_bytes;
	struct run run = { .saying = SAYS_DATA };

	for (uint64_t i = 0; i < entries;) {
		uint64_t at = walk->table + i * entry_bytes;
		struct l2_word word = { .entry = judge_word_at(j, at) };
		uint64_t guest = (first + i) << j->geo.cluster_bits;
		uint64_t next = i + 1;

		if (j->geo.extended)
			word.bitmap = judge_word_at(j, at + 8);
		if (word.entry || word.bitmap) {
			judge_entry(j, walk, &run, word, guest);
		} else {
			next = (judge_next_word(j, at, end) - walk->table) / entry_bytes;
			run_add(j, walk, &run, SAYS_ABSENT, guest,
				(next - i) << j->geo.cluster_bits);
		}
		i = next;
	}
	run_end(j, walk, &run, (first + entries) << j->geo.cluster_bits);
}

static void judge_l1(struct judge *j, uint64_t l1, uint64_t entries, bool snapshot)
{
	uint64_t table_covers = UINT64_C(1) << (j->geo.l2_bits + j->geo.cluster_bits);

	if (!judge_refer(j, l1, entries * 8, USE_L1))
		return;
	for (uint64_t i = 0; i < entries; i++) {
		uint64_t entry = judge_word_at(j, l1 + i * 8);
		struct l1_entry decoded = l1_decode(&j->geo, entry);
		struct walk walk = { snapshot, i, decoded.host.byte, !snapshot };

		if (entry & UINT64_C(0x7f000000000001ff) || decoded.kind == L1_INVALID)
			judge_corrupt(j, "L1 entry %" PRIu64 " is %#" PRIx64, i, entry);
		if (decoded.kind == L1_ABSENT)
			visit_none(j, &walk, SAYS_ABSENT, i * table_covers, table_covers);
		if (decoded.kind != L1_TABLE ||
		    !judge_refer(j, decoded.host.byte, j->geo.cluster_bytes, USE_L2))
			continue;
		if (!snapshot)
			check_copied(j, "an L2 table", entry, decoded.host.byte);
		judge_l2(j, &walk);
	}
}

/* Where snapshots' L1 tables are (specification: "Snapshots"). */
static void judge_snapshots(struct judge *j)
{
	uint64_t at = j->header.snapshot_table.byte;

	for (uint32_t i = 0; i < j->header.snapshots; i++) {
		uint8_t raw[40];
		struct be64 l1;
		struct be32 entries, extra;
		struct be16 id, name;

		sparse_read(j->file, at, raw, sizeof(raw));
		memcpy(&l1, raw, 8);
		memcpy(&entries, raw + 8, 4);
		memcpy(&id, raw + 12, 2);
		memcpy(&name, raw + 14, 2);
		memcpy(&extra, raw + 36, 4);
		at = round_up(at + sizeof(raw) + be32_get(extra) + be16_get(id) + be16_get(name),
			      8);
		if (!is_aligned(be64_get(l1), j->geo.cluster_bytes) ||
		    be32_get(entries) > LIMIT_L1_BYTES / 8)
			judge_corrupt(j, "snapshot %u has its L1 table at %#" PRIx64, i,
				      be64_get(l1));
		else
			judge_l1(j, be64_get(l1), be32_get(entries), true);
	}
	if (j->header.snapshots)
		judge_refer(j, j->header.snapshot_table.byte, at - j->header.snapshot_table.byte,
			    USE_SNAPSHOT_TABLE);
}

/* All that an image has to say is in its first cluster; of ours, in the first pages of that. */
static uint64_t header_bytes(const struct judge *j)
{
	static uint8_t start[QCOW2_HEADER_START];

	sparse_read(j->file, 0, start, sizeof(start));
	return min_u64(j->file->size, min_u64(qcow2_header_most(start), 1u << 16));
}

static bool judge_header(struct judge *j)
{
	uint64_t len = header_bytes(j);
	uint64_t not_understood = j->data ? 0u : QCOW2_DATA_FILE;
	static uint8_t bytes[1u << 16];
	struct why why = { "" };

	sparse_read(j->file, 0, bytes, len);
	if (qcow2_header_decode(bytes, len, "image", &j->header, &why)) {
		judge_corrupt(j, "%.200s", why.text);
		return false;
	}
	if (j->header.incompatible & not_understood ||
	    (j->data && !(j->header.incompatible & QCOW2_DATA_FILE)) ||
	    j->header.crypt_method == CRYPT_AES || j->header.bitmaps.len) {
		judge_corrupt(j, "the judge does not understand the features of this image");
		return false;
	}
	if (j->header.incompatible & (QCOW2_DIRTY | QCOW2_CORRUPT))
		judge_corrupt(j, "the image is marked dirty or corrupt");
	if (j->header.crypt_method) {
		j->luks = crypto_area_decode(bytes + j->header.crypto.off);
		j->key = sim_luks_key(j->file, j->luks.host.byte);
	}
	return true;
}

struct verdict judge(const struct sparse *file, const struct sparse *data,
		     const struct judge_visitor *visitor)
{
	struct judge *j = &state;

	if (!j->scratch.page)
		sparse_init(&j->scratch);
	j->file = file;
	j->data = data;
	j->visitor = visitor;
	j->verdict = (struct verdict){ 0 };
	if (!judge_header(j))
		return j->verdict;
	j->geo = qcow2_geometry(&j->header);
	j->clusters = div_round_up(file->size, j->geo.cluster_bytes);
	make_room(j);
	j->verdict.cluster_bytes = j->geo.cluster_bytes;
	j->verdict.disk_bytes = j->geo.size_bytes;
	j->verdict.snapshots = j->header.snapshots;
	judge_refer(j, 0, 1, USE_HEADER);
	if (j->header.crypt_method)
		judge_refer(j, j->luks.host.byte, j->luks.bytes, USE_LUKS);
	judge_refer_to_blocks(j);
	judge_l1(j, j->header.l1.byte, j->header.l1_entries, false);
	judge_snapshots(j);
	judge_compare_all(j);
	sparse_reset(&j->scratch);
	return j->verdict;
}

bool judge_uncounted(uint64_t at, uint64_t end)
{
	const struct judge *j = &state;

	for (uint64_t i = at >> j->geo.cluster_bits; i << j->geo.cluster_bits < end; i++)
		if (!judge_refcount_of(j, i))
			return true;
	return false;
}
