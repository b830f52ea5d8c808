/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the bytes of a qcow2 file mean: decode, encode, validate.  Pure: no I/O, no allocation,
 * no globals.  Bytes are hostile; behind these functions nothing is checked again.
 *
 * "Specification" is docs/interop/qcow2 of QEMU.
 */
#ifndef FORMAT_H
#define FORMAT_H

#include "base.h"

/* --- limits: one place for everything that a hostile file could blow up ---------------------- */

#define LIMIT_CLUSTER_BITS_MIN 9u
#define LIMIT_CLUSTER_BITS_MAX 21u
#define LIMIT_L1_BYTES (32 * MIB)
#define LIMIT_SLICES_ROOM (1u << 26) /* the most that a disk has of up to 64 KiB clusters */
#define LIMIT_L1_ROOM MIB /* into which the L1 table of a disk that is served may grow */
#define LIMIT_REFCOUNT_TABLE_BYTES (8 * MIB)
#define LIMIT_SNAPSHOTS 65536u
#define LIMIT_BACKING_NAME 1023u
#define LIMIT_BACKING_FORMAT 15u
#define LIMIT_DATA_FILE_NAME 4095u /* a path of the host */
#define LIMIT_CHAIN 64u /* an image and all that lies below it */
#define LIMIT_HOST_OFFSET (UINT64_C(1) << 56) /* bits 9..55 of a table entry */
#define LIMIT_SNAPSHOT_EXTRA 1024u
#define LIMIT_SNAPSHOT_TABLE_BYTES (LIMIT_SNAPSHOTS * KIB)
#define LIMIT_SNAPSHOT_L1_READ (64 * MIB) /* of the L1 tables of all snapshots, to protect them */
#define LIMIT_BITMAPS 65535u
#define LIMIT_BITMAP_DIRECTORY_BYTES (LIMIT_BITMAPS * KIB)
#define LIMIT_BITMAP_BYTES (512 * MIB)
#define LIMIT_BITMAP_NAME 1023u
#define LIMIT_BITMAP_TABLES_READ (16 * MIB) /* of the tables of all bitmaps, to protect them */
#define LIMIT_CRYPTO_BYTES (64 * MIB) /* LUKS version 1 needs less than 4 */
#define LIMIT_LUKS_ITERATIONS (1u << 26) /* of key derivation; half a minute of hashing */
#define LIMIT_KEY_FILE_BYTES (64 * KIB)
#define LIMIT_CHECK_BEHIND GIB /* so far behind the end of a file references count, */
#define LIMIT_CHECK_BEHIND_CLUSTERS UINT64_C(65536) /* but no farther than that */
#define LIMIT_CHECK_BYTES (4 * GIB) /* what a check keeps in memory */
#define LIMIT_CHECK_MISALIGNED GIB /* of L2 tables at odd places, which can lie in each other */
#define LIMIT_SLICE_BYTES 4096u
#define LIMIT_L2_CACHE_DEFAULT (32 * MIB)
#define LIMIT_L2_CACHE_SLICES (UINT32_C(1) << 22)

/* --- header ----------------------------------------------------------------------------------- */

#define QCOW2_MAGIC 0x514649fbu
#define QCOW2_HEADER_V2_BYTES 72u
#define QCOW2_HEADER_V3_BYTES 104u

/* Offsets of the header fields that are rewritten in place, each group inside one sector. */
#define QCOW2_AT_SIZE 24u
#define QCOW2_AT_L1 36u /* be32 entries, be64 offset */
#define QCOW2_AT_REFCOUNT_TABLE 48u /* be64 offset, be32 clusters */
#define QCOW2_AT_SNAPSHOTS 60u /* be32 snapshots, be64 offset */
#define QCOW2_AT_INCOMPATIBLE 72u
#define QCOW2_AT_AUTOCLEAR 88u

enum qcow2_incompatible {
	QCOW2_DIRTY = 1 << 0,
	QCOW2_CORRUPT = 1 << 1,
	QCOW2_DATA_FILE = 1 << 2,
	QCOW2_COMPRESSION_TYPE = 1 << 3,
	QCOW2_EXTENDED_L2 = 1 << 4,
	QCOW2_INCOMPATIBLE_KNOWN = (1 << 5) - 1,
};

