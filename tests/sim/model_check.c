/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which versions may be seen, and what the next life begins with. */
#include "model.h"

#include "digest.h"
#include "versions.h"

#include <inttypes.h>
#include <stdio.h>

/* Is something on its way that zeroes the sector? */
static bool zeros_fly(const struct model *model, uint64_t sector)
{
	for (uint32_t i = 0; i < model->nflying; i++) {
		const struct change *change = &model->change[model->flying[i]];

		if (change->kind == CHANGE_ZERO && sector - change->first_sector < change->sectors)
			return true;
	}
	return false;
}

/*
 * Is @version right, when changes older than @newest are out of date, and @old stood there at
 * @since?
 */
static bool version_fits(const struct model *model, const struct model_sector *s, uint64_t sector,
			 version_t version, version_t newest, version_t old, version_t since)
{
	if (version == old && newest <= s->cut)
		return true;
	newest = newest > s->cut ? newest : s->cut;
	if (version == 0)
		return (s->zeroed > since && s->zeroed > newest) || zeros_fly(model, sector);
	return version > since && model->change[version].end > newest;
}

static bool version_exists(const struct model *model, uint64_t sector, version_t version)
{
	const struct change *change = &model->change[version];

	return version < model->clock && change->kind == CHANGE_WRITE &&
	       sector - change->first_sector < change->sectors;
}

/* What a sector holds, or NULL and *@version. */
static const char *identify(const struct model *model, uint64_t sector, const uint8_t *bytes,
			    version_t *version)
{
	uint64_t whose = sector;

	switch (pattern_content(bytes, &whose, version)) {
	case CONTENT_ZEROS:
		return NULL;
	case CONTENT_GARBAGE:
		return "bytes that nobody wrote";
	case CONTENT_PATTERN:
		break;
	}
	if (whose != sector)
		return "the bytes of another sector";
	return version_exists(model, sector, *version) ? NULL : "a version that nobody wrote";
}

void model_read_start(struct model *model, uint64_t first_sector, uint64_t sectors, version_t *seen)
{
	for (uint64_t i = 0; i < sectors; i++) {
		const struct model_sector *s = model_sector_at(model, first_sector + i);

		seen[i] = s ? s->done : 0;
	}
}

const char *model_read_end(struct model *model, uint64_t first_sector, uint64_t sectors,
			   const version_t *seen, const uint8_t *bytes)
{
	static const struct model_sector never_kept;

	for (uint64_t i = 0; i < sectors; i++) {
		uint64_t sector = first_sector + i;
		const struct model_sector *s = model_sector_at(model, sector);
		version_t version;
		const char *wrong = identify(model, sector, bytes + i * SECTOR_SIZE, &version);

		if (!s)
			s = &never_kept;
		if (!wrong &&
		    !version_fits(model, s, sector, version, seen[i], s->shown, model->life))
			wrong = "a read returned a version that it may not see";
		if (wrong) {
			static char text[160];
			char what[64];

			pattern_describe(bytes + i * SECTOR_SIZE, what, sizeof(what));
			snprintf(text, sizeof(text), "sector %" PRIu64 " read: %s (%s)", sector,
				 wrong, what);
			return text;
		}
	}
	return NULL;
}

static const char *check_version(const struct model *model, uint64_t sector, version_t version)
{
	const struct model_sector *s = model_sector_at(model, sector);

	if (!s)
		return version == 0 ? NULL : "a version that nobody wrote";
	if (version_fits(model, s, sector, version, s->durable, s->base, model->based))
		return NULL;
	return version < s->durable || version == 0 ? "what was durable is lost" :
						      "a version that was overwritten";
}

const char *model_check(const struct model *model, uint64_t sector, const uint8_t *bytes)
{
	version_t version;
	const char *wrong = identify(model, sector, bytes, &version);

	return wrong ? wrong : check_version(model, sector, version);
}

const char *model_check_snapshot(const struct model *model, uint64_t sector, const uint8_t *bytes)
{
	const struct model_sector *s = model_sector_at(model, sector);
	version_t version;
	const char *wrong = identify(model, sector, bytes, &version);

	if (!wrong && version != (s ? s->snapshot : 0))
		wrong = "the snapshot has changed";
	return wrong;
}

const char *model_check_zeros(const struct model *model, uint64_t first_sector, uint64_t sectors,
			      bool snapshot, uint64_t *bad_sector)
{
	uint64_t end = min_u64(first_sector + sectors, model->sectors);

	for_each_kept(model, s, first_sector, end)
	{
		*bad_sector = s;
		if (snapshot && model_sector_at(model, s)->snapshot != 0)
			return "the snapshot has changed to zeros";
		if (!snapshot && check_version(model, s, 0))
			return "zeros where what was durable is lost";
	}
	return NULL;
}

/* Of a sector that is kept, each version that may be there, and what the snapshot has. */
static uint64_t digest_versions(const struct model *model, uint64_t sector)
{
	uint64_t digest = digest_add(sector, model_sector_at(model, sector)->snapshot);

	for (version_t version = 0; version < model->clock; version++)
		if ((version == 0 || version_exists(model, sector, version)) &&
		    !check_version(model, sector, version))
			digest = digest_add(digest, version);
	return digest;
}

uint64_t model_digest(struct model *model)
{
	uint64_t digest = 0;

	if (model->digested == model->changes)
		return model->digest;
	for (uint64_t i = 0; i < model->nused; i++) {
		uint64_t first = model->used[i] * MODEL_PAGE_SECTORS;

		for (uint64_t s = first; s < first + MODEL_PAGE_SECTORS && s < model->sectors; s++)
			digest += digest_versions(model, s);
	}
	model->digested = model->changes;
	model->digest = digest;
	return digest;
}

/* --- from life to life ----------------------------------------------------------------------------- */

void model_life_over(struct model *model)
{
	version_t now = model_tick(model, CHANGE_NONE);

	for (uint32_t i = 0; i < model->nflying; i++) {
		struct change *change = &model->change[model->flying[i]];

		change->end = now;
		model_note_zeroed(model, change);
	}
	model->nflying = 0;
}

void model_found(struct model *model, uint64_t sector, const uint8_t *bytes, enum ending ending)
{
	struct model_sector *s = model_sector_at(model, sector);
	uint64_t whose;
	version_t version = 0;

	if (!s)
		return;
	pattern_content(bytes, &whose, &version);
	s->shown = version;
	if (ending == END_DURABLE) {
		s->base = version;
		s->durable = 0;
		s->zeroed = 0;
	}
}

void model_found_zeros(struct model *model, uint64_t first_sector, uint64_t sectors,
		       enum ending ending)
{
	static const uint8_t zeros[SECTOR_SIZE];
	uint64_t end = min_u64(first_sector + sectors, model->sectors);

	for_each_kept(model, s, first_sector, end) model_found(model, s, zeros, ending);
}

void model_life_begins(struct model *model, enum ending ending)
{
	model->life = model_tick(model, CHANGE_NONE);
	if (ending == END_DURABLE)
		model->based = model->life;
	model->nended = model->next_durable = 0;
	for_each_kept(model, s, 0, model->sectors) model_sector_at(model, s)->done = 0;
}
