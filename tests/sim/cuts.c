/* SPDX-License-Identifier: GPL-2.0-or-later */
/* States that a power cut may leave: all of them, when there are not too many. */
#include "cuts.h"

#include "report.h"

#include <inttypes.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_PIECES 8192u
#define SAMPLES 24u /* by lot, when there are too many */

/* What no sync covers, of image and data file. */
struct pending {
	struct piece piece[MAX_PIECES];
	bool survives[MAX_PIECES];
	uint32_t image; /* pieces of the image, which come first */
	uint32_t pieces;
};

static struct pending pending;

static uint64_t mix(uint64_t hash, uint64_t word)
{
	hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
	return hash ^ hash >> 29;
}

/* Different, almost surely, when the pieces are or when the guest has heard of something since. */
static uint64_t signature(const struct stage *stage)
{
	uint64_t hash = mix(stage->model.clock, pending.pieces);

	for (uint32_t i = 0; i < pending.pieces; i++) {
		const struct piece *piece = &pending.piece[i];

		hash = mix(mix(hash, piece->off), piece->op->kind * 2u + piece->op->forced);
		for (uint64_t k = 0; piece->op->kind == HOSTOP_WRITE && k < piece->len; k += 8) {
			uint64_t word = 0;

			memcpy(&word, piece->op->data + (piece->off - piece->op->off) + k,
			       min_u64(sizeof(word), piece->len - k));
			hash = mix(hash, word);
		}
	}
	hash = mix(hash, stage->host.disk.syncs + stage->host.data.syncs);
	return hash ? hash : 1;
}

static void collect(struct stage *stage)
{
	pending.image = disk_pieces(&stage->host.disk, pending.piece, MAX_PIECES);
	must(pending.image <= MAX_PIECES);
	pending.pieces = pending.image + disk_pieces(&stage->host.data,
						     pending.piece + pending.image,
						     MAX_PIECES - pending.image);
	must(pending.pieces <= MAX_PIECES);
}

/* --- going on -------------------------------------------------------------------------------------- */

/* The power has failed; in a process of its own, because this one's life goes on. */
static void reopen(struct stage *stage)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		disk_peek_stays(&stage->host.disk);
		disk_peek_stays(&stage->host.data);
		model_life_over(&stage->model);
		stage_free(stage);
		stage_use(stage);
		_exit(0);
	}
	must(pid > 0);
	must(waitpid(pid, &status, 0) == pid);
	if (status)
		exit(1);
}

/* --- looking ---------------------------------------------------------------------------------------- */

static void look(struct cuts *cuts, struct stage *stage, uint64_t max_leaks, const char *when)
{
	struct disk *disk = &stage->host.disk, *data = &stage->host.data;
	struct verdict verdict;

	disk_peek_pieces(disk, pending.piece, pending.image, pending.survives);
	disk_peek_pieces(data, pending.piece + pending.image, pending.pieces - pending.image,
			 pending.survives + pending.image);
	verdict = stage_look(stage, BYTES_DURABLE, LOOK_ONLY, when);
	if (verdict.leaks > max_leaks)
		sim_fail("%s: %" PRIu64 " leaks, %" PRIu64 " are to be expected at most: %s", when,
			 verdict.leaks, max_leaks, verdict.leak);
	cuts->states++;
	if (cuts->reopen_every && cuts->states % cuts->reopen_every == 0) {
		reopen(stage);
		cuts->reopened++;
	}
	disk_peek_end(data, data->ops);
	disk_peek_end(disk, disk->ops);
}

static void set_all(bool survive)
{
	for (uint32_t i = 0; i < pending.pieces; i++)
		pending.survives[i] = survive;
}

/* Pieces of one operation together. */
static void set_operation(uint32_t from, bool survive)
{
	for (uint32_t i = from; i < pending.pieces && pending.piece[i].op == pending.piece[from].op;
	     i++)
		pending.survives[i] = survive;
}

/* Too many: none, all, each operation and each piece alone or alone missing, and some by lot. */
static void look_at_some(struct cuts *cuts, struct stage *stage, uint64_t max_leaks,
			 const char *when)
{
	/* As many single pieces as there would be subsets. */
	uint32_t step = 1 + (pending.pieces >> cuts->limit << 2);

	for (unsigned others = 0; others < 2; others++) {
		set_all(others);
		look(cuts, stage, max_leaks, when);
		for (uint32_t i = 0; cuts->limit && i < pending.pieces; i++) {
			bool first = i == 0 || pending.piece[i].op != pending.piece[i - 1].op;

			set_all(others);
			if (first)
				set_operation(i, !others);
			else if (i % step == 0)
				pending.survives[i] = !others;
			else
				continue;
			look(cuts, stage, max_leaks, when);
		}
	}
	for (unsigned n = 0; cuts->limit && n < SAMPLES; n++) {
		uint32_t percent = 5 + rng_below(&stage->rng, 90);

		for (uint32_t i = 0; i < pending.pieces; i++)
			pending.survives[i] = rng_percent(&stage->rng, percent);
		look(cuts, stage, max_leaks, when);
	}
}

static void look_at_all(struct cuts *cuts, struct stage *stage, uint64_t max_leaks,
			const char *when)
{
	for (uint64_t subset = 0; subset < UINT64_C(1) << pending.pieces; subset++) {
		for (uint32_t i = 0; i < pending.pieces; i++)
			pending.survives[i] = subset >> i & 1;
		look(cuts, stage, max_leaks, when);
	}
}

void cuts_look(struct cuts *cuts, struct stage *stage, uint64_t max_leaks, const char *when)
{
	struct disk *disk = &stage->host.disk, *data = &stage->host.data;
	uint32_t before = disk->ops, data_before = data->ops;
	uint64_t now;

	host_append_flying(&stage->host);
	collect(stage);
	now = signature(stage);
	if (now != cuts->seen && pending.pieces <= cuts->limit)
		look_at_all(cuts, stage, max_leaks, when);
	else if (now != cuts->seen)
		look_at_some(cuts, stage, max_leaks, when);
	cuts->seen = now;
	disk_drop(disk, before);
	disk_drop(data, data_before);
}