enum qcow2_compatible {
	QCOW2_LAZY_REFCOUNTS = 1 << 0,
};

enum qcow2_autoclear {
	QCOW2_BITMAPS = 1 << 0,
	QCOW2_DATA_FILE_RAW = 1 << 1,
};

/* A stretch of the header cluster: a name, or an extension's payload. */
struct header_range {
	uint32_t off;
	uint32_t len; /* 0: not there */
};

/* A header that has passed every check which needs nothing but cluster 0. */
struct qcow2_header {
	unsigned version; /* 2 or 3 */
	unsigned cluster_bits;
	uint64_t size_bytes; /* of the guest's disk, floored to sectors */
	uint32_t crypt_method; /* 0 none, 1 AES, 2 LUKS */
	uint32_t l1_entries;
	struct host l1;
	struct host refcount_table;
	uint32_t refcount_table_clusters;
	uint32_t snapshots;
	struct host snapshot_table;
	uint64_t incompatible; /* enum qcow2_incompatible; 0 for version 2 */
	uint64_t compatible;
	uint64_t autoclear;
	unsigned refcount_order; /* a refcount has 1 << order bits */
	uint32_t header_bytes;
	unsigned compression_type; /* 0 zlib, 1 zstd */
	struct header_range backing_name;
	struct header_range backing_format;
	struct header_range data_file_name;
	struct header_range bitmaps; /* 24 bytes of extension 0x23852875 */
	struct header_range crypto; /* 16 bytes of extension 0x0537be77 */
	bool has_backing; /* backing_file_offset is set */
};

/* How many bytes of the file's start qcow2_header_decode() may want to see at most. */
#define QCOW2_HEADER_READ (1u << LIMIT_CLUSTER_BITS_MAX)

/* How many bytes tell how much that really is; zeros where the file ends. */
#define QCOW2_HEADER_START 24u

/* What the header may fill: the first cluster, or, of a size that cannot be, QCOW2_HEADER_START. */
size_t qcow2_header_most(const void *start);

/*
 * Decode and check the header (specification: "Header", "Header extensions").  @bytes are the
 * first @len bytes of the file, min(file size, qcow2_header_most()) or more; a header that claims more is
 * refused.  @name is the file's, for the sentence in @why.  Refuses what QEMU refuses; does not
 * judge whether a feature is supported, except incompatible bits that nobody knows.
 * -EINVAL with the sentence, or 0.
 */
int qcow2_header_decode(const void *bytes, size_t len, const char *name,
			struct qcow2_header *header, struct why *why);

/*
 * The same for a program that is about to repair the image: a refcount table and a snapshot table
 * that cannot be used are no error.  Fields about them may have any value, except that the
 * refcount table is aligned, not larger than LIMIT_REFCOUNT_TABLE_BYTES, and does not wrap; an L1
 * table at offset 0 is let through.
 */
int qcow2_header_decode_damaged(const void *bytes, size_t len, const char *name,
				struct qcow2_header *header, struct why *why);

/* --- geometry: every shift, mask and limit that the header implies; immutable ----------------- */

struct geometry {
	unsigned version;
	unsigned cluster_bits;
	uint32_t cluster_bytes;
	unsigned l2_bits; /* log2 of the entries of an L2 table */
	uint32_t l2_entry_bytes; /* 8, or 16 with extended L2 */
	bool extended; /* extended L2: the entries have a bitmap about subclusters */
	unsigned subcluster_bits; /* log2 of a subcluster's bytes; a cluster's without extended L2 */
	unsigned refcount_order;
	unsigned refcount_block_bits; /* log2 of the refcounts in a block */
	uint64_t refcount_max;
	unsigned slice_bits; /* log2 of slice_bytes */
	uint32_t slice_bytes; /* min(cluster_bytes, LIMIT_SLICE_BYTES): piece of a table in cache */
	unsigned slice_entries_bits; /* log2 of L2 entries in a slice */
	unsigned slice_refcounts_bits; /* log2 of refcounts in a slice */
	uint64_t size_bytes;
	bool data_apart; /* guest bytes lie in an external data file */
};

