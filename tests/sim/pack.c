/* SPDX-License-Identifier: GPL-2.0-or-later */
/* zlib and zstd, the simple way. */
#include "pack.h"

#include <zlib.h>
#include <zstd.h>

#define WINDOW_BITS (-12) /* raw deflate, as QEMU writes it */
#define MEMORY_LEVEL 9

uint64_t pack_bound(uint64_t bytes)
{
	return 2 * bytes + 1024;
}

static uint64_t pack_zlib(unsigned level, const uint8_t *in, uint64_t bytes, uint8_t *out)
{
	z_stream stream = { 0 };

	must(deflateInit2(&stream, (int)level, Z_DEFLATED, WINDOW_BITS, MEMORY_LEVEL,
			  Z_DEFAULT_STRATEGY) == Z_OK);
	stream.next_in = (z_const Bytef *)in;
	stream.avail_in = (uInt)bytes;
	stream.next_out = out;
	stream.avail_out = (uInt)pack_bound(bytes);
	must(deflate(&stream, Z_FINISH) == Z_STREAM_END);
	deflateEnd(&stream);
	return stream.total_out;
}

uint64_t pack(bool zstd, unsigned level, const uint8_t *in, uint64_t bytes, uint8_t *out)
{
	size_t len;

	if (!zstd)
		return pack_zlib(level, in, bytes, out);
	len = ZSTD_compress(out, pack_bound(bytes), in, bytes, (int)level);
	must(!ZSTD_isError(len));
	return len;
}

static bool unpack_zlib(const uint8_t *in, uint64_t in_bytes, uint8_t *out, uint64_t bytes)
{
	z_stream stream = { 0 };

	must(inflateInit2(&stream, WINDOW_BITS) == Z_OK);
	stream.next_in = (z_const Bytef *)in;
	stream.avail_in = (uInt)in_bytes;
	stream.next_out = out;
	stream.avail_out = (uInt)bytes;
	inflate(&stream, Z_FINISH);
	inflateEnd(&stream);
	return stream.avail_out == 0;
}

bool unpack(bool zstd, const uint8_t *in, uint64_t in_bytes, uint8_t *out, uint64_t bytes)
{
	ZSTD_inBuffer from = { in, in_bytes, 0 };
	ZSTD_outBuffer to = { out, bytes, 0 };
	ZSTD_DCtx *context;
	size_t left;

	if (!zstd)
		return unpack_zlib(in, in_bytes, out, bytes);
	context = ZSTD_createDCtx();
	do
		left = ZSTD_decompressStream(context, &to, &from);
	while (!ZSTD_isError(left) && left && to.pos < to.size && from.pos < from.size);
	ZSTD_freeDCtx(context);
	return left == 0 && to.pos == to.size;
}
