/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What decompression costs, by library: all compressed clusters of an image, in memory, one after
 * the other, in processor time.  For people: the figures in src/image/README.md were made with it.
 */
#include "format.h"
#include "inflate.h"

#include <errno.h>
#include <fcntl.h>
#include <libdeflate.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

struct stream {
	uint8_t *bytes;
	size_t len;
};

struct bench {
	int fd;
	struct qcow2_header header;
	struct geometry geo;
	struct stream *stream;
	size_t streams;
	size_t stream_bytes;
	uint8_t *out;
	struct inflater *inflater;
	struct libdeflate_decompressor *deflate;
	z_stream zlib;
};

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "inflate_cost: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* What is not there reads as zeros. */
static void read_at(const struct bench *b, void *to, size_t len, uint64_t off)
{
	ssize_t n = pread(b->fd, to, len, (off_t)off);

	if (n < 0)
		die("read");
	memset((uint8_t *)to + n, 0, len - (size_t)n);
}

static void add_stream(struct bench *b, uint64_t entry)
{
	struct compressed_range range = l2_compressed_range(&b->geo, entry);
	struct stream *stream;

	b->stream = realloc(b->stream, (b->streams + 1) * sizeof(*b->stream));
	if (!b->stream)
		die("memory");
	stream = &b->stream[b->streams++];
	stream->len = range.len;
	stream->bytes = malloc(range.len);
	if (!stream->bytes)
		die("memory");
	read_at(b, stream->bytes, range.len, range.off.byte);
	b->stream_bytes += range.len;
}

static void read_table(struct bench *b, struct host table)
{
	uint32_t bytes = b->geo.cluster_bytes;
	struct be64 *entry = malloc(bytes);

	if (!entry)
		die("memory");
	read_at(b, entry, bytes, table.byte);
	for (uint32_t i = 0; i < bytes / sizeof(*entry); i += b->geo.extended ? 2 : 1)
		if (l2_decode(&b->geo, be64_get(entry[i])).kind == L2_COMPRESSED)
			add_stream(b, be64_get(entry[i]));
	free(entry);
}

static void read_image(struct bench *b, const char *path)
{
	uint8_t *start = malloc(QCOW2_HEADER_READ);
	struct why why;

	b->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (b->fd < 0 || !start)
		die(path);
	read_at(b, start, QCOW2_HEADER_READ, 0);
	if (qcow2_header_decode(start, QCOW2_HEADER_READ, path, &b->header, &why)) {
		fprintf(stderr, "%s\n", why.text);
		exit(1);
	}
	free(start);
	b->geo = qcow2_geometry(&b->header);
	for (uint32_t i = 0; i < b->header.l1_entries; i++) {
		struct l1_entry l1;
		struct be64 entry;

		read_at(b, &entry, sizeof(entry), b->header.l1.byte + i * sizeof(entry));
		l1 = l1_decode(&b->geo, be64_get(entry));
		if (l1.kind == L1_TABLE)
			read_table(b, l1.host);
	}
}

static bool by_us(struct bench *b, const struct stream *stream)
{
	enum inflate_kind kind = b->header.compression_type ? INFLATE_ZSTD : INFLATE_ZLIB;

	return inflate_cluster(b->inflater, kind, stream->bytes, stream->len, b->out,
			       b->geo.cluster_bytes) == 0;
}

static bool by_libdeflate(struct bench *b, const struct stream *stream)
{
	size_t used, made;

	return libdeflate_deflate_decompress_ex(b->deflate, stream->bytes, stream->len, b->out,
						b->geo.cluster_bytes, &used,
						&made) == LIBDEFLATE_SUCCESS &&
	       made == b->geo.cluster_bytes;
}

static bool by_zlib(struct bench *b, const struct stream *stream)
{
	z_stream *zlib = &b->zlib;

	inflateReset(zlib);
	zlib->next_in = stream->bytes;
	zlib->avail_in = (uInt)stream->len;
	zlib->next_out = b->out;
	zlib->avail_out = b->geo.cluster_bytes;
	inflate(zlib, Z_FINISH);
	return zlib->avail_out == 0;
}

static double now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void measure(struct bench *b, const char *name,
		    bool (*inflate_one)(struct bench *b, const struct stream *stream))
{
	double *took = calloc(b->streams, sizeof(*took)), sum = 0;
	size_t refused = 0;

	if (!took)
		die("memory");
	for (size_t i = 0; i < b->streams; i++) {
		double from = now_us();

		refused += !inflate_one(b, &b->stream[i]);
		took[i] = now_us() - from;
		sum += took[i];
	}
	qsort(took, b->streams, sizeof(*took), by_value);
	printf("%-10s mean %7.1f us  median %7.1f  p99 %7.1f  %5.0f MB/s  refused %zu\n", name,
	       sum / (double)b->streams, took[b->streams / 2], took[b->streams * 99 / 100],
	       (double)b->streams * b->geo.cluster_bytes / sum, refused);
	free(took);
}

int main(int argc, char **argv)
{
	struct bench b = { 0 };
	unsigned rounds = argc > 2 ? (unsigned)atoi(argv[2]) : 2;

	if (argc < 2) {
		fprintf(stderr, "usage: inflate_cost IMAGE [ROUNDS]\n");
		return 2;
	}
	read_image(&b, argv[1]);
	b.out = malloc(b.geo.cluster_bytes);
	b.inflater = inflater_open(1u << INFLATE_ZLIB | 1u << INFLATE_ZSTD);
	b.deflate = libdeflate_alloc_decompressor();
	if (!b.out || !b.inflater || !b.deflate || inflateInit2(&b.zlib, -15) != Z_OK)
		die("memory");
	printf("%zu compressed clusters of %u bytes, %.1f to 1, zlib %s\n", b.streams,
	       b.geo.cluster_bytes,
	       (double)b.streams * b.geo.cluster_bytes / (double)(b.stream_bytes + 1),
	       zlibVersion());
	for (unsigned i = 0; i < rounds && b.streams; i++) {
		measure(&b, "ours", by_us);
		if (b.header.compression_type)
			continue;
		measure(&b, "libdeflate", by_libdeflate);
		measure(&b, "zlib", by_zlib);
	}
	return 0;
}
