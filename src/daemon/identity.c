/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Facts about an open file, and hashes of them. */
#include "identity.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#ifndef BLKGETDISKSEQ
#define BLKGETDISKSEQ _IOR(0x12, 128, __u64) /* Linux 5.15 */
#endif

struct uuid_of_file_system {
	uint8_t len;
	uint8_t uuid[16];
};

/* FS_IOC_GETFSUUID of Linux 6.9 */
#define GET_FILE_SYSTEM_UUID _IOR(0x15, 0, struct uuid_of_file_system)

#define BOOT_ID "/proc/sys/kernel/random/boot_id"
#define BOOT_BYTES 16

#define MARK_OURS UINT64_C(0x71b2) /* in the upper 16 bits */
#define MARK_HASH ((UINT64_C(1) << 48) - 1)

struct facts {
	uint8_t boot[BOOT_BYTES];
	uint64_t device; /* of the file, or the block device's own */
	uint64_t number; /* of the file; 0 for a block device */
	uint64_t file_system;
	uint64_t made_ns; /* when the file was made, as far as the file system tells */
	uint64_t handle; /* hash of the file handle, which has the number's generation */
	uint64_t disk; /* sequence number of a disk, which none after it has; 0 for a file */
};

_Static_assert(sizeof(struct facts) == HANDOVER_IDENTITY, "the facts are the identity");

static uint64_t hash(uint64_t seed, const void *bytes, size_t len)
{
	const uint8_t *byte = bytes;
	uint64_t h = seed ^ UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < len; i++)
		h = (h ^ byte[i]) * UINT64_C(0x100000001b3);
	/* The multiplication moves bits up only. */
	h ^= h >> 32;
	h *= UINT64_C(0xd6e8feb86659fd93);
	return h ^ h >> 32;
}

static int read_boot(uint8_t boot[BOOT_BYTES])
{
	char text[64] = "", *at = text;
	FILE *in = fopen(BOOT_ID, "re");
	unsigned n = 0;

	if (!in)
		return -errno;
	if (!fgets(text, sizeof(text), in))
		text[0] = '\0';
	fclose(in);
	for (; *at && n < 2 * BOOT_BYTES; at++) {
		unsigned digit;

		if (*at == '-')
			continue;
		if (sscanf(at, "%1x", &digit) != 1)
			break;
		boot[n / 2] = (uint8_t)(n % 2 ? boot[n / 2] | digit : digit << 4);
		n++;
	}
	return n == 2 * BOOT_BYTES ? 0 : -EPROTO;
}

/* File systems that have no handles have no generations either. */
static uint64_t hash_handle(int fd)
{
	struct {
		struct file_handle head;
		uint8_t bytes[MAX_HANDLE_SZ];
	} handle = { .head.handle_bytes = MAX_HANDLE_SZ };
	int mount;

	if (name_to_handle_at(fd, "", &handle.head, &mount, AT_EMPTY_PATH))
		return 0;
	return hash((uint64_t)handle.head.handle_type, handle.head.f_handle,
		    handle.head.handle_bytes);
}

static int file_facts(struct facts *facts, int fd, const struct stat *st)
{
	struct statfs fs;
	struct statx more;

	facts->device = st->st_dev;
	facts->number = st->st_ino;
	if (fstatfs(fd, &fs))
		return -errno;
	facts->file_system = hash((uint64_t)fs.f_type, &fs.f_fsid, sizeof(fs.f_fsid));
	if (statx(fd, "", AT_EMPTY_PATH, STATX_BTIME, &more) == 0 && more.stx_mask & STATX_BTIME)
		facts->made_ns = (uint64_t)more.stx_btime.tv_sec * UINT64_C(1000000000) +
				 more.stx_btime.tv_nsec;
	facts->handle = hash_handle(fd);
	return 0;
}

static void disk_facts(struct facts *facts, int fd, const struct stat *st)
{
	facts->device = st->st_rdev;
	/* Older kernels have no such numbers. */
	if (ioctl(fd, BLKGETDISKSEQ, &facts->disk))
		facts->disk = 0;
}

