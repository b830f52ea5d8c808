/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One hardware queue: fetch a request, hand it to the engine, commit its result, and so on until
 * the kernel takes the tags back.
 */
#include "queue.h"
#include "affinity.h"
#include "chardev.h"
#include "request.h"
#include "tune.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

/* --- answers ----------------------------------------------------------------------------------- */

static void tag_command(struct tag *tag, uint32_t op, int32_t result)
{
	struct queue *queue = tag->queue;
	struct ublksrv_io_cmd payload = {
		.q_id = (uint16_t)queue->number,
		.tag = tag->number,
		.result = result,
		.addr = buffers_addr(&queue->buffers, tag->number),
	};

	tag->command.op = op;
	tag->command.addr = buffers_sqe_addr(&queue->buffers, tag->number);
	_Static_assert(sizeof(payload) == sizeof(tag->command.payload), "payload of a command");
	memcpy(tag->command.payload, &payload, sizeof(payload));
	uring_command(&queue->worker.uring, &tag->command);
}

static void tag_answer(struct tag *tag, int err)
{
	if (err)
		stats_add(&tag->queue->counters.failed, 1);
	tag->turn++;
	tag_command(tag, UBLK_U_IO_COMMIT_AND_FETCH_REQ, request_result(&tag->req, err));
}

static void req_done(struct req *req)
{
	struct tag *tag = container_of(req, struct tag, req);
	int err = req->result;

	stats_add(&tag->queue->counters.requests[req->op], 1);
	stats_add(&tag->queue->counters.bytes[req->op], req->len);
	if (!err && req->op == REQ_READ)
		err = buffers_give(&tag->queue->buffers, tag->number, req->span,
				   (uint32_t)req->len);
	tag_answer(tag, err);
}

/* --- requests -------------------------------------------------------------------------------- */

static void complain(struct queue *queue, const struct ublksrv_io_desc *desc)
{
	if (queue->complained || request_is_late(desc, &queue->disk->limits))
		return;
	queue->complained = true;
	log_error("%s: refused a request that cannot be: operation %u, sector %llu, %u sectors",
		  queue->disk->name, desc->op_flags & UBLK_IO_OP_MASK,
		  (unsigned long long)desc->start_sector, desc->nr_sectors);
}

static void tag_serve(struct tag *tag)
{
	struct queue *queue = tag->queue;
	struct ublksrv_io_desc desc;
	int err = 0;

	tag->turn++;
	memcpy(&desc, queue->desc + (size_t)tag->number * sizeof(desc), sizeof(desc));
	if (!request_decode(&tag->req, &desc, &queue->disk->limits)) {
		complain(queue, &desc);
		tag_answer(tag, -EIO);
		return;
	}
	if (tag->req.op == REQ_READ || tag->req.op == REQ_WRITE)
		err = buffers_take(&queue->buffers, tag->number,
				   !(desc.op_flags & UBLK_IO_F_NEED_REG_BUF),
				   tag->req.op == REQ_WRITE, (uint32_t)tag->req.len,
				   &tag->req.span);
	if (err) {
		tag_answer(tag, err);
		return;
	}
	image_submit(queue->disk->image, &queue->worker.lane, &tag->req);
}

/* The kernel has taken the tag back: after STOP, when none of its requests was with us. */
static void tag_gone(struct queue *queue)
{
	if (++queue->gone == queue->disk->depth)
		eventfd_write(queue->disk->drained_fd, 1);
}

static void command_done(struct uring_command *command, int32_t res)
{
	struct tag *tag = container_of(command, struct tag, command);
	struct queue *queue = tag->queue;

	if (res == UBLK_IO_RES_OK) {
		tag_serve(tag);
	} else if (res == UBLK_IO_RES_ABORT || res == -ECANCELED) {
		tag_gone(queue);
	} else if (command->op == UBLK_U_IO_FETCH_REQ) {
		queue->refused = res;
	} else {
		/* The request stays unanswered and its client hangs, unless the process ends. */
		log_error("%s: the kernel refused an answer on queue %u: %s", queue->disk->name,
			  queue->number, strerror(-res));
		abort();
	}
}

/* --- a look -------------------------------------------------------------------------------------- */

/*
 * Requests that need nothing but one host I/O are not timed.  Who is seen in the same turn once
 * more has been there since the last look at least.
 */
static void tag_look(struct tag *tag, struct live *live, uint64_t now)
{
	live->tag = tag->number;
	if (live->began)
		return;
	if (tag->seen_turn != tag->turn)
		tag->seen_at = now;
	tag->seen_turn = tag->turn;
	live->began = tag->seen_at;
	live->longer = true;
}

