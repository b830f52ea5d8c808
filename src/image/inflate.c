/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Decompression: which streams make a cluster?  Those that QEMU takes.
 *
 * "zlib" is a raw deflate stream.  One that would go on when the cluster is full is accepted, and so
 * is one that has no end but the end of its bytes; libdeflate, which is twice as fast, refuses
 * both, so then zlib decides.  "zstd" is one frame or several that fill the cluster together.
 *
 * Neither needs a window: both refer back into the output, which is all there.
 */
#include "inflate.h"

#include <endian.h>
#include <errno.h>
#include <libdeflate.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#define ZLIB_WINDOW_BITS (-15) /* raw; QEMU writes 12 bits and reads what it finds */
#define ZLIB_ARENA_BYTES (64 * KIB) /* zlib's state and its window, which it makes when needed */
#define ZLIB_ALIGN 64u

struct inflater {
	struct libdeflate_decompressor *deflate;
	z_stream zlib;
	bool zlib_is_made;
	ZSTD_DCtx *zstd;
	size_t arena_used;
	_Alignas(ZLIB_ALIGN) uint8_t arena[ZLIB_ARENA_BYTES];
};

/* zlib's memory comes from the arena, once: there is no allocation while images are served. */
static void *arena_take(void *arg, unsigned items, unsigned size)
{
	struct inflater *inflater = arg;
	uint64_t bytes = round_up((uint64_t)items * size, ZLIB_ALIGN);
	void *memory = inflater->arena + inflater->arena_used;

	if (bytes > sizeof(inflater->arena) - inflater->arena_used)
		return NULL;
	inflater->arena_used += bytes;
	return memory;
}

static void arena_give(void *arg, void *memory)
{
	(void)arg;
	(void)memory;
}

static bool open_zlib(struct inflater *inflater)
{
	inflater->deflate = libdeflate_alloc_decompressor();
	inflater->zlib.zalloc = arena_take;
	inflater->zlib.zfree = arena_give;
	inflater->zlib.opaque = inflater;
	inflater->zlib_is_made = inflateInit2(&inflater->zlib, ZLIB_WINDOW_BITS) == Z_OK;
	return inflater->deflate && inflater->zlib_is_made;
}

struct inflater *inflater_open(unsigned kinds)
{
	struct inflater *inflater = aligned_alloc(ZLIB_ALIGN, sizeof(*inflater));
	bool made = true;

	if (!inflater)
		return NULL;
	memset(inflater, 0, offsetof(struct inflater, arena));
	if (kinds & 1u << INFLATE_ZLIB)
		made = open_zlib(inflater);
	if (kinds & 1u << INFLATE_ZSTD)
		made &= (inflater->zstd = ZSTD_createDCtx()) != NULL;
	if (made)
		return inflater;
	inflater_free(inflater);
	return NULL;
}

void inflater_free(struct inflater *inflater)
{
	if (!inflater)
		return;
	libdeflate_free_decompressor(inflater->deflate);
	if (inflater->zlib_is_made)
		inflateEnd(&inflater->zlib);
	ZSTD_freeDCtx(inflater->zstd);
	free(inflater);
}

static bool inflate_slowly(struct inflater *inflater, const void *in, size_t in_bytes, void *out,
			   size_t out_bytes)
{
	z_stream *zlib = &inflater->zlib;
	int result;

	if (inflateReset(zlib) != Z_OK)
		return false;
	zlib->next_in = (z_const Bytef *)in;
	zlib->avail_in = (uInt)in_bytes;
	zlib->next_out = out;
	zlib->avail_out = (uInt)out_bytes;
	result = inflate(zlib, Z_FINISH);
	return zlib->avail_out == 0 && (result == Z_STREAM_END || result == Z_BUF_ERROR);
}

static bool inflate_zlib(struct inflater *inflater, const void *in, size_t in_bytes, void *out,
			 size_t out_bytes)
{
	size_t used, made;
	enum libdeflate_result result = libdeflate_deflate_decompress_ex(inflater->deflate, in,
									 in_bytes, out, out_bytes,
									 &used, &made);

	if (result == LIBDEFLATE_SUCCESS && made == out_bytes)
		return true;
	return inflate_slowly(inflater, in, in_bytes, out, out_bytes);
}

/* libzstd may know formats of before its first release as well, whose decoders allocate. */
static bool is_zstd_frame(const uint8_t *in, size_t in_bytes)
{
	uint32_t magic;

	if (in_bytes < sizeof(magic))
		return false;
	memcpy(&magic, in, sizeof(magic));
	magic = le32toh(magic);
	return magic == ZSTD_MAGICNUMBER ||
	       (magic & ZSTD_MAGIC_SKIPPABLE_MASK) == ZSTD_MAGIC_SKIPPABLE_START;
}

/* Frame after frame; a frame is decompressed in one go, so there is no window to allocate. */
static bool inflate_zstd(struct inflater *inflater, const uint8_t *in, size_t in_bytes,
			 uint8_t *out, size_t out_bytes)
{
	while (out_bytes > 0) {
		size_t frame, made;

		if (!is_zstd_frame(in, in_bytes))
			return false;
		frame = ZSTD_findFrameCompressedSize(in, in_bytes);
		if (ZSTD_isError(frame) || frame == 0)
			return false;
		made = ZSTD_decompressDCtx(inflater->zstd, out, out_bytes, in, frame);
		if (ZSTD_isError(made) || made > out_bytes)
			return false;
		in += frame;
		in_bytes -= frame;
		out += made;
		out_bytes -= made;
	}
	return true;
}

int inflate_cluster(struct inflater *inflater, enum inflate_kind kind, const void *in,
		    size_t in_bytes, void *out, size_t out_bytes)
{
	bool good = kind == INFLATE_ZSTD ? inflate_zstd(inflater, in, in_bytes, out, out_bytes) :
					   inflate_zlib(inflater, in, in_bytes, out, out_bytes);

	return good ? 0 : -EIO;
}
