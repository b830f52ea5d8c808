/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files, threads and an image, put together and taken apart. */
#include "rig.h"
#include "key.h"
#include "repair.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define SQ_ENTRIES 256
#define CQ_ENTRIES 4096

static int open_file(struct rig *rig, struct why *why)
{
	struct file_options options = {
		.read_only = rig->options.read_only,
		.direct = rig->options.direct,
		.index = 0,
	};
	int err = file_open(&rig->file, rig->options.path, &options, why);

	if (err)
		return err;
	if (!options.read_only)
		err = repair_dirty(rig->file.fd, rig->options.path, NULL, NULL, why);
	if (!err)
		err = file_measure(&rig->file, &options, why);
	if (err)
		file_close(&rig->file);
	return err;
}

static int open_image(struct rig *rig, const struct key *key, struct why *why)
{
	struct image_options options = {
		.snapshot = rig->options.snapshot,
		.key = key->bytes,
		.key_bytes = key->len,
		.read_only = rig->options.read_only,
		.l2_cache_bytes = rig->options.l2_cache_bytes,
		.reqs_per_lane = rig->options.depth,
		.lanes = rig->lanes,
		.lane = rig->lane,
		.workers = rig->options.no_pool ? 0 : rig->pool.threads,
		.reserve_bytes = rig->options.reserve_bytes,
		.size_most = rig->options.size_most,
		.files = {
			.open_below = backing_open,
			.open_data = backing_open_data,
			.arg = &rig->backing,
			.backing_format = rig->options.backing_format,
		},
	};

	backing_init(&rig->backing, &rig->file, &rig->options.allow, false, rig->options.direct);

	for (unsigned i = 0; i < rig->lanes; i++) {
		int err = worker_prepare(&rig->worker[i], i);

		if (err)
			return why_set(why, err, "lane %u: %s", i, strerror(-err));
		rig->lane[i] = &rig->worker[i].lane;
		pool_attach(&rig->pool, rig->lane[i]);
	}
	return image_open(&rig->image, &rig->file.host, &options, why);
}

static int open_with_key(struct rig *rig, struct why *why)
{
	struct key key;
	int err = key_read(&key, rig->options.key_file, why);

	if (err)
		return err;
	err = open_image(rig, &key, why);
	key_forget(&key, false);
	return err;
}

static int start_threads(struct rig *rig, struct why *why)
{
	unsigned files;
	const int *fd = backing_fds(&rig->backing, &files);
	int err = pool_start(&rig->pool, NULL);
	unsigned launched = 0;

	if (err)
		return why_set(why, err, "threads of the pool: %s", strerror(-err));
	for (; launched < rig->lanes && !err; launched += !err) {
		unsigned i = launched;
		struct worker_options options = {
			.name = i + 1 < rig->lanes ? "queue" : "service",
			.sizes = { .sq_entries = SQ_ENTRIES, .cq_entries = CQ_ENTRIES },
			.file = fd,
			.files = files,
		};

		err = worker_launch(&rig->worker[i], &options);
	}
	for (unsigned i = 0; i < launched; i++) {
		int failed = worker_await(&rig->worker[i]);

		err = err ? err : failed;
	}
	return err ? why_set(why, err, "threads of the lanes: %s", strerror(-err)) : 0;
}

int rig_open(struct rig *rig, const struct rig_options *options, struct why *why)
{
	int err;

	memset(rig, 0, sizeof(*rig));
	rig->options = *options;
	rig->lanes = options->queues + 1;
	must(rig->lanes <= RIG_LANES);
	sem_init(&rig->closed, 0, 0);
	pool_init(&rig->pool);
	err = open_file(rig, why);
	if (!err)
		err = open_with_key(rig, why);
	if (!err)
		err = start_threads(rig, why);
	return err;
}

void rig_call(struct rig *rig, unsigned lane, void (*run)(void *arg), void *arg)
{
	worker_call(&rig->worker[lane], run, arg);
}

static void on_closed(void *arg, int err)
{
	struct rig *rig = arg;

	rig->close_err = err;
	sem_post(&rig->closed);
}

static void start_close(void *arg)
{
	struct rig *rig = arg;

	image_close_start(rig->image, rig->lane[rig->lanes - 1], on_closed, rig);
}

static void start_resize(void *arg)
{
	struct rig *rig = arg;

	image_resize_start(rig->image, rig->resize_bytes, on_closed, rig);
}

int rig_resize(struct rig *rig, uint64_t bytes, bool shrink, struct why *why)
{
	int err = image_resize_check(rig->image, bytes, shrink, why);

	if (err)
		return err;
	rig->resize_bytes = bytes;
	rig_call(rig, rig->lanes - 1, start_resize, rig);
	while (sem_wait(&rig->closed) && errno == EINTR)
		;
	err = rig->close_err;
	if (err == -EBUSY)
		return why_set(why, err, "something is at %llu",
			       (unsigned long long)image_used(rig->image));
	return err ? why_set(why, err, "resize: %s", strerror(-err)) : 0;
}

int rig_close(struct rig *rig)
{
	rig_call(rig, rig->lanes - 1, start_close, rig);
	while (sem_wait(&rig->closed) && errno == EINTR)
		;
	for (unsigned i = 0; i < rig->lanes; i++)
		worker_stop(&rig->worker[i]);
	pool_stop(&rig->pool);
	image_free(rig->image);
	for (unsigned i = 0; i < rig->lanes; i++)
		worker_release(&rig->worker[i]);
	pool_release(&rig->pool);
	backing_close(&rig->backing);
	file_close(&rig->file);
	sem_destroy(&rig->closed);
	return rig->close_err;
}

uint64_t rig_number(const char *text)
{
	char *end;
	uint64_t number;

	errno = 0;
	number = strtoull(text, &end, 0);
	switch (*end) {
	case 'G':
		number *= GIB;
		end++;
		break;
	case 'M':
		number *= MIB;
		end++;
		break;
	case 'k':
		number *= KIB;
		end++;
		break;
	}
	if (errno || end == text || *end) {
		fprintf(stderr, "%s: not a number\n", text);
		exit(2);
	}
	return number;
}
