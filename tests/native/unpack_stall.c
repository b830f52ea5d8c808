/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How long requests that hit are held up by others that decompress, on one queue: one client reads
 * 4 KiB at a time of the clusters in front of SPLIT, which are not compressed, and DEPTH others
 * read the compressed ones behind it.  For people: the figures in src/image/README.md were made
 * with it.
 */
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define SAMPLES_MAX 1000000u
#define REQUEST_BYTES 4096u

static struct stall {
	struct rig rig;
	uint64_t split;
	uint64_t size;
	unsigned depth;
	unsigned busy;
	bool over;
	sem_t ended;
	uint64_t until;
	uint64_t unpacked;
	uint64_t asked_at;
	uint64_t *took; /* nanoseconds, of each that hit */
	size_t samples;
	struct req hit;
	struct req *reader;
	uint64_t at; /* the next compressed one */
	uint8_t *memory;
} stall;

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static void submit(struct req *req, uint64_t at)
{
	req->op = REQ_READ;
	req->guest.byte = at;
	req->len = REQUEST_BYTES;
	stall.busy++;
	image_submit(stall.rig.image, stall.rig.lane[0], req);
}

static bool ends(void)
{
	stall.busy--;
	if (now_ns() < stall.until)
		return false;
	if (!stall.busy)
		sem_post(&stall.ended);
	return true;
}

static void hit_done(struct req *req)
{
	if (stall.samples < SAMPLES_MAX)
		stall.took[stall.samples++] = now_ns() - stall.asked_at;
	must(!req->result);
	if (ends())
		return;
	stall.asked_at = now_ns();
	submit(req, (req->guest.byte + REQUEST_BYTES) % stall.split);
}

/* Each reads another cluster, so that each has to be decompressed. */
static uint64_t next_packed(void)
{
	uint64_t at = stall.at;

	stall.at += image_info(stall.rig.image).cluster_bytes;
	if (stall.at + REQUEST_BYTES > stall.size)
		stall.at = stall.split;
	return at;
}

static void reader_done(struct req *req)
{
	must(!req->result);
	if (!ends())
		submit(req, next_packed());
}

static void start(void *arg)
{
	(void)arg;
	stall.hit.span = span_memory(stall.memory);
	stall.hit.done = hit_done;
	stall.asked_at = now_ns();
	submit(&stall.hit, 0);
	for (unsigned i = 0; i < stall.depth; i++) {
		stall.reader[i].span = span_memory(stall.memory + (size_t)(i + 1) * REQUEST_BYTES);
		stall.reader[i].done = reader_done;
		submit(&stall.reader[i], next_packed());
	}
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static double us(double part)
{
	return (double)stall.took[(size_t)((double)(stall.samples - 1) * part)] / 1e3;
}

static void measure(unsigned seconds)
{
	stall.took = calloc(SAMPLES_MAX, sizeof(*stall.took));
	stall.reader = calloc(stall.depth + 1, sizeof(*stall.reader));
	stall.memory = aligned_alloc(REQUEST_BYTES, (size_t)(stall.depth + 1) * REQUEST_BYTES);
	must(stall.took && stall.reader && stall.memory);
	stall.size = image_info(stall.rig.image).size_bytes;
	stall.at = stall.split;
	stall.until = now_ns() + seconds * UINT64_C(1000000000);
	sem_init(&stall.ended, 0, 0);
	rig_call(&stall.rig, 0, start, NULL);
	sem_wait(&stall.ended);
	stall.unpacked = image_stats(stall.rig.image).clusters_unpacked;
	qsort(stall.took, stall.samples, sizeof(*stall.took), by_value);
	printf("hits %zu, us: median %.0f p90 %.0f p99 %.0f most %.0f; decompressed %.0f per second\n",
	       stall.samples, us(0.5), us(0.9), us(0.99), us(1), (double)stall.unpacked / seconds);
}

int main(int argc, char **argv)
{
	struct rig_options options = { .queues = 1, .depth = 256, .read_only = true };
	struct why why = { "" };

	if (argc != 6) {
		fprintf(stderr, "usage: unpack_stall IMAGE SPLIT DEPTH SECONDS pool|here\n");
		return 2;
	}
	options.path = argv[1];
	stall.split = rig_number(argv[2]);
	stall.depth = (unsigned)rig_number(argv[3]);
	options.no_pool = strcmp(argv[5], "here") == 0;
	if (rig_open(&stall.rig, &options, &why)) {
		log_error("%s", why.text);
		return 1;
	}
	measure((unsigned)rig_number(argv[4]));
	return rig_close(&stall.rig) ? 1 : 0;
}