struct geometry qcow2_geometry(const struct qcow2_header *header);

static inline uint64_t guest_cluster(const struct geometry *g, struct guest guest)
{
	return guest.byte >> g->cluster_bits;
}

static inline uint64_t guest_l1_index(const struct geometry *g, struct guest guest)
{
	return guest.byte >> (g->cluster_bits + g->l2_bits);
}

/* Slices of L2 tables are numbered through the whole disk. */
static inline uint64_t guest_slice(const struct geometry *g, struct guest guest)
{
	return guest.byte >> (g->cluster_bits + g->slice_entries_bits);
}

/* Index of the entry within its slice. */
static inline uint32_t guest_slice_entry(const struct geometry *g, struct guest guest)
{
	return (uint32_t)(guest.byte >> g->cluster_bits) & ((1u << g->slice_entries_bits) - 1);
}

static inline uint32_t guest_in_cluster(const struct geometry *g, struct guest guest)
{
	return (uint32_t)guest.byte & (g->cluster_bytes - 1);
}

static inline uint64_t host_cluster(const struct geometry *g, struct host host)
{
	return host.byte >> g->cluster_bits;
}

static inline struct host cluster_host(const struct geometry *g, uint64_t host_cluster_)
{
	return (struct host){ host_cluster_ << g->cluster_bits };
}

/* --- L1 and L2 entries (specification: "Cluster mapping") -------------------------------------- */

#define ENTRY_COPIED (UINT64_C(1) << 63)
#define ENTRY_COMPRESSED (UINT64_C(1) << 62)
#define ENTRY_ZERO UINT64_C(1)
#define ENTRY_HOST_MASK UINT64_C(0x00fffffffffffe00)

enum l1_kind {
	L1_ABSENT, /* no L2 table */
	L1_TABLE, /* an L2 table at host */
	L1_INVALID, /* not aligned to a cluster, or at cluster 0 */
};

struct l1_entry {
	enum l1_kind kind;
	bool copied; /* the table is this L1's alone */
	struct host host;
};

struct l1_entry l1_decode(const struct geometry *g, uint64_t entry);

enum l2_kind {
	L2_ABSENT,
	L2_ABSENT_ALLOCATED, /* extended L2: nothing is there, but a host cluster is set aside */
	L2_DATA,
	L2_ZERO, /* no host cluster */
	L2_ZERO_ALLOCATED, /* a host cluster is set aside */
	L2_COMPRESSED,
	/*
	 * Misaligned, cluster 0, COPIED with COMPRESSED, zero flag in version 2, COMPRESSED though the
	 * data is apart; a subcluster that both holds data and is zero, or holds data without a cluster.
	 */
	L2_INVALID,
};

struct l2_entry {
	enum l2_kind kind;
	bool copied;
	struct host host; /* of the cluster, when there is one */
};

/*
 * Standard entries (not extended L2).  With an external data file, offset 0 is a cluster like others
 * when COPIED is set, and nobody else can refer to one: copied is always set.  That the offset is the
 * guest's own is for the caller to check: l2_in_place().
 */
struct l2_entry l2_decode(const struct geometry *g, uint64_t entry);

/* An entry as it stands in a table. */
struct l2_word {
	uint64_t entry;
	uint64_t bitmap; /* extended L2; else 0 */
};

/* Extended L2: the bitmap has 32 bits "holds data", then 32 bits "is zero", of subcluster 0 first. */
#define SUBCLUSTERS 32u
#define BITMAP_ALL_DATA UINT64_C(0x00000000ffffffff)
#define BITMAP_ALL_ZERO UINT64_C(0xffffffff00000000)

/*
 * What an extended entry says about one subcluster (specification: "Extended L2 Entries").  One whose
 * bitmap makes no sense for any of them is invalid for all.  Bit 0 of the first word, and the bitmap
 * of a compressed cluster, mean nothing.
 */
struct l2_entry l2_decode_extended(const struct geometry *g, struct l2_word word,
				   unsigned subcluster);

/* How many subclusters from @subcluster on the entry says the same about, to the cluster's end at most. */
unsigned l2_subclusters_alike(struct l2_word word, unsigned subcluster);

