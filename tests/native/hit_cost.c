/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests for whoever counts their instructions, many at a time: reads, or writes in place, of
 * 4 KiB by lot on a mapped image; 4 KiB into a new cluster each; discards of a cluster each, with
 * the flush and the release of what they drop.  hit_cost.py runs it twice; the difference is
 * requests and nothing else.
 *
 * One thread turns both lanes, because valgrind lets no other thread run while one waits in
 * io_uring_enter().  Where the background has work to do meanwhile, there is one lane for all.
 */
#include "image.h"

#include "file.h"
#include "worker.h"

#include <stdio.h>
#include <stdlib.h>

#define DEPTH 64u
#define REQUEST_BYTES 4096u
#define BUDGET 256u

enum lane_id { QUEUE, SERVICE, LANES };

struct kind {
	const char *name;
	enum req_op op;
	bool by_cluster; /* one after the other, else blocks by lot */
	unsigned depth; /* requests at a time */
};

static const struct kind kinds[] = {
	{ "read", REQ_READ, false, DEPTH },
	{ "write", REQ_WRITE, false, DEPTH },
	{ "allocate", REQ_WRITE, true, DEPTH },
	/* Many at a time would wait for releases, again and again. */
	{ "discard", REQ_DISCARD, true, 1 },
};

struct load {
	struct file file;
	struct worker worker[LANES]; /* without their threads */
	struct lane *lane[LANES];
	unsigned lanes;
	struct image *image;
	const struct kind *kind;
	struct image_info info;
	uint64_t begun; /* requests */
	uint64_t todo;
	uint32_t random;
	unsigned busy;
	int err;
	bool closed;
	struct req req[DEPTH];
	uint8_t *memory;
};

static struct load load;

static void next(struct req *req)
{
	load.random = load.random * 1664525u + 1013904223u;
	if (load.kind->by_cluster)
		req->guest.byte = load.begun * load.info.cluster_bytes;
	else
		req->guest.byte =
			(load.random >> 4) % (load.info.size_bytes / REQUEST_BYTES) * REQUEST_BYTES;
	load.begun++;
	load.todo--;
	load.busy++;
	image_submit(load.image, load.lane[QUEUE], req);
}

/* A turn waits when nothing is left to do: let the last one return. */
static void end_of_turns(enum lane_id id)
{
	load.lane[id]->ring->kick(load.lane[id]->ring);
}

static void done(struct req *req)
{
	load.busy--;
	if (req->result)
		load.err = req->result;
	if (load.todo && !load.err)
		next(req);
	else if (!load.busy)
		end_of_turns(QUEUE);
}

static void turn(enum lane_id id)
{
	this_lane = load.lane[id];
	uring_turn(&load.worker[id].uring, load.lane[id], BUDGET);
}

static void serve(void)
{
	enum req_op op = load.kind->op;

	this_lane = load.lane[QUEUE];
	for (unsigned i = 0; i < load.kind->depth && load.todo; i++) {
		load.req[i] = (struct req){
			.op = op,
			.len = op == REQ_DISCARD ? load.info.cluster_bytes : REQUEST_BYTES,
			.span = span_memory(load.memory + (size_t)i * REQUEST_BYTES),
			.done = done,
		};
		next(&load.req[i]);
	}
	while (load.busy)
		turn(QUEUE);
}

static void on_closed(void *arg, int err)
{
	(void)arg;
	load.closed = true;
	if (err)
		load.err = err;
	end_of_turns(load.lanes - 1);
}

static int start_lanes(struct why *why)
{
	struct uring_sizes sizes = { .sq_entries = 256, .cq_entries = 4096 };

	for (unsigned i = 0; i < load.lanes; i++) {
		int err = worker_prepare(&load.worker[i], i);

		if (!err)
			err = uring_start(&load.worker[i].uring, &sizes, &load.file.fd, 1);
		if (err)
			return why_set(why, err, "lane %u: %s", i, strerror(-err));
		load.lane[i] = &load.worker[i].lane;
	}
	return 0;
}

static int open_all(const char *path, struct why *why)
{
	struct file_options how = { .direct = true };
	struct image_options options = {
		.reqs_per_lane = DEPTH,
		.lanes = load.lanes,
		.lane = load.lane,
	};
	int err = file_open(&load.file, path, &how, why);

	if (!err)
		err = file_measure(&load.file, &how, why);
	if (!err)
		err = start_lanes(why);
	if (!err)
		err = image_open(&load.image, &load.file.host, &options, why);
	return err;
}

static void close_all(void)
{
	enum lane_id service = load.lanes - 1;

	this_lane = load.lane[service];
	image_close_start(load.image, load.lane[service], on_closed, NULL);
	while (!load.closed)
		turn(service);
	for (unsigned i = 0; i < load.lanes; i++)
		uring_stop(&load.worker[i].uring);
	image_free(load.image);
	for (unsigned i = 0; i < load.lanes; i++)
		worker_release(&load.worker[i]);
	file_close(&load.file);
}

static int run(const char *path, struct why *why)
{
	int err = open_all(path, why);

	if (err)
		return err;
	load.memory = aligned_alloc(REQUEST_BYTES, (size_t)DEPTH * REQUEST_BYTES);
	must(load.memory != NULL);
	memset(load.memory, 0, (size_t)DEPTH * REQUEST_BYTES);
	load.info = image_info(load.image);
	serve();
	close_all();
	free(load.memory);
	return load.err ? why_set(why, load.err, "%s: %s", path, strerror(-load.err)) : 0;
}

int main(int argc, char **argv)
{
	struct why why;

	for (unsigned i = 0; argc == 4 && i < ARRAY_SIZE(kinds); i++)
		if (strcmp(argv[2], kinds[i].name) == 0)
			load.kind = &kinds[i];
	if (!load.kind) {
		fprintf(stderr, "usage: hit_cost IMAGE read|write|allocate|discard REQUESTS\n");
		return 2;
	}
	load.lanes = load.kind->by_cluster ? 1 : LANES;
	load.todo = strtoull(argv[3], NULL, 0);
	if (run(argv[1], &why)) {
		log_error("%s", why.text);
		return 1;
	}
	return 0;
}
