/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One layer: what its header says, and whether it can be served. */
#include "node.h"

#include "cache.h"
#include "snapshot.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

static int no_memory(const struct host_file *file, struct why *why)
{
	return why_set(why, -ENOMEM, "%s: not enough memory", file->name);
}

static int refuse(const struct host_file *file, struct why *why, const char *what)
{
	return why_set(why, -ENOTSUP, "%s: %s", file->name, what);
}

/* Features that the header names and this engine does not have. */
static int check_supported(const struct host_file *file, const struct qcow2_header *header,
			   bool read_only, struct why *why)
{
	if (header->crypt_method == CRYPT_AES)
		return refuse(file, why,
			      "has the old AES encryption of qcow2, which protects little and is "
			      "not supported; convert it with qemu-img convert -O qcow2 -o "
			      "encrypt.format=luks");
	if (header->crypt_method && !crypto_available())
		return refuse(
			file, why,
			"is encrypted, and there is no libcrypto: install that of OpenSSL 3, or "
			"a qcow2-ublkd that was built with it");
	if (header->autoclear & QCOW2_DATA_FILE_RAW && header->has_backing)
		return refuse(file, why,
			      "has a raw data file and a backing file, which cannot both be right; "
			      "drop the backing file with qemu-img rebase -u -b ''");
	if (read_only)
		return 0;
	if (header->incompatible & QCOW2_DATA_FILE && header->snapshots)
		return refuse(file, why,
			      "has internal snapshots and an external data file, which cannot keep "
			      "their bytes; convert it with qemu-img convert, or use --read-only");
	/* A corrupt image may be one to be taken over: see open.c. */
	if (header->incompatible & QCOW2_DIRTY && !(header->incompatible & QCOW2_CORRUPT))
		return refuse(file, why,
			      "is marked dirty (lazy refcounts); repair it with "
			      "qemu-img check -r all, or use --read-only");
	return 0;
}

/* A file's name in the header, as a string; @whose for messages. */
static int keep_name(struct node *node, const uint8_t *bytes, const struct header_range *range,
		     const char *whose, char **name, struct why *why)
{
	if (memchr(bytes + range->off, '\0', range->len))
		return why_set(why, -EINVAL, "%s: the name of its %s has a zero byte in it",
			       node->file->name, whose);
	*name = strndup((const char *)bytes + range->off, range->len);
	return *name ? 0 : no_memory(node->file, why);
}

/* What the header says about the layer below. */
static int keep_below(struct node *node, const uint8_t *bytes, struct why *why)
{
	const struct header_range *name = &node->header.backing_name;
	const struct header_range *format = &node->header.backing_format;

	if (!node->header.has_backing || name->len == 0)
		return 0;
	memcpy(node->below_format, bytes + format->off,
	       min_u64(format->len, sizeof(node->below_format) - 1));
	return keep_name(node, bytes, name, "backing file", &node->below_name, why);
}

/* ... and about the file that has the guest's bytes. */
static int keep_data(struct node *node, const uint8_t *bytes, struct why *why)
{
	const struct header_range *name = &node->header.data_file_name;

	if (!(node->header.incompatible & QCOW2_DATA_FILE))
		return 0;
	if (name->len == 0)
		return why_set(why, -ENOTSUP,
			       "%s: does not record the name of its data file; record it with "
			       "qemu-img amend -o data_file=NAME",
			       node->file->name);
	if (name->len > LIMIT_DATA_FILE_NAME)
		return why_set(why, -EINVAL, "%s: the name of its data file is too long: %u bytes",
			       node->file->name, name->len);
	node->data_raw = node->header.autoclear & QCOW2_DATA_FILE_RAW;
	return keep_name(node, bytes, name, "data file", &node->data_name, why);
}