static inline unsigned guest_subcluster(const struct geometry *g, struct guest guest)
{
	return guest_in_cluster(g, guest) >> g->subcluster_bits;
}

/* With an external data file: is the host cluster of this entry the one at the guest's own address? */
static inline bool l2_in_place(const struct geometry *g, struct host host, struct guest guest)
{
	return host.byte == guest.byte - guest_in_cluster(g, guest);
}

static inline uint64_t table_entry_make(struct host host)
{
	return host.byte | ENTRY_COPIED;
}

/* Where the stream of a compressed cluster lies (specification: "Compressed Clusters Descriptor"). */
struct compressed_range {
	struct host off; /* any byte */
	uint32_t len; /* to the end of the last sector; an upper bound of the stream's length */
};

struct compressed_range l2_compressed_range(const struct geometry *g, uint64_t entry);

/* --- refcounts (specification: "Host cluster management") --------------------------------------- */

#define REFCOUNT_TABLE_HOST_MASK UINT64_C(0xfffffffffffffe00)

/* The refcount at @index of a block (or of a slice of it), widths of 1 << order bits, order 0..6. */
uint64_t refcount_get(const void *block, unsigned order, uint32_t index);

/* Store it; @value fits the width. */
void refcount_set(void *block, unsigned order, uint32_t index, uint64_t value);

/*
 * The host offset in an entry of the refcount table; 0 for "no block".  -EINVAL when it is not
 * aligned to a cluster or beyond LIMIT_HOST_OFFSET.
 */
int refcount_table_decode(const struct geometry *g, uint64_t entry, struct host *host);

/* --- snapshot table (specification: "Snapshots") ------------------------------------------------ */

#define SNAPSHOT_FIXED_BYTES 40u

/* What an entry of version 3 must have in its extra data: size of the VM state, and of the disk. */
#define SNAPSHOT_EXTRA_NEEDED 16u

enum snapshot_fault {
	SNAPSHOT_L1_MISALIGNED = 1 << 0,
	SNAPSHOT_L1_TOO_LARGE = 1 << 1, /* beyond LIMIT_L1_BYTES, or wraps */
	SNAPSHOT_INCOMPLETE = 1 << 2, /* version 3 and less than SNAPSHOT_EXTRA_NEEDED */
	SNAPSHOT_EXTRA_TOO_LARGE = 1 << 3, /* beyond LIMIT_SNAPSHOT_EXTRA */
};

struct snapshot {
	struct host l1;
	uint32_t l1_entries;
	uint32_t date_sec, date_nsec; /* since 1970 */
	uint64_t clock_nsec; /* how long the guest had run */
	uint64_t vm_state_bytes;
	uint64_t disk_bytes; /* size of the disk then */
	uint32_t extra_bytes;
	struct header_range id, name; /* counted from the start of the entry; any bytes, no NUL */
	uint64_t entry_bytes; /* without the padding to 8 bytes */
	unsigned faults; /* enum snapshot_fault */
};

/*
 * How long the entry is whose first SNAPSHOT_FIXED_BYTES bytes are @fixed, without padding: the
 * caller checks this against what it wants to read.  At most 5 GiB, whatever the bytes.
 */
uint64_t snapshot_entry_bytes(const void *fixed);

/*
 * Decode the entry at @entry, of which there are @len bytes, zeros where the file ends.  A fault
 * in snapshot->faults says which fields must not be used; the extra data of an entry may end
 * behind @len only with SNAPSHOT_EXTRA_TOO_LARGE, and then id and name are empty.  0, or -EINVAL
 * when @len is too short for anything else.
 */
int snapshot_decode(const struct geometry *g, const void *entry, size_t len,
		    struct snapshot *snapshot);

/* --- bitmaps (specification: "Bitmaps") ---------------------------------------------------------- */

#define BITMAP_FIXED_BYTES 24u

/* The header extension, which qcow2_header_decode() has checked. */
struct bitmap_directory {
	uint32_t bitmaps;
	uint64_t bytes;
	struct host host;
};

/* @extension: the bytes that header->bitmaps means. */
struct bitmap_directory bitmap_directory_decode(const void *extension);