static int find_facts(struct facts *facts, int fd, struct stat *st)
{
	int err;

	memset(facts, 0, sizeof(*facts));
	if (fstat(fd, st))
		return -errno;
	err = read_boot(facts->boot);
	if (err)
		return err;
	if (!S_ISBLK(st->st_mode))
		return file_facts(facts, fd, st);
	disk_facts(facts, fd, st);
	return 0;
}

/* A partition has its disk's.  0: not known. */
static uint64_t disk_sequence(dev_t device)
{
	static const char *const where[] = { "", "/.." };
	uint64_t number = 0;

	for (size_t i = 0; i < ARRAY_SIZE(where) && !number; i++) {
		char path[128];
		FILE *in;

		snprintf(path, sizeof(path), "/sys/dev/block/%u:%u%s/diskseq", major(device),
			 minor(device), where[i]);
		in = fopen(path, "re");
		if (in && fscanf(in, "%" SCNu64, &number) != 1)
			number = 0;
		if (in)
			fclose(in);
	}
	return number;
}

static void find_place(struct identity_place *place, int fd, const struct stat *st)
{
	struct uuid_of_file_system found = { 0 };
	struct statfs fs;

	memset(place, 0, sizeof(*place));
	if (!S_ISREG(st->st_mode) || fstatfs(fd, &fs) ||
	    (fs.f_type != EXT4_SUPER_MAGIC && fs.f_type != XFS_SUPER_MAGIC) ||
	    ioctl(fd, GET_FILE_SYSTEM_UUID, &found) || found.len != sizeof(place->file_system))
		return;
	place->disk = disk_sequence(st->st_dev);
	if (place->disk)
		memcpy(place->file_system, found.uuid, sizeof(place->file_system));
}

/*
 * A number is used again when the file that had it is gone.  Then both the generation and the time are others;
 * if only one of them is, it is the file system that has told something else.
 */
bool identity_has_replaced(const struct identity *now, const struct identity *left)
{
	struct facts ours, theirs;

	memcpy(&ours, now->bytes, sizeof(ours));
	memcpy(&theirs, left->bytes, sizeof(theirs));
	return now->place.disk && memcmp(&now->place, &left->place, sizeof(now->place)) == 0 &&
	       memcmp(ours.boot, theirs.boot, sizeof(ours.boot)) == 0 &&
	       ours.device == theirs.device && ours.number == theirs.number &&
	       ours.file_system == theirs.file_system && ours.handle && theirs.handle &&
	       ours.handle != theirs.handle && theirs.made_ns && ours.made_ns > theirs.made_ns;
}

int identity_of(struct identity *identity, int fd)
{
	struct facts facts;
	struct stat st;
	int err = find_facts(&facts, fd, &st);

	if (err)
		return err;
	memset(identity, 0, sizeof(*identity));
	find_place(&identity->place, fd, &st);
	if (S_ISBLK(st.st_mode))
		snprintf(identity->name, sizeof(identity->name), "%u:%u", major(st.st_rdev),
			 minor(st.st_rdev));
	else
		snprintf(identity->name, sizeof(identity->name), "%u:%u:%llu", major(st.st_dev),
			 minor(st.st_dev), (unsigned long long)st.st_ino);
	memcpy(identity->bytes, &facts, sizeof(facts));
	return 0;
}

int identity_add(uint64_t *sum, int fd)
{
	struct facts facts;
	struct stat st;
	int err = find_facts(&facts, fd, &st);

	if (err)
		return err;
	facts.device = facts.disk = 0;
	facts.file_system = 0; /* of XFS, that is its device's number */
	*sum = hash(*sum, &facts, sizeof(facts));
	return 0;
}

uint64_t identity_mark(const struct identity *identity, const char *view)
{
	uint64_t of_view = hash(0, view, strlen(view));

	return MARK_OURS << 48 |
	       (hash(of_view, identity->bytes, sizeof(identity->bytes)) & MARK_HASH);
}

bool identity_is_mark(uint64_t mark)
{
	return mark >> 48 == MARK_OURS;
}

void identity_text(const struct identity *identity, char text[IDENTITY_TEXT])
{
	for (unsigned i = 0; i < sizeof(identity->bytes); i++)
		snprintf(text + 2 * i, 3, "%02x", identity->bytes[i]);
}
