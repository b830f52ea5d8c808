/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Print what our decoder makes of an image's header, as JSON; a helper of qemu_headers.py. */
#include "format.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const uint8_t *bytes;

static void print_range(const char *key, struct header_range range)
{
	printf("\"%s\": \"", key);
	for (uint32_t i = 0; i < range.len; i++)
		printf("%02x", bytes[range.off + i]);
	printf("\", ");
}

static void print_header(const struct qcow2_header *h)
{
	struct geometry g = qcow2_geometry(h);

	printf("{ ");
	print_range("backing_name", h->backing_name);
	print_range("backing_format", h->backing_format);
	print_range("data_file_name", h->data_file_name);
	print_range("bitmaps", h->bitmaps);
	printf("\"version\": %u, \"cluster_bytes\": %" PRIu32 ", \"size_bytes\": %" PRIu64 ", ",
	       h->version, g.cluster_bytes, h->size_bytes);
	printf("\"refcount_bits\": %u, \"refcount_table\": %" PRIu64 ", \"l1\": %" PRIu64 ", ",
	       1u << h->refcount_order, h->refcount_table.byte, h->l1.byte);
	printf("\"l1_entries\": %" PRIu32 ", \"snapshots\": %" PRIu32 ", \"crypt\": %" PRIu32 ", ",
	       h->l1_entries, h->snapshots, h->crypt_method);
	printf("\"incompatible\": %" PRIu64 ", \"compatible\": %" PRIu64 ", \"autoclear\": %" PRIu64
	       ", ",
	       h->incompatible, h->compatible, h->autoclear);
	printf("\"compression_type\": %u }\n", h->compression_type);
}

int main(int argc, char **argv)
{
	uint8_t *room = malloc(QCOW2_HEADER_READ);
	struct qcow2_header header;
	struct why why;
	size_t len;
	FILE *file;

	if (argc != 2 || !room || !(file = fopen(argv[1], "rb")))
		return 2;
	len = fread(room, 1, QCOW2_HEADER_READ, file);
	fclose(file);
	bytes = room;
	if (qcow2_header_decode(room, len, "image", &header, &why)) {
		fprintf(stderr, "%s\n", why.text);
		free(room);
		return 1;
	}
	print_header(&header);
	free(room);
	return 0;
}
