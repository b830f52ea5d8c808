/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * L2 tables: make the one that is missing, or an own copy of one that a snapshot shares.
 *
 * A few jobs for the whole image; who needs a table parks on its job.  A table is written as a whole, and
 * the pointer waits for the flush's data sync (law 3), unless it is an empty one in a cluster that durably
 * reads as zeros.
 */
#include "table.h"

#include "flush.h"
#include "map.h"
#include "overlap.h"
#include "reserve.h"

#include <errno.h>
#include <stdlib.h>

/*
 *	STOCK   -> END TAKE STOCK*
 *	TAKE    -> STOCK READ ZERO
 *	READ    -> COPY~
 *	COPY    -> UNDO COPIED~
 *	COPIED  -> UNDO READ PUBLISH
 *	ZERO    -> PUBLISH~
 *	PUBLISH -> UNDO PUBLISH* END
 *	UNDO    -> END
 *	END     -> DONE
 */
#define TABLE_LIST(s) \
	s(T_STOCK) s(T_TAKE) s(T_READ) s(T_COPY) s(T_COPIED) s(T_ZERO) s(T_PUBLISH) s(T_UNDO) \
		s(T_END)
MACHINE_STATES(table, TABLE_LIST);

static uint32_t chunk(const struct table_job *job)
{
	return (uint32_t)min_u64(TABLE_COPY_BYTES, job->image->top.geo.cluster_bytes - job->copied);
}

static void start_copy(struct table_job *job, enum io_op op, struct host table)
{
	io_start(&job->task, &job->io, op, job->image->top.file->index, span_memory(job->bounce),
		 (struct host){ table.byte + job->copied }, chunk(job));
}

static enum step table_step(struct task *t)
{
	struct table_job *job = container_of(t, struct table_job, task);
	struct image *image = job->image;
	struct image_lane *lane = image_lane(image, t->lane);
	struct host table = cluster_host(&image->top.geo, job->host_cluster);

	switch (t->state) {
	case T_STOCK: {
		CRITICAL(&image->alloc.lock);
		if (t->err)
			return go(t, T_END);
		if (reserve_ready(image, lane))
			return go(t, T_TAKE);
		return park(t, &lane->reserve.waiters, T_STOCK);
	}
	case T_TAKE: {
		struct run run = reserve_take(image, lane, 1);
		if (!run.count)
			return go(t, T_STOCK);
		job->host_cluster = run.cluster;
		job->host_word = run.word;
		job->zero = run.zero;
		if (job->old.kind == L1_TABLE)
			return go(t, T_READ);
		/*
		 * Zeros over zeros, too, which nothing waits for: where there is a hole now a full host would have no
		 * space for the slices later, and the flush fail instead of the write.
		 */
		return go(t, T_ZERO);
	}
	case T_READ:
		start_copy(job, IO_READ, job->old.host);
		return await_io(t, T_COPY);

	case T_COPY:
		if (t->err)
			return go(t, T_UNDO);
		start_copy(job, IO_WRITE, table);
		return await_io(t, T_COPIED);

	case T_COPIED:
		if (t->err)
			return go(t, T_UNDO);
		job->zero = false;
		job->copied += chunk(job);
		return go(t, job->copied < image->top.geo.cluster_bytes ? T_READ : T_PUBLISH);

	case T_ZERO:
		io_start(t, &job->io, IO_WRITE, image->top.file->index, span_memory(image->zeros),
			 table, image->top.geo.cluster_bytes);
		return await_io(t, T_PUBLISH);

	case T_PUBLISH: {
		if (t->err)
			return go(t, T_UNDO);
		CRITICAL(&image->flush.lock);
		if (image_broken(image))
			return fail(t, -EIO, T_UNDO);
		if (!flush_changed_l1(image, job->l1_index, table_entry_make(table),
				      host_cluster(&image->top.geo, job->old.host),
				      !job->zero && !mutant(NO_TABLE_SYNC)))
			return park(t, &image->flush.starved, T_PUBLISH);
		reserve_linked(image, lane, job->host_word);
		overlap_add(image, job->host_cluster, 1);
		return go(t, T_END);
	}
	case T_UNDO:
		reserve_put(image, lane, job->host_cluster, 1, job->host_word);
		return go(t, T_END);

	case T_END: {
		CRITICAL(&image->tables.lock);
		job->busy = false;
		if (t->err)
			waitq_fail(&job->waiters, t->err);
		else
			waitq_wake(&job->waiters);
		waitq_wake(&image->tables.starved);
		return STEP_DONE;
	}
	}
	abort();
}

static const struct machine table_machine = { "table", table_step, table_states };

struct waitq *table_make(struct image *image, struct guest guest, struct lane *lane)
{
	uint64_t l1_index = guest_l1_index(&image->top.geo, guest);
	struct table_job *idle = NULL;

	if (table_owned(image, guest))
		return NULL;
	for (unsigned i = 0; i < TABLE_JOBS; i++) {
		struct table_job *job = &image->tables.job[i];

		if (!job->busy)
			idle = job;
		else if (job->l1_index == l1_index && !mutant(NO_TABLE_CLAIM))
			return &job->waiters;
	}
	if (!idle)
		return &image->tables.starved;

	idle->busy = true;
	idle->l1_index = l1_index;
	idle->copied = 0;
	idle->old = l1_decode(&image->top.geo, be64_load(&image->top.l1[l1_index]));
	task_init(&idle->task, lane, &table_machine, T_STOCK);
	task_wake(&idle->task);
	return &idle->waiters;
}

int tables_open(struct image *image)
{
	struct tables *tables = &image->tables;

	pthread_mutex_init(&tables->lock, NULL);
	waitq_init(&tables->starved);
	for (unsigned i = 0; i < TABLE_JOBS; i++) {
		struct table_job *job = &tables->job[i];

		job->image = image;
		waitq_init(&job->waiters);
		job->bounce = aligned_alloc(LIMIT_SLICE_BYTES, TABLE_COPY_BYTES);
		if (!job->bounce)
			return -ENOMEM;
	}
	return 0;
}

void tables_free(struct image *image)
{
	for (unsigned i = 0; i < TABLE_JOBS; i++)
		free(image->tables.job[i].bounce);
	pthread_mutex_destroy(&image->tables.lock);
}
