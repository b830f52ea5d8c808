/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests that hit, for whoever counts their instructions: reads, or writes in place, of 4 KiB
 * on a mapped image, DEPTH at a time.  hit_cost.py runs it twice; the difference is requests and
 * nothing else.
 *
 * One thread turns both lanes, because valgrind lets no other thread run while one waits in
 * io_uring_enter().
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

struct load {
	struct file file;
	struct worker worker[LANES]; /* without their threads */
	struct lane *lane[LANES];
	struct image *image;
	enum req_op op;
	uint64_t blocks; /* of the disk */
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
	req->guest.byte = (load.random >> 4) % load.blocks * REQUEST_BYTES;
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
	this_lane = load.lane[QUEUE];
	for (unsigned i = 0; i < DEPTH && load.todo; i++) {
		load.req[i] = (struct req){
			.op = load.op,
			.len = REQUEST_BYTES,
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
	end_of_turns(SERVICE);
}

static int start_lanes(struct why *why)
{
	struct uring_sizes sizes = { .sq_entries = 256, .cq_entries = 4096 };

	for (unsigned i = 0; i < LANES; i++) {
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
		.lanes = LANES,
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
	this_lane = load.lane[SERVICE];
	image_close_start(load.image, load.lane[SERVICE], on_closed, NULL);
	while (!load.closed)
		turn(SERVICE);
	for (unsigned i = 0; i < LANES; i++)
		uring_stop(&load.worker[i].uring);
	image_free(load.image);
	for (unsigned i = 0; i < LANES; i++)
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
	load.blocks = image_info(load.image).size_bytes / REQUEST_BYTES;
	serve();
	close_all();
	free(load.memory);
	return load.err ? why_set(why, load.err, "%s: %s", path, strerror(-load.err)) : 0;
}

int main(int argc, char **argv)
{
	struct why why;

	if (argc != 4) {
		fprintf(stderr, "usage: hit_cost IMAGE read|write REQUESTS\n");
		return 2;
	}
	load.op = strcmp(argv[2], "write") == 0 ? REQ_WRITE : REQ_READ;
	load.todo = strtoull(argv[3], NULL, 0);
	if (run(argv[1], &why)) {
		log_error("%s", why.text);
		return 1;
	}
	return 0;
}
