/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which streams make a cluster: those that QEMU takes, and nothing goes beyond the cluster. */
#include "base.h"
#include "inflate.h"

#include "check.h"

#include <errno.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

#define CLUSTER 4096u
#define STREAM_MAX (8 * CLUSTER)
#define GUARD 0xee

static struct inflater *inflater;
static uint8_t cluster[2 * CLUSTER];
static uint8_t stream[STREAM_MAX];

static void fill_cluster(void)
{
	uint32_t word = 1;

	/* Half noise, half text, so that streams are neither short nor stored. */
	for (unsigned i = 0; i < sizeof(cluster); i++) {
		word = word * 1664525 + 1013904223;
		cluster[i] = i % 512 < 256 ? (uint8_t)(word >> 24) : (uint8_t)('a' + i % 7);
	}
}

/* Raw deflate, or with a zlib header; without a final block when @final is false. */
static size_t deflated(size_t bytes, int window_bits, bool final)
{
	z_stream zlib = { 0 };

	deflateInit2(&zlib, 6, Z_DEFLATED, window_bits, 9, Z_DEFAULT_STRATEGY);
	zlib.next_in = cluster;
	zlib.avail_in = (uInt)bytes;
	zlib.next_out = stream;
	zlib.avail_out = sizeof(stream);
	deflate(&zlib, final ? Z_FINISH : Z_SYNC_FLUSH);
	deflateEnd(&zlib);
	return zlib.total_out;
}

static int inflated(enum inflate_kind kind, size_t in_bytes)
{
	static uint8_t out[CLUSTER + 512];
	int err;

	memset(out, GUARD, sizeof(out));
	err = inflate_cluster(inflater, kind, stream, in_bytes, out, CLUSTER);
	for (unsigned i = CLUSTER; i < sizeof(out); i++)
		CHECK(out[i] == GUARD);
	if (!err)
		CHECK(memcmp(out, cluster, CLUSTER) == 0);
	return err;
}

static void test_zlib(void)
{
	size_t len = deflated(CLUSTER, -12, true);

	check_case("zlib: a stream, exactly");
	CHECK(inflated(INFLATE_ZLIB, len) == 0);
	check_case("zlib: garbage behind it");
	memset(stream + len, 0xa5, 1024);
	CHECK(inflated(INFLATE_ZLIB, len + 1024) == 0);
	check_case("zlib: cut off");
	CHECK(inflated(INFLATE_ZLIB, len / 2) == -EIO);
	CHECK(inflated(INFLATE_ZLIB, 0) == -EIO);
	check_case("zlib: goes on behind the cluster");
	CHECK(inflated(INFLATE_ZLIB, deflated(2 * CLUSTER, -12, true)) == 0);
	check_case("zlib: too little for a cluster");
	CHECK(inflated(INFLATE_ZLIB, deflated(CLUSTER - 1, -12, true)) == -EIO);
	check_case("zlib: a larger window than QEMU writes");
	CHECK(inflated(INFLATE_ZLIB, deflated(CLUSTER, -15, true)) == 0);
	check_case("zlib: no final block, and nothing behind it");
	CHECK(inflated(INFLATE_ZLIB, deflated(CLUSTER, -12, false)) == 0);
	check_case("zlib: with a header and a checksum");
	CHECK(inflated(INFLATE_ZLIB, deflated(CLUSTER, 12, true)) == -EIO);
}

static size_t frame(size_t at, size_t from, size_t bytes, bool checksum)
{
	ZSTD_CCtx *context = ZSTD_createCCtx();
	size_t len;

	ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, checksum);
	len = ZSTD_compress2(context, stream + at, sizeof(stream) - at, cluster + from, bytes);
	ZSTD_freeCCtx(context);
	return len;
}

/* A cluster that is not compressed, as zstd 0.7 had it. */
static size_t frame_of_0_7(void)
{
	static const uint8_t head[] = { 0x27,
					0xb5,
					0x2f,
					0xfd,
					0x60,
					0xff & (CLUSTER - 256),
					(CLUSTER - 256) >> 8,
					/* a block: */ 0x40 | CLUSTER >> 16,
					0xff & CLUSTER >> 8,
					0xff & CLUSTER };
	static const uint8_t end[] = { 0xc0, 0, 0 };

	memcpy(stream, head, sizeof(head));
	memcpy(stream + sizeof(head), cluster, CLUSTER);
	memcpy(stream + sizeof(head) + CLUSTER, end, sizeof(end));
	return sizeof(head) + CLUSTER + sizeof(end);
}

static void test_zstd(void)
{
	static const uint8_t skippable[] = { 0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4 };
	size_t len = frame(0, 0, CLUSTER, false);

	check_case("zstd: a frame, exactly");
	CHECK(inflated(INFLATE_ZSTD, len) == 0);
	check_case("zstd: garbage behind it");
	memset(stream + len, 0xa5, 1024);
	CHECK(inflated(INFLATE_ZSTD, len + 1024) == 0);
	check_case("zstd: cut off");
	CHECK(inflated(INFLATE_ZSTD, len - 1) == -EIO);
	CHECK(inflated(INFLATE_ZSTD, 0) == -EIO);
	check_case("zstd: with a checksum");
	CHECK(inflated(INFLATE_ZSTD, frame(0, 0, CLUSTER, true)) == 0);
	check_case("zstd: two frames");
	len = frame(0, 0, 1000, false);
	CHECK(inflated(INFLATE_ZSTD, len + frame(len, 1000, CLUSTER - 1000, false)) == 0);
	check_case("zstd: a skippable frame first");
	memcpy(stream, skippable, sizeof(skippable));
	len = sizeof(skippable) + frame(sizeof(skippable), 0, CLUSTER, false);
	CHECK(inflated(INFLATE_ZSTD, len) == 0);
	check_case("zstd: more than a cluster");
	CHECK(inflated(INFLATE_ZSTD, frame(0, 0, CLUSTER + 1, false)) == -EIO);
	check_case("zstd: too little for a cluster");
	CHECK(inflated(INFLATE_ZSTD, frame(0, 0, CLUSTER - 1, false)) == -EIO);
	check_case("zstd: of before its first release");
	CHECK(inflated(INFLATE_ZSTD, frame_of_0_7()) == -EIO);
}

int main(void)
{
	fill_cluster();
	inflater = inflater_open(1u << INFLATE_ZLIB | 1u << INFLATE_ZSTD);
	if (!inflater)
		return 1;
	test_zlib();
	test_zstd();
	inflater_free(inflater);
	return check_end();
}
