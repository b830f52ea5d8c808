/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Buffers for copy on write; address space reserved at open, touched when used. */
#include "copies.h"

#include "part.h"

#include <errno.h>
#include <sys/mman.h>

/* What lies between a head and a tail is read with them, up to so much: cheaper than a second read. */
#define BRIDGE_BYTES (16 * KIB)

/* As many as a queue has requests, if these are small; the kernel gives memory to those that are used. */
#define BUFFERS_BYTES (8 * MIB)
#define BUFFERS_LEAST 16u

int copies_open(struct image *image, unsigned buffers)
{
	struct copies *copies = &image->copies;
	size_t pair = 2 * (size_t)image->top.geo.cluster_bytes, bytes;
	void *memory;

	if (!buffers)
		buffers = (unsigned)max_u64(BUFFERS_BYTES / pair, BUFFERS_LEAST);
	copies->buffers = (unsigned)min_u64(buffers, COPY_BUFFERS_MAX);
	bytes = copies->buffers * (pair + sizeof(*copies->copy));
	memory = sparse_map(bytes);

	pthread_mutex_init(&copies->lock, NULL);
	waitq_init(&copies->waiters);
	if (!memory)
		return -ENOMEM;
	copies->memory = memory;
	copies->memory_bytes = bytes;
	copies->copy = (struct copy *)(copies->memory + copies->buffers * pair);
	return 0;
}

void copies_free(struct image *image)
{
	if (image->copies.memory)
		munmap(image->copies.memory, image->copies.memory_bytes);
	pthread_mutex_destroy(&image->copies.lock);
}

int copies_take(struct copies *copies)
{
	for (int i = 0; i < (int)copies->buffers; i++) {
		if (!copies->busy[i]) {
			copies->busy[i] = true;
			return i;
		}
	}
	return -1;
}

void copies_put(struct copies *copies, int buffer)
{
	CRITICAL(&copies->lock);
	must(copies->busy[buffer]);
	copies->busy[buffer] = false;
	waitq_wake(&copies->waiters);
}

void *copies_head(struct image *image, int buffer)
{
	return image->copies.memory + (size_t)buffer * 2 * image->top.geo.cluster_bytes;
}

bool copies_whole(const struct part *part)
{
	return part->head + part->extent.len + part->tail <= 2 * part->image->top.geo.cluster_bytes;
}

void *copies_tail(const struct part *part)
{
	uint8_t *head = copies_head(part->image, part->copy_buffer);

	return head + (copies_whole(part) ? part->head + part->extent.len :
					    part->image->top.geo.cluster_bytes);
}

/* --- filling them ------------------------------------------------------------------------------------ */

static void head_done(struct req *req)
{
	task_child_done(container_of(req, struct copy, head)->parent, req->result);
}

static void tail_done(struct req *req)
{
	task_child_done(container_of(req, struct copy, tail)->parent, req->result);
}

/* The ordinary way of a read, as a child of @part. */
static void start_read(struct part *part, struct req *req, uint64_t guest, uint64_t len)
{
	req->op = REQ_READ;
	req->guest.byte = guest;
	req->len = len;
	part->task.inflight++;
	part_queue(part->image, part->task.lane, req, &read_machine);
}

void copies_read(struct part *part, uint32_t head_bytes, uint32_t tail_bytes)
{
	struct image *image = part->image;
	struct copy *copy = &image->copies.copy[part->copy_buffer];
	uint8_t *tail = copies_tail(part);
	uint64_t end = part->guest.byte + part->extent.len;
	uint64_t there = min_u64(tail_bytes, node_bytes(&image->top) - end);

	*copy = (struct copy){ .parent = &part->task };
	copy->head.done = head_done;
	copy->head.span = span_memory(copies_head(image, part->copy_buffer));
	copy->tail.done = tail_done;
	copy->tail.span = span_memory(tail);
	memset(tail + there, 0, tail_bytes - there);
	if (copies_whole(part) && head_bytes && there && part->extent.len <= BRIDGE_BYTES) {
		start_read(part, &copy->head, part->guest.byte - head_bytes,
			   head_bytes + part->extent.len + there);
		return;
	}
	if (head_bytes)
		start_read(part, &copy->head, part->guest.byte - head_bytes, head_bytes);
	if (there)
		start_read(part, &copy->tail, end, there);
}
