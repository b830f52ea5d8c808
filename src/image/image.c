/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The front door: requests in, facts and counters out. */
#include "image.h"

#include "alloc.h"
#include "arena.h"
#include "cache.h"
#include "chain.h"
#include "door.h"
#include "hit.h"
#include "messages.h"
#include "part.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#ifdef MUTANTS
enum mutant mutant_planted;
void (*kill_hook)(void);
#endif

void (*image_peek_seam)(void);

static void refuse(struct req *req, int err)
{
	req->result = err;
	req->done(req);
}

/* Kept out of image_submit(), which would need registers for it. */
__attribute__((noinline)) static void submit_rest(struct image *image, struct lane *lane,
						  struct req *req, uint32_t weight)
{
	must(!image->encrypted || req->op > REQ_WRITE || span_is_memory(req->span));
	if (image->read_only && req->op == REQ_FLUSH)
		refuse(req, 0);
	else if (image->read_only && req->op != REQ_READ)
		refuse(req, -EROFS);
	else if (!req->len && req->op != REQ_FLUSH)
		refuse(req, 0);
	else if (door_enter(image, image_lane(image, lane), req))
		part_start(image, lane, req, weight);
	else
		refuse(req, -EIO);
}

void image_submit(struct image *image, struct lane *lane, struct req *req)
{
	must(is_aligned(req->guest.byte | req->len, SECTOR_SIZE));
	must(lane->id < image->lanes);

	uint32_t weight = hit_start(image, lane, req);

	if (weight)
		submit_rest(image, lane, req, weight);
}

/* Who waits for the end of a run hears of it: each run ends. */
static void wake_flush(struct image *image)
{
	CRITICAL(&image->flush.lock);
	waitq_wake(&image->flush.starved);
}

/* It may have to set the corrupt mark.  Who waits for stock hears from it: each order is answered. */
static void wake_alloc(struct image *image)
{
	CRITICAL(&image->alloc.lock);
	waitq_wake(&image->alloc.idle);
}

static void wake_shard(struct shard *shard)
{
	CRITICAL(&shard->lock);
	waitq_wake(&shard->starved);
}

/* Whoever waits for what will not come now looks again. */
static void wake_all(struct image *image)
{
	wake_flush(image);
	wake_alloc(image);
	for (uint32_t i = 0; i < image->top.cache.nshards; i++)
		wake_shard(&image->top.cache.shards[i]);
}

void image_break(struct image *image, int err, const char *what)
{
	int was = 0;

	if (!atomic_compare_exchange_strong(&image->broken, &was, -EIO))
		return;
	arena_broken(image, ARENA_BROKEN);
	log_event(MESSAGE_BROKEN,
		  "%s: %s failed: %s; nothing is written to it any more, reads go on",
		  image->top.file->name, what, strerror(-err));
	wake_all(image);
}

void image_corrupt(struct image *image, const char *format, ...)
{
	char what[128];
	int was = 0;
	va_list args;

	if (image->read_only || !atomic_compare_exchange_strong(&image->broken, &was, -EIO))
		return;
	arena_broken(image, ARENA_CORRUPT);
	/* Before the message, which may take its time: drops look at it. */
	atomic_store(&image->corrupt, true);
	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	log_event(MESSAGE_CORRUPT,
		  "%s: is corrupt: %s; nothing is written to it any more; repair it with "
		  "qcow2-ublkd check --repair all",
		  image->top.file->name, what);
	wake_all(image);
}

struct image_info image_info(const struct image *image)
{
	return (struct image_info){
		.size_bytes = image_disk_bytes(image),
		.cluster_bytes = image->top.geo.cluster_bytes,
		.version = image->top.geo.version,
		.read_only = image->read_only,
		/* No holes are punched in the data file of an encrypted image. */
		.discards = !image->read_only && !(image->top.geo.data_apart && image->top.cipher),
		.layers = chain_layers(image),
		.encrypted = image->encrypted,
		.broken = image_broken(image),
	};
}

enum image_health image_health(const struct image *image)
{
	if (!image_broken(image))
		return IMAGE_SOUND;
	return atomic_load(&image->corrupt) ? IMAGE_CORRUPT : IMAGE_BROKEN;
}

struct image_dirt image_dirt(struct image *image)
{
	CRITICAL(&image->flush.lock);
	return (struct image_dirt){
		.slices = image->flush.dirty_count,
		.slices_max = image->flush.dirty_max,
	};
}

static uint64_t epoch_wait(const struct image *image)
{
	const struct lane *lane = image->lane[0].lane;
	uint64_t now = lane_now(lane), since;

	if (!atomic_load_explicit(&image->epoch.wanted, memory_order_relaxed))
		return 0;
	since = stats_get(&image->epoch.wanted_at);
	return now > since ? now - since : 0;
}

struct image_stats image_stats(const struct image *image)
{
	const struct counters *counters = &image->counters;

	return (struct image_stats){
		.syncs = stats_get(&counters->syncs),
		.flush_runs = stats_get(&counters->flush_runs),
		.refills = stats_get(&counters->refills),
		.slice_loads = stats_get(&counters->slice_loads),
		.slice_writes = stats_get(&counters->slice_writes),
		.clusters_allocated = stats_get(&counters->clusters_allocated),
		.clusters_released = stats_get(&counters->clusters_released),
		.clusters_unpacked = stats_get(&counters->clusters_unpacked),
		.clusters_reserved = stats_get(&counters->clusters_reserved),
		.clusters_taken = stats_get(&counters->clusters_taken),
		.clusters_dropped = stats_get(&counters->clusters_dropped),
		.epoch_ns = epoch_wait(image),
	};
}

void image_traffic(const struct image *image, unsigned lane, struct image_traffic *sum)
{
	const struct image_lane *own = &image->lane[lane];

	for (unsigned op = 0; op < REQ_OPS; op++)
		for (unsigned cause = 0; cause < CAUSES; cause++)
			histogram_sum(&sum->request[op][cause], &own->requests[op][cause]);
	for (unsigned op = 0; op < IO_HOST_OPS; op++) {
		histogram_sum(&sum->host[op], &own->lane->host[op].time);
		sum->host_bytes[op] += stats_get(&own->lane->host[op].bytes);
	}
}
