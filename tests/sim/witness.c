/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the judges are shown: every sector of an image, for the model to recognise. */
#include "doubts.h"
#include "hostfile.h"
#include "report.h"
#include "stage.h"

#include <inttypes.h>
#include <stdio.h>

/* One walk through an image. */
struct visit {
	struct stage *stage;
	enum look look;
	char wrong[160]; /* the first objection */
};

static enum ending ending_of(enum look look)
{
	return look == LOOK_DURABLE ? END_DURABLE : END_KILLED;
}

static void complain(struct visit *visit, bool snapshot, uint64_t sector, uint64_t host,
		     const char *wrong, const uint8_t *bytes)
{
	char what[64];

	if (visit->wrong[0])
		return;
	pattern_describe(bytes, what, sizeof(what));
	snprintf(visit->wrong, sizeof(visit->wrong),
		 "%ssector %" PRIu64 " at host %#" PRIx64 ": %s (%s)", snapshot ? "snapshot " : "",
		 sector, host, wrong, what);
}

/* A snapshot is as large as the disk was when it was made. */
static uint64_t seen_bytes(const struct model *model, bool snapshot, uint64_t guest, uint64_t len)
{
	uint64_t end = model->snapshot_sectors * SECTOR_SIZE;

	if (!snapshot)
		return len;
	return guest < end ? min_u64(len, end - guest) : 0;
}

static void see_zeros(void *arg, bool snapshot, uint64_t guest, uint64_t len)
{
	static const uint8_t zeros[SECTOR_SIZE];
	struct visit *visit = arg;
	struct model *model = &visit->stage->model;
	uint64_t first = guest / SECTOR_SIZE, sector;
	const char *wrong;

	len = seen_bytes(model, snapshot, guest, len);
	wrong = model_check_zeros(model, first, len / SECTOR_SIZE, snapshot, &sector);

	if (wrong)
		complain(visit, snapshot, sector, 0, wrong, zeros);
	if (!snapshot && visit->look != LOOK_ONLY)
		model_found_zeros(model, first, len / SECTOR_SIZE, ending_of(visit->look));
}

static void see_sector(struct visit *visit, bool snapshot, uint64_t sector, uint64_t host,
		       const uint8_t *bytes)
{
	struct model *model = &visit->stage->model;
	const char *wrong = snapshot ? model_check_snapshot(model, sector, bytes) :
				       model_check(model, sector, bytes);

	if (wrong)
		complain(visit, snapshot, sector, host, wrong, bytes);
	if (!snapshot && visit->look != LOOK_ONLY)
		model_found(model, sector, bytes, ending_of(visit->look));
}

/* Whatever may be there must do; what has been seen before in this look has. */
static void see_doubted(struct visit *visit, bool snapshot, uint64_t sector,
			const struct sparse *file, uint64_t host)
{
	const uint8_t *contents;
	uint32_t count;

	if (doubts_known(file, host / SECTOR_SIZE, sector << 1 | snapshot))
		return;
	count = doubts_contents(file, host / SECTOR_SIZE, &contents);
	if (count == 0)
		see_sector(visit, snapshot, sector, host, sparse_at(file, host));
	for (uint32_t i = 0; i < count; i++)
		see_sector(visit, snapshot, sector, host, contents + i * SECTOR_SIZE);
}

static void see_data(void *arg, bool snapshot, uint64_t guest, const struct sparse *file,
		     uint64_t host, uint64_t len)
{
	struct visit *visit = arg;
	uint64_t end = guest + seen_bytes(&visit->stage->model, snapshot, guest, len);

	while (guest < end) {
		uint64_t n = sparse_hole(file, host, end - guest);

		if (n) {
			see_zeros(visit, snapshot, guest, n);
		} else {
			const uint8_t *bytes = sparse_at(file, host);

			n = min_u64(end - guest, PAGE_BYTES - host % PAGE_BYTES);
			for (uint64_t i = 0; i < n && !file->watch; i += SECTOR_SIZE)
				see_sector(visit, snapshot, (guest + i) / SECTOR_SIZE, host + i,
					   bytes + i);
			for (uint64_t i = 0; i < n && file->watch; i += SECTOR_SIZE)
				see_doubted(visit, snapshot, (guest + i) / SECTOR_SIZE, file,
					    host + i);
		}
		guest += n;
		host += n;
	}
}

/* Any version that may be there will do, and nothing is known from it: the guest reads zeros. */
static void see_alone(void *arg, uint64_t guest, const struct sparse *file, uint64_t len)
{
	struct visit only = *(const struct visit *)arg;
	struct visit *visit = arg;

	only.look = LOOK_ONLY;
	see_data(&only, false, guest, file, guest, len);
	memcpy(visit->wrong, only.wrong, sizeof(visit->wrong));
}

static bool agrees(int code, const struct verdict *verdict)
{
	return code <= 0 || (code == 3 && verdict->leaks);
}

/* Two checkers that were not written by who wrote the judge.  QEMU cannot open what is encrypted. */
static void ask_others(struct stage *stage, const struct sparse *file, const struct sparse *data,
		       const struct verdict *verdict)
{
	struct why first;
	int code;

	if (!stage->qemu_check_every || stage->judged++ % stage->qemu_check_every)
		return;
	code = hostfile_own_check(file, &first);
	if (!agrees(code, verdict))
		sim_fail("our check says %d and the judge finds nothing: %s", code, first.text);
	if (stage->config.shape.encrypted)
		return;
	code = hostfile_qemu_check(file, data);
	stage->qemu_checks++;
	if (!agrees(code, verdict))
		sim_fail("qemu-img check says %d and the judge finds nothing", code);
}

struct verdict stage_look(struct stage *stage, enum bytes bytes, enum look look, const char *when)
{
	const struct sim_host *host = &stage->host;
	bool durable = bytes == BYTES_DURABLE;
	const struct sparse *file = durable ? &host->disk.durable : &host->disk.visible;
	const struct sparse *data = durable ? &host->data.durable : &host->data.visible;
	struct visit visit = { .stage = stage, .look = look };
	struct judge_visitor visitor = {
		&visit,
		see_data,
		see_zeros,
		&stage->host.below.content,
		stage->crashed ? NULL : see_alone,
	};
	struct verdict verdict;

	data = host->data_apart ? data : NULL;
	verdict = judge(file, data, &visitor);

	if (verdict.corruptions)
		sim_fail("%s: %s", when, verdict.why);
	resizing_found(stage, verdict.disk_bytes, false);
	if (visit.wrong[0])
		sim_fail("%s: %s", when, visit.wrong);
	ask_others(stage, file, data, &verdict);
	if (look != LOOK_ONLY)
		resizing_found(stage, verdict.disk_bytes, true);
	if (look != LOOK_ONLY)
		model_life_begins(&stage->model, ending_of(look));
	return verdict;
}

struct verdict stage_peek(struct stage *stage)
{
	struct verdict verdict;
	struct disk *disk = &stage->host.disk, *data = &stage->host.data;
	uint32_t ops = disk->ops, data_ops = data->ops;

	host_append_flying(&stage->host);
	disk_peek_begin(disk, cut_draw(disk, &stage->rng), &stage->rng);
	disk_peek_begin(data, cut_draw(data, &stage->rng), &stage->rng);
	verdict = stage_look(stage, BYTES_DURABLE, LOOK_ONLY, "if the power failed now");
	disk_peek_end(data, data_ops);
	disk_peek_end(disk, ops);
	return verdict;
}