void queue_look(struct queue *queue, struct live_list *look)
{
	struct lane *lane = &queue->worker.lane;
	unsigned tags = queue->tag ? queue->disk->depth : 0;
	uint64_t now = lane_now(lane);

	lane_settle(lane);
	for (unsigned i = 0; i < tags; i++)
		if (queue->tag[i].turn & 1)
			image_look_at(queue->disk->image, &queue->tag[i].req, look);
	image_look(queue->disk->image, lane, look);
	for (unsigned i = 0; tags && i < look->count; i++) {
		struct live *live = &look->live[i];
		uintptr_t distance = (uintptr_t)live->req - (uintptr_t)&queue->tag->req;

		if (live->req && distance < tags * sizeof(struct tag))
			tag_look(container_of(live->req, struct tag, req), live, now);
	}
}

/* --- an end by force ------------------------------------------------------------------------------- */

static void req_forgotten(struct req *req)
{
	(void)req;
}

static void command_refuse(struct uring_command *command, int32_t res)
{
	struct tag *tag = container_of(command, struct tag, command);

	if (res == UBLK_IO_RES_OK)
		tag_command(tag, UBLK_U_IO_COMMIT_AND_FETCH_REQ, -EIO);
	else if (res == UBLK_IO_RES_ABORT || res == -ECANCELED)
		tag_gone(tag->queue);
}

/* The memory of requests under way is the host's, for as long as it likes; others get some of their own. */
static void abort_tags(void *arg)
{
	struct queue *queue = arg;

	if (!queue->tag)
		return;
	buffers_renew(&queue->buffers);
	/* A write that had yet to begin would meet no buffer, and its error pass for the image's. */
	uring_forget_buffers(&queue->worker.uring);
	for (unsigned i = 0; i < queue->disk->depth; i++) {
		struct tag *tag = &queue->tag[i];

		tag->command.done = command_refuse;
		tag->req.done = req_forgotten;
		if (tag->turn & 1)
			tag_answer(tag, -EIO);
	}
}

void queue_abort(struct queue *queue)
{
	if (!queue->worker.running || queue->abort.run)
		return;
	queue->abort = (struct worker_call){ .run = abort_tags, .arg = queue };
	worker_post(&queue->worker, &queue->abort);
}

/* --- start and end ------------------------------------------------------------------------------ */

static int map_descriptors(struct queue *queue)
{
	const struct disk *disk = queue->disk;

	queue->desc = chardev_map(disk->fd, queue->number, disk->depth, &queue->desc_bytes);
	if (!queue->desc)
		return why_set(&queue->why, -errno, "%s: descriptors of queue %u: %m", disk->name,
			       queue->number);
	return 0;
}

static int make_tags(struct queue *queue)
{
	const struct disk *disk = queue->disk;
	int err;

	queue->buffers.mode = disk->data_mode;
	queue->buffers.fd = disk->fd;
	queue->buffers.queue = queue->number;
	err = buffers_make(&queue->buffers, disk->depth, disk->limits.max_io_bytes);
	queue->tag = calloc(disk->depth, sizeof(*queue->tag));
	if (err || !queue->tag)
		return why_set(&queue->why, -ENOMEM,
			       "%s: no memory for %u buffers of %u KiB; lower --depth or --max-io",
			       disk->name, disk->depth, disk->limits.max_io_bytes / 1024);
	for (unsigned i = 0; i < disk->depth; i++) {
		struct tag *tag = &queue->tag[i];

		tag->queue = queue;
		tag->number = (uint16_t)i;
		tag->req.done = req_done;
		tag->command.file = (uint16_t)(disk->files - 1);
		tag->command.done = command_done;
		list_init(&tag->command.link);
	}
	return 0;
}

/* On the queue's thread.  In one system call, in the midst of which nothing can end the process. */
static void fetch_tags(void *arg)
{
	struct queue *queue = arg;

	for (unsigned i = 0; i < queue->disk->depth; i++)
		tag_command(&queue->tag[i], UBLK_U_IO_FETCH_REQ, 0);
	/* The kernel keeps the commands; those that come back now were refused. */
	uring_flush(&queue->worker.uring);
}

/* A queue runs without it, only slower: CPUs may be off line or outside our cpuset. */
static void pin(const struct queue *queue)
{
	int err;

	affinity_widen(queue->cpus, queue->cpus_bytes);
	err = pthread_setaffinity_np(pthread_self(), queue->cpus_bytes, queue->cpus);
	if (err)
		log_info("%s: queue %u runs on any CPU: %s", queue->disk->name, queue->number,
			 strerror(err));
}

