/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The engine over real rings and real threads, without a device: queue lanes and a service lane. */
#ifndef RIG_H
#define RIG_H

#include "image.h"

#include "backing.h"
#include "file.h"
#include "pool.h"
#include "worker.h"

#include <semaphore.h>

#define RIG_LANES 16u

struct rig_options {
	const char *path;
	unsigned queues; /* lanes for requests; one more serves background jobs */
	unsigned depth; /* requests of a lane at a time */
	uint64_t l2_cache_bytes;
	uint64_t reserve_bytes;
	uint64_t size_most; /* see struct image_options */
	bool no_pool; /* lanes decompress by themselves */
	bool direct;
	bool read_only;
	const char *snapshot; /* see struct image_options; with read_only */
	const char *key_file; /* see key.h */
	const char *backing_format; /* see struct image_files */
	struct allow_paths allow;
};

struct rig {
	struct rig_options options;
	struct file file;
	struct backing backing;
	unsigned lanes;
	struct worker worker[RIG_LANES];
	struct lane *lane[RIG_LANES];
	struct pool pool;
	struct image *image;
	sem_t closed; /* or resized */
	int close_err;
	uint64_t resize_bytes;
};

/* Open the image and start the threads; 0 or -errno with the sentence in @why. */
int rig_open(struct rig *rig, const struct rig_options *options, struct why *why);

/* Run @run(@arg) on the thread of a lane, between two turns, and wait for it. */
void rig_call(struct rig *rig, unsigned lane, void (*run)(void *arg), void *arg);

/* Resize the disk, and wait for it.  0, or -errno with the sentence in @why. */
int rig_resize(struct rig *rig, uint64_t bytes, bool shrink, struct why *why);

/* Close the image, when no request is left; end the threads.  0 or what the close says. */
int rig_close(struct rig *rig);

/* A number with an optional suffix k, M or G.  Ends the process when it is none. */
uint64_t rig_number(const char *text);

#endif
