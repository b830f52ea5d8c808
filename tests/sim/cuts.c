/* SPDX-License-Identifier: GPL-2.0-or-later */
/* States that a power cut may leave: one by one, or all at once; of too many, a sample. */
#include "cuts.h"

#include "digest.h"
#include "doubts.h"
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

/* Different, almost surely, when the pieces are or when the guest has heard of something since. */
static uint64_t signature(const struct stage *stage)
{
	uint64_t hash = digest_add(digest_add(stage->model.changes, pending.pieces), pending.image);

	for (uint32_t i = 0; i < pending.pieces; i++) {
		const struct piece *piece = &pending.piece[i];

		hash = digest_add(digest_add(hash, piece->off),
				  piece->op->kind * 2u + piece->op->forced);
		if (piece->op->kind == HOSTOP_WRITE)
			hash = digest_add(hash, digest_bytes(piece->op->data +
								     (piece->off - piece->op->off),
							     piece->len));
	}
	hash = digest_add(hash, stage->host.disk.syncs + stage->host.data.syncs);
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

static void judge_now(struct cuts *cuts, struct stage *stage, uint64_t max_leaks, const char *when)
{
	struct verdict verdict = stage_look(stage, BYTES_DURABLE, LOOK_ONLY, when);

	if (verdict.leaks > max_leaks)
		sim_fail("%s: %" PRIu64 " leaks, %" PRIu64 " are to be expected at most: %s", when,
			 verdict.leaks, max_leaks, verdict.leak);
	cuts->states++;
	cuts->unopened++;
}

static bool is_due(const struct cuts *cuts)
{
	return cuts->reopen_every && cuts->unopened >= cuts->reopen_every;
}

/* At one state. */
static void look(struct cuts *cuts, struct stage *stage, uint64_t max_leaks, const char *when)
{
	struct disk *disk = &stage->host.disk, *data = &stage->host.data;

	disk_peek_pieces(disk, pending.piece, pending.image, pending.survives);
	disk_peek_pieces(data, pending.piece + pending.image, pending.pieces - pending.image,
			 pending.survives + pending.image);
	judge_now(cuts, stage, max_leaks, when);
	if (is_due(cuts)) {
		reopen(stage);
		cuts->reopened++;
		cuts->unopened = 0;
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

static void draw(struct rng *rng)
{
	uint32_t percent = 5 + rng_below(rng, 90);

	for (uint32_t i = 0; i < pending.pieces; i++)
		pending.survives[i] = rng_percent(rng, percent);
}

/* Too many: none, all, each operation and each piece alone or alone missing, and some by lot. */
static void look_at_some(struct cuts *cuts, struct stage *stage, struct rng *rng,
			 uint64_t max_leaks, const char *when)
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
		draw(rng);
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

static void look_plainly(struct cuts *cuts, struct stage *stage, uint64_t max_leaks,
			 const char *when)
{
	uint64_t now = signature(stage);

	if (now == cuts->seen) {
		cuts->known++;
	} else if (pending.pieces <= cuts->limit) {
		look_at_all(cuts, stage, max_leaks, when);
	} else {
		cuts->wide++;
		cuts->sampled++;
		look_at_some(cuts, stage, &stage->rng, max_leaks, when);
	}
	cuts->seen = now;
}

/* --- all at once -------------------------------------------------------------------------------------- */

/* False when that is more than all subsets of so many pieces would be. */
static bool look_at_doubts(struct cuts *cuts, struct stage *stage, uint64_t max_leaks,
			   const char *when)
{
	uint64_t most = cuts->states + (UINT64_C(1) << cuts->limit);

	do {
		if (cuts->states == most)
			return false;
		judge_now(cuts, stage, max_leaks, when);
	} while (doubts_next());
	return true;
}

static bool begin(struct stage *stage)
{
	const struct doubts_files files = {
		.image = &stage->host.disk,
		.data = &stage->host.data,
		.piece = pending.piece,
		.image_pieces = pending.image,
		.pieces = pending.pieces,
		.cluster_bytes = UINT64_C(1) << stage->config.shape.cluster_bits,
	};

	return doubts_begin(&files);
}

/* What is chosen by lot must not depend on what others have looked at, nor the engine's life on that. */
static void look_at_moment(struct cuts *cuts, struct stage *stage, uint64_t max_leaks,
			   const char *when)
{
	uint64_t now = digest_add(signature(stage), max_leaks), name;
	bool begun, whole = false;
	struct rng rng;

	if (now == cuts->seen) {
		cuts->known++;
		return;
	}
	cuts->seen = now;
	begun = begin(stage);
	name = begun ? doubts_digest() : now;
	name = digest_add(digest_add(name, cuts->image), model_digest(&stage->model));
	name = digest_add(digest_add(name, max_leaks), begun);
	rng.state = name;
	/* Without doubts, the name says nothing of what is durable. */
	if (begun && !memo_add(cuts->memo, name)) {
		cuts->known++;
		doubts_end();
		return;
	}
	if (begun) {
		whole = look_at_doubts(cuts, stage, max_leaks, when);
		doubts_end();
	}
	cuts->wide += pending.pieces > cuts->limit;
	cuts->sampled += !whole;
	if (!whole)
		look_at_some(cuts, stage, &rng, max_leaks, when);
	if (is_due(cuts)) {
		draw(&rng);
		look(cuts, stage, max_leaks, when);
	}
}

void cuts_look(struct cuts *cuts, struct stage *stage, uint64_t max_leaks, const char *when)
{
	struct disk *disk = &stage->host.disk, *data = &stage->host.data;
	uint32_t before = disk->ops, data_before = data->ops;

	host_append_flying(&stage->host);
	collect(stage);
	cuts->moments++;
	if (pending.pieces <= cuts->limit)
		cuts->subsets += UINT64_C(1) << pending.pieces;
	if (cuts->memo)
		look_at_moment(cuts, stage, max_leaks, when);
	else
		look_plainly(cuts, stage, max_leaks, when);
	disk_drop(disk, before);
	disk_drop(data, data_before);
}