/* Bytes that the engine has made, for a request whose own are not in memory. */
static int copy_to_request(struct uring *uring, struct span to, const void *from, uint64_t len)
{
	struct queue *queue = container_of(uring, struct queue, worker.uring);

	return buffers_copy(&queue->buffers, to, from, len);
}

/* And the bytes of one that the engine has to see. */
static int fetch_from_request(struct uring *uring, void *to, struct span source, uint64_t len)
{
	struct queue *queue = container_of(uring, struct queue, worker.uring);

	return buffers_fetch(&queue->buffers, to, source, len);
}

/* On the queue's thread, so that the memory is near its CPUs. */
static int queue_begin(struct worker *worker)
{
	struct queue *queue = container_of(worker, struct queue, worker);
	int err;

	pin(queue);
	worker->uring.copy = copy_to_request;
	worker->uring.fetch = fetch_from_request;
	err = map_descriptors(queue);
	if (!err)
		err = make_tags(queue);
	if (!err && queue->disk->data_mode == DATA_COPY)
		uring_keep_pages(&worker->uring, queue->buffers.arena, queue->buffers.tag_bytes,
				 queue->disk->depth);
	return err;
}

static void queue_end(struct worker *worker)
{
	struct queue *queue = container_of(worker, struct queue, worker);

	if (queue->desc)
		munmap((void *)(uintptr_t)queue->desc, queue->desc_bytes);
	queue->desc = NULL;
}

static int cannot_start(const struct queue *queue, int err, struct why *why)
{
	return why_set(why, err, "%s: thread of queue %u: %s", queue->disk->name, queue->number,
		       strerror(-err));
}

static int launch(struct queue *queue, struct worker_options *options, struct why *why)
{
	char name[16];
	int err;

	snprintf(name, sizeof(name), "queue-%u", queue->number);
	options->name = name;
	options->file = queue->disk->file;
	options->files = queue->disk->files;
	queue->why.text[0] = '\0';
	err = worker_launch(&queue->worker, options);
	return err ? cannot_start(queue, err, why) : 0;
}

/*
 * A turn takes a commit and an I/O or two per tag; clusters and metadata make it more.  For a tag that
 * is never used the ring need not be twice as large.
 */
static struct uring_sizes ring_sizes(unsigned depth, enum data_mode mode)
{
	unsigned entries = 64;

	while (entries + 4 * TUNE_SPARE_TAGS < 4 * depth && entries < 2 * UBLK_MAX_QUEUE_DEPTH)
		entries *= 2;
	return (struct uring_sizes){
		.sq_entries = entries,
		.cq_entries = 4 * entries,
		.buffers = mode == DATA_ZERO_COPY ? depth : 0,
	};
}

int queue_launch(struct queue *queue, const struct disk *disk, cpu_set_t *cpus, size_t cpus_bytes,
		 struct why *why)
{
	struct worker_options options = {
		.sizes = ring_sizes(disk->depth, disk->data_mode),
		.start = queue_begin,
		.end = queue_end,
	};

	queue->disk = disk;
	queue->cpus = cpus;
	queue->cpus_bytes = cpus_bytes;
	return launch(queue, &options, why);
}

int queue_launch_idle(struct queue *queue, const struct disk *disk, struct why *why)
{
	struct worker_options options = { .sizes = ring_sizes(0, DATA_COPY) };

	queue->disk = disk;
	return launch(queue, &options, why);
}

int queue_await(struct queue *queue, struct why *why)
{
	int err = worker_await(&queue->worker);

	if (!err || !queue->why.text[0])
		return err ? cannot_start(queue, err, why) : 0;
	*why = queue->why;
	return err;
}

void queue_fetch_begin(struct queue *queue)
{
	worker_call_begin(&queue->worker, &queue->errand, fetch_tags, queue);
}

int queue_fetch_end(struct queue *queue, struct why *why)
{
	int err;

	worker_call_end(&queue->errand);
	queue->fetched = !queue->refused;
	if (queue->fetched)
		return 0;
	err = why_set(why, queue->refused, "%s: FETCH on queue %u: %s", queue->disk->name,
		      queue->number, strerror(-queue->refused));
	queue_stop(queue);
	return err;
}

void queue_stop(struct queue *queue)
{
	worker_stop(&queue->worker);
}

void queue_free(struct queue *queue)
{
	buffers_free(&queue->buffers);
	free(queue->tag);
	worker_release(&queue->worker);
}
