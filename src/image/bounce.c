/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The buffers are a lane's own, in two sizes: small ones for all that a lane can have under way, and
 * some in which a cluster has room.  Address space is reserved at open and touched when used; what
 * was used last is used first.
 */
#include "bounce.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#define SMALL_BYTES (16 * KIB)
#define PIECE_BYTES (128 * KIB) /* a step encrypts no more, but a cluster in any case */
#define LARGE_BYTES_TOTAL (8 * MIB)
#define LARGE_LEAST 4u

/* --- open ------------------------------------------------------------------------------------------ */

static int open_pool(struct bounce_pool *pool, uint8_t *memory)
{
	waitq_init(&pool->waiters);
	pool->free = calloc(pool->buffers, sizeof(*pool->free));
	if (!pool->free)
		return -ENOMEM;
	for (uint32_t i = 0; i < pool->buffers; i++)
		pool->free[pool->free_count++] = memory + (size_t)i * pool->bytes;
	return 0;
}

static int open_lane(struct bounce *bounce, const struct bounce_pool *like)
{
	size_t bytes[BOUNCE_POOLS];

	for (unsigned i = 0; i < BOUNCE_POOLS; i++) {
		bounce->pool[i] = like[i];
		bytes[i] = (size_t)like[i].buffers * like[i].bytes;
		bounce->memory_bytes += bytes[i];
	}
	bounce->memory = sparse_map(bounce->memory_bytes);
	if (!bounce->memory)
		return -ENOMEM;
	if (open_pool(&bounce->pool[0], bounce->memory) ||
	    open_pool(&bounce->pool[1], bounce->memory + bytes[0]))
		return -ENOMEM;
	return 0;
}

int bounce_open(struct image *image, unsigned reqs_per_lane, unsigned buffers)
{
	uint64_t large = max_u64(image->top.geo.cluster_bytes, PIECE_BYTES);
	struct bounce_pool like[BOUNCE_POOLS] = {
		{ .bytes = SMALL_BYTES, .buffers = reqs_per_lane },
		{ .bytes = (uint32_t)large,
		  .buffers = (uint32_t)max_u64(LARGE_BYTES_TOTAL / large, LARGE_LEAST) },
	};

	if (!image->top.cipher || image->read_only)
		return 0;
	for (unsigned i = 0; i < BOUNCE_POOLS && buffers; i++)
		like[i].buffers = buffers;
	for (unsigned i = 0; i < image->lanes; i++) {
		pthread_mutex_init(&image->lane[i].bounce.lock, NULL);
		if (open_lane(&image->lane[i].bounce, like))
			return -ENOMEM;
	}
	return 0;
}

void bounce_free(struct image *image)
{
	for (unsigned i = 0; i < image->lanes; i++) {
		struct bounce *bounce = &image->lane[i].bounce;

		if (bounce->memory)
			munmap(bounce->memory, bounce->memory_bytes);
		for (unsigned k = 0; k < BOUNCE_POOLS; k++)
			free(bounce->pool[k].free);
	}
}

/* --- pieces ---------------------------------------------------------------------------------------- */

uint64_t bounce_write_bytes(const struct part *part)
{
	const struct geometry *geo = &part->image->top.geo;

	if (!part->image->top.cipher)
		return part->len;
	return min_u64(part->len, max_u64(geo->cluster_bytes, PIECE_BYTES) -
					  guest_in_cluster(geo, part->guest));
}

uint64_t bounce_read_bytes(const struct part *part)
{
	if (!extent_is_encrypted(part))
		return part->extent.len;
	return min_u64(part->extent.len, PIECE_BYTES);
}

/* --- buffers --------------------------------------------------------------------------------------- */

bool bounce_take(struct bounce *bounce, struct part *part, uint64_t bytes, struct waitq **wait)
{
	unsigned nth = bytes > SMALL_BYTES;
	struct bounce_pool *pool = &bounce->pool[nth];

	must(!part->bounce);
	must(bytes <= pool->bytes);
	*wait = &pool->waiters;
	if (!pool->free_count)
		return false;
	part->bounce = pool->free[--pool->free_count];
	part->bounce_pool = (uint8_t)nth;
	return true;
}

void bounce_put(struct bounce *bounce, struct part *part)
{
	struct bounce_pool *pool = &bounce->pool[part->bounce_pool];

	if (!part->bounce)
		return;
	must(pool->free_count < pool->buffers);
	pool->free[pool->free_count++] = part->bounce;
	part->bounce = NULL;
	if (!mutant(NO_BOUNCE_WAKE))
		waitq_wake(&pool->waiters);
}

/* --- bytes ----------------------------------------------------------------------------------------- */

int bounce_encrypt(struct part *part, uint64_t at, struct span from, struct host host,
		   uint64_t bytes)
{
	if (!bytes)
		return 0;
	return cipher_encrypt(part->image->top.cipher, part->task.lane->id, host.byte / SECTOR_SIZE,
			      span_address(from), part->bounce + at, bytes);
}

int bounce_decrypt(struct part *part)
{
	const struct extent *extent = &part->extent;
	struct cipher *cipher = part->node->cipher;
	void *bytes = span_address(part->span);

	if (mutant(ONE_KEY) && part->image->top.cipher)
		cipher = part->image->top.cipher;
	return cipher_decrypt(cipher, part->task.lane->id, extent->host.byte / SECTOR_SIZE, bytes,
			      bytes, extent->len);
}
