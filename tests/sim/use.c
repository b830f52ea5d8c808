/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Can the image that is there be opened, used, and closed?  And what about the one that is open? */
#include "report.h"
#include "stage.h"

#include <inttypes.h>

int stage_ask(struct stage *stage, enum req_op op, unsigned flags, uint64_t guest, uint64_t len)
{
	must(traffic_request(&stage->traffic, 0, op, flags, guest, len));
	stage_drain(stage);
	return stage->traffic.result;
}

/* Every sector that may be anything but zeros. */
void stage_read_back(struct stage *stage)
{
	const struct shape *shape = &stage->config.shape;

	for (unsigned i = 0; i < shape->hots; i++) {
		uint64_t at = shape->hot[i].first_cluster << shape->cluster_bits;
		uint64_t end = at + (shape->hot[i].clusters << shape->cluster_bits);

		for (end = min_u64(end, shape->size_bytes); at < end;) {
			uint64_t len = min_u64(end - at, MAX_REQ_SECTORS * SECTOR_SIZE);

			if (traffic_request(&stage->traffic, 0, REQ_READ, 0, at, len))
				at += len;
			else
				stage_drain(stage);
		}
	}
	stage_drain(stage);
}

static void work(struct stage *stage)
{
	uint64_t cluster = UINT64_C(1) << stage->config.shape.cluster_bits;

	stage_read_back(stage);
	stage_ask(stage, REQ_WRITE, 0, 0, SECTOR_SIZE);
	stage_ask(stage, REQ_DISCARD, 0, cluster, 2 * cluster);
	stage_ask(stage, REQ_WRITE, REQ_FUA, 2 * cluster - SECTOR_SIZE, 2 * SECTOR_SIZE);
}

void stage_use(struct stage *stage)
{
	struct verdict begun = stage_look(stage, BYTES_VISIBLE, LOOK_DURABLE, "after a crash");
	struct verdict ended;

	stage_open(stage, false);
	work(stage);
	stage_close(stage);
	model_closed(&stage->model);
	model_life_over(&stage->model);
	stage_free(stage);
	ended = stage_look(stage, BYTES_VISIBLE, LOOK_DURABLE, "in the life after a crash");
	if (ended.leaks > begun.leaks)
		sim_fail("%" PRIu64 " leaks in the life after a crash, %" PRIu64 " before: %s",
			 ended.leaks, begun.leaks, ended.leak);
}