static int64_t read_start(struct node *node, void *bytes, size_t len, struct why *why)
{
	int64_t got = node->file->read(node->file, bytes, len, 0);

	if (got < 0)
		return why_set(why, (int)got, "%s: cannot read the header: %s", node->file->name,
			       strerror((int)-got));
	memset((uint8_t *)bytes + got, 0, len - (size_t)got);
	return got;
}

static int read_header(struct node *node, bool read_only, struct why *why)
{
	struct host_file *file = node->file;
	uint8_t *bytes = NULL;
	size_t len;
	int64_t got;
	int err;

	node->header_sector = aligned_alloc(LIMIT_SLICE_BYTES, LIMIT_SLICE_BYTES);
	if (!node->header_sector)
		return no_memory(file, why);
	got = read_start(node, node->header_sector, LIMIT_SLICE_BYTES, why);
	if (got < 0)
		return (int)got;
	len = max_u64(qcow2_header_most(node->header_sector), LIMIT_SLICE_BYTES);
	bytes = malloc(len);
	if (!bytes)
		return no_memory(file, why);
	got = read_start(node, bytes, len, why);
	if (got < 0) {
		free(bytes);
		return (int)got;
	}
	err = qcow2_header_decode(bytes, (size_t)got, file->name, &node->header, why);
	if (!err)
		err = check_supported(file, &node->header, read_only, why);
	if (!err && node->header.bitmaps.len)
		node->bitmaps = bitmap_directory_decode(bytes + node->header.bitmaps.off);
	if (!err && node->header.crypto.len)
		node->crypto = crypto_area_decode(bytes + node->header.crypto.off);
	if (!err)
		err = keep_below(node, bytes, why);
	if (!err)
		err = keep_data(node, bytes, why);
	free(bytes);
	return err;
}

/*
 * L1 up to the end of its last sector, so that sectors can be written back.  What lies behind its last
 * entry is not the table's, and would be once it has grown: zeros here, whatever there is on disk.
 */
static int read_l1(struct node *node, struct why *why)
{
	struct host_file *file = node->file;
	uint64_t bytes = (uint64_t)node->header.l1_entries * sizeof(*node->l1);
	int64_t got = 0;

	node->l1_entries = node->header.l1_entries;
	node->l1_bytes = round_up(max_u64(bytes, 1), SECTOR_SIZE);
	node->l1 = mmap(NULL, node->l1_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			-1, 0);
	if (node->l1 == MAP_FAILED) {
		node->l1 = NULL;
		return no_memory(file, why);
	}
	if (bytes)
		got = file->read(file, node->l1, node->l1_bytes, node->header.l1.byte);
	if (got < 0)
		return why_set(why, (int)got, "%s: cannot read the L1 table: %s", file->name,
			       strerror((int)-got));
	if (!mutant(L1_TAIL_STAYS))
		memset((uint8_t *)node->l1 + bytes, 0, node->l1_bytes - bytes);
	return 0;
}

int node_open(struct node *node, struct image *image, struct host_file *file, bool read_only,
	      const char *snapshot, struct why *why)
{
	int err;

	node->image = image;
	node->file = file;
	node->data = file;
	err = read_header(node, read_only, why);
	if (err)
		return err;
	node->geo = qcow2_geometry(&node->header);
	if (snapshot)
		err = snapshot_choose(node, snapshot, why);
	node->size_bytes = node->geo.size_bytes;
	return err ? err : read_l1(node, why);
}

void node_open_raw(struct node *node, struct image *image, struct host_file *file)
{
	node->image = image;
	node->file = file;
	node->data = file;
	node->raw = true;
	/* The host completes a last sector that is cut off with zeros. */
	node->geo.size_bytes = div_round_up(file->size, SECTOR_SIZE) * SECTOR_SIZE;
	node->size_bytes = node->geo.size_bytes;
}

void node_close(struct node *node)
{
	cache_free(node);
	cipher_free(node->cipher);
	if (node->l1 && !node->l1_lent)
		munmap(node->l1, node->l1_bytes);
	free(node->header_sector);
	free(node->data_name);
	free(node->below_name);
}
