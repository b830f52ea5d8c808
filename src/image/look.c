/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A look at what is under way on one lane, by its own thread between two turns: the lane's tasks
 * stand still meanwhile, and of what other lanes may change only what a lock guards is looked at.
 */
#include "cache.h"
#include "hit.h"
#include "part.h"

static const char *file_name(const struct image *image, uint16_t index)
{
	for (const struct node *node = &image->top; node; node = node->below) {
		if (node->file->index == index)
			return node->file->name;
		if (node->data->index == index)
			return node->data->name;
	}
	return "?";
}

static struct live *add(struct live_list *look, const struct task *task)
{
	const char *wait = task_parked(task);
	struct live *live;

	if (look->count == look->room) {
		look->missed++;
		return NULL;
	}
	live = &look->live[look->count++];
	*live = (struct live){
		.tag = -1,
		.machine = task->machine->name,
		.state = task_state(task),
		.waits_for = wait,
		.since = wait ? task->parked_at : 0,
	};
	return live;
}

static bool is_live(const struct io *io)
{
	return io->flying && io->op < IO_HOST_OPS;
}

/* Of several the oldest, as far as that is known, is what is waited for. */
static void add_io(const struct image *image, struct live *live, const struct io *io)
{
	/* What is not timed has no meaning in the field. */
	uint64_t started = io->flying == IO_TIMED ? io->started : 0;

	if (!live || !is_live(io) || (live->io && (!started || live->since <= started)))
		return;
	live->io = io_name(io->op);
	live->file = file_name(image, io->file);
	live->io_off = io->off;
	live->io_len = io->len;
	live->since = started;
}

/* A host I/O of a task of the engine's own. */
static void look_at_io(const struct image *image, struct live_list *look, const struct io *io)
{
	if (is_live(io))
		add_io(image, add(look, io->task), io);
}

/* --- parts ----------------------------------------------------------------------------------------- */

static bool has_ended(const struct task *task)
{
	const char *end = strrchr(task_state(task), '_');

	return end && strcmp(end, "_DONE") == 0;
}

static void look_at_own_request(const struct image *image, struct live_list *look,
				const struct req *req);

static void look_at_part(const struct image *image, struct live_list *look, const struct part *part)
{
	const struct task *task = &part->task;
	struct live *live;

	if (has_ended(task))
		return;
	live = add(look, task);
	if (live) {
		live->req = part->req;
		live->op = part->req->op;
		live->began = part->req->started;
		live->guest = part->guest;
		live->len = part->len;
	}
	for (unsigned i = 0; i < PART_IOS; i++)
		add_io(image, live, &part->io[i]);
	if (task->machine == &hit_machine)
		return;
	/* Whoever flushes and is not parked is the one that runs it. */
	for (unsigned i = 0; task->machine == &flush_machine && task->inflight && i < FLUSH_IOS;
	     i++)
		if (image->flush.io[i].task == task)
			add_io(image, live, &image->flush.io[i]);
	if (part->copy_buffer >= 0) {
		const struct copy *copy = &image->copies.copy[part->copy_buffer];

		look_at_own_request(image, look, &copy->head);
		look_at_own_request(image, look, &copy->tail);
	}
}

static void look_at_own_request(const struct image *image, struct live_list *look,
				const struct req *req)
{
	if (req->parts)
		look_at_part(image, look, &req->part);
}

void image_look_at(struct image *image, const struct req *req, struct live_list *look)
{
	if (req->parts || req->part.task.machine == &hit_machine)
		look_at_part(image, look, &req->part);
}

/* --- what belongs to no request ---------------------------------------------------------------------- */

static void look_at_loads(struct image *image, struct node *node, const struct lane *lane,
			  struct live_list *look)
{
	for (uint32_t i = 0; i < node->cache.nshards; i++) {
		struct shard *shard = &node->cache.shards[i];

		CRITICAL(&shard->lock);
		for (uint32_t j = 0; j < shard_loads(shard); j++)
			if (shard->loads[j].slice && shard->loads[j].task.lane == lane)
				look_at_io(image, look, &shard->loads[j].io);
	}
}

static void look_at_tables(struct image *image, const struct lane *lane, struct live_list *look)
{
	CRITICAL(&image->tables.lock);
	for (unsigned i = 0; i < TABLE_JOBS; i++) {
		const struct table_job *job = &image->tables.job[i];

		if (job->busy && job->task.lane == lane)
			add_io(image, add(look, &job->task), &job->io);
	}
}

static void look_at_unpack(struct image *image, struct image_lane *lane, struct live_list *look)
{
	CRITICAL(&lane->unpack.lock);
	for (unsigned i = 0; lane->unpack.memory && i < UNPACK_SLOTS; i++)
		if (lane->unpack.slot[i].state == UNPACKED_LOADING)
			look_at_io(image, look, &lane->unpack.slot[i].io);
}

static void look_at_service(const struct image *image, struct live_list *look)
{
	const struct alloc *alloc = &image->alloc;

	for (unsigned i = 0; i < RESERVE_RUNS; i++)
		look_at_io(image, look, &alloc->io[i]);
	for (unsigned i = 0; i < REF_PIECES; i++)
		look_at_io(image, look, &alloc->piece[i].io);
	look_at_io(image, look, &alloc->grow.io);
	look_at_io(image, look, &image->resize.io);
	look_at_own_request(image, look, &image->writeback.flush);
	look_at_own_request(image, look, &image->closer.flush);
	look_at_own_request(image, look, &image->resize.req);
}

void image_look(struct image *image, struct lane *lane, struct live_list *look)
{
	struct image_lane *own = image_lane(image, lane);

	for (unsigned i = 0; i < own->parts_used; i++)
		if (list_empty(&own->parts[i].link) && own->parts[i].req)
			look_at_part(image, look, &own->parts[i]);
	for (struct node *node = &image->top; node; node = node->below)
		if (!node->raw)
			look_at_loads(image, node, lane, look);
	look_at_unpack(image, own, look);
	if (image->read_only)
		return;
	look_at_tables(image, lane, look);
	if (lane == service_lane(image))
		look_at_service(image, look);
}