enum bitmap_flag {
	BITMAP_IN_USE = 1 << 0,
	BITMAP_AUTO = 1 << 1,
};

struct bitmap {
	struct host table;
	uint32_t table_entries;
	uint32_t flags; /* enum bitmap_flag */
	unsigned granularity_bits;
	struct header_range name; /* counted from the start of the entry; any bytes, no NUL */
	uint64_t entry_bytes; /* with the padding to 8 bytes */
};

/* As snapshot_entry_bytes(), for BITMAP_FIXED_BYTES at @fixed; with the padding. */
uint64_t bitmap_entry_bytes(const void *fixed);

/*
 * Decode and check the entry of the bitmap directory at @entry, of which there are @len bytes.
 * 0, or -EINVAL for whatever QEMU does not take: reserved flags, extra data, a table that is
 * empty, not aligned, or not of the size that disk and granularity ask for.
 */
int bitmap_decode(const struct geometry *g, const void *entry, size_t len, struct bitmap *bitmap);

/*
 * The host offset in an entry of a bitmap table; 0 for a cluster of all zeros or all ones.
 * -EINVAL when reserved bits are set or it is not aligned to a cluster.
 */
int bitmap_table_decode(const struct geometry *g, uint64_t entry, struct host *host);

/* --- encryption (specification: "Full disk encryption header pointer") --------------------------- */

struct crypto_area {
	struct host host; /* aligned to a cluster */
	uint64_t bytes;
};

/* @extension: the bytes that header->crypto means. */
struct crypto_area crypto_area_decode(const void *extension);

#define CRYPT_AES 1u /* header->crypt_method */
#define CRYPT_LUKS 2u

#define LUKS_HEADER_BYTES 592u
#define LUKS_SLOTS 8u
#define LUKS_SALT_BYTES 32u
#define LUKS_DIGEST_BYTES 20u
#define LUKS_KEY_BYTES_MAX 64u
#define LUKS_STRIPES 4000u /* into which a key is split; no version 1 header has another number */

enum luks_mode { LUKS_XTS, LUKS_CBC };
enum luks_iv { LUKS_PLAIN, LUKS_PLAIN64, LUKS_ESSIV_SHA256 }; /* made of a sector's number */
enum luks_hash { LUKS_SHA1, LUKS_SHA256, LUKS_SHA512 };

struct luks_slot {
	bool active; /* else the rest means nothing */
	uint32_t iterations; /* from 1 to LIMIT_LUKS_ITERATIONS */
	uint8_t salt[LUKS_SALT_BYTES];
	uint64_t material; /* bytes from the start of the area to luks_material_bytes() of the slot */
};

/* A LUKS header of version 1 that this program can use; the cipher is always AES. */
struct luks_header {
	enum luks_mode mode;
	enum luks_iv iv;
	enum luks_hash hash; /* of key derivation and of splitting */
	uint32_t key_bytes; /* of the master key: 16, 24 or 32 for CBC, twice as many for XTS */
	uint8_t digest[LUKS_DIGEST_BYTES]; /* of the master key */
	uint8_t digest_salt[LUKS_SALT_BYTES];
	uint32_t digest_iterations;
	struct luks_slot slot[LUKS_SLOTS];
};

/* Bytes that hold a slot's split key: whole sectors. */
static inline uint32_t luks_material_bytes(const struct luks_header *luks)
{
	return (uint32_t)round_up((uint64_t)luks->key_bytes * LUKS_STRIPES, SECTOR_SIZE);
}

/* Can there be a LUKS header at @area?  -EINVAL with the sentence, or 0. */
int luks_area_check(const struct crypto_area *area, const char *name, struct why *why);

/*
 * Decode and check the LUKS header (LUKS On-Disk Format Specification 1.2.3: "The partition header")
 * whose first LUKS_HEADER_BYTES are @bytes, in an @area that luks_area_check() has let through.  At
 * least one slot is active, and the material of each that is lies behind the header and within the
 * area.  -EINVAL for damage, -ENOTSUP for what this program cannot use, with the sentence; or 0.
 */
int luks_header_decode(const void *bytes, const struct crypto_area *area, const char *name,
		       struct luks_header *luks, struct why *why);

#endif
