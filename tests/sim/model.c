/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Versions of guest sectors, and which of them may be seen. */
#include "model.h"

#include "memory.h"
#include "versions.h"

#include <stdlib.h>

#define MAX_SECTORS (UINT64_C(4) * 1024 * 1024)
#define MAX_MODEL_PAGES (MAX_SECTORS / MODEL_PAGE_SECTORS)
#define MAX_FLYING 1024

void model_init(struct model *model)
{
	*model = (struct model){
		.page = reserve_zeroed(MAX_MODEL_PAGES * sizeof(*model->page)),
		.used = reserve_zeroed(MAX_MODEL_PAGES * sizeof(*model->used)),
		.flying = xmalloc(MAX_FLYING * sizeof(*model->flying)),
	};
}

version_t model_tick(struct model *model, enum change_kind kind)
{
	if (model->clock == model->room) {
		model->room = model->room ? 2 * model->room : 4096;
		model->change = xrealloc(model->change, model->room * sizeof(*model->change));
		model->ended = xrealloc(model->ended, model->room * sizeof(*model->ended));
	}
	model->changes++;
	model->change[model->clock] = (struct change){ .kind = kind, .end = FLYING };
	return model->clock++;
}

void model_reset(struct model *model, uint64_t sectors)
{
	must(sectors <= MAX_SECTORS);
	for (uint64_t i = 0; i < model->nused; i++) {
		free(model->page[model->used[i]]);
		model->page[model->used[i]] = NULL;
	}
	model->nused = 0;
	model->sectors = model->snapshot_sectors = sectors;
	model->clock = 0;
	model->nflying = model->nended = model->next_durable = 0;
	model_tick(model, CHANGE_NONE); /* version 0 means zeros */
	model->life = model->based = model_tick(model, CHANGE_NONE);
}

void model_resize(struct model *model, uint64_t sectors)
{
	must(sectors <= MAX_SECTORS);
	model->sectors = sectors;
}

void model_zero_behind(struct model *model)
{
	version_t now = model_tick(model, CHANGE_NONE);

	for_each_kept(model, s, model->sectors, MAX_SECTORS)
	{
		struct model_sector *sector = model_sector_at(model, s);

		*sector = (struct model_sector){ .snapshot = sector->snapshot, .cut = now };
	}
}

uint64_t model_first_written(const struct model *model, uint64_t first, bool alone)
{
	for_each_kept(model, s, first, model->sectors)
	{
		const struct model_sector *sector = model_sector_at(model, s);

		/* Zeros that came meanwhile may be what is there. */
		if (model->change[sector->done].kind == CHANGE_WRITE ?
			    sector->zeroed < sector->done :
			    alone && !sector->done && sector->shown && !sector->zeroed)
			return s;
	}
	return NO_SECTOR;
}

static struct model_sector *sector_make(struct model *model, uint64_t sector)
{
	uint64_t index = sector / MODEL_PAGE_SECTORS;

	if (!model->page[index]) {
		size_t bytes = MODEL_PAGE_SECTORS * sizeof(struct model_sector);

		model->page[index] = xmalloc(bytes);
		memset(model->page[index], 0, bytes);
		model->used[model->nused++] = index;
	}
	return model_sector_at(model, sector);
}

version_t model_made(struct model *model)
{
	version_t version = model_tick(model, CHANGE_WRITE);

	model->change[version].sectors = model->sectors;
	model->change[version].end = model_tick(model, CHANGE_NONE);
	model->life = model->based = model_tick(model, CHANGE_NONE);
	return version;
}

void model_set(struct model *model, uint64_t sector, version_t active, version_t snapshot)
{
	struct model_sector *s = sector_make(model, sector);

	s->shown = s->base = active;
	s->snapshot = snapshot;
}

/* --- changes and flushes ----------------------------------------------------------------------- */

version_t model_start(struct model *model, enum change_kind kind, uint64_t first_sector,
		      uint64_t sectors, bool optional)
{
	version_t version = model_tick(model, kind);
	struct change *change = &model->change[version];

	must(model->nflying < MAX_FLYING);
	change->first_sector = first_sector;
	change->sectors = sectors;
	change->optional = optional;
	model->flying[model->nflying++] = version;
	for (uint64_t i = 0; kind == CHANGE_WRITE && i < sectors; i++)
		sector_make(model, first_sector + i);
	return version;
}

void model_note_zeroed(struct model *model, const struct change *change)
{
	uint64_t end = change->first_sector + change->sectors;

	if (change->kind == CHANGE_ZERO)
		for_each_kept(model, s, change->first_sector, end) model_sector_at(model, s)
			->zeroed = change->end;
}

static void note_durable(struct model *model, version_t version)
{
	const struct change *change = &model->change[version];
	uint64_t end = change->first_sector + change->sectors;

	for_each_kept(model, s, change->first_sector, end)
	{
		struct model_sector *sector = model_sector_at(model, s);

		/* Zeros from before the sector was first kept: its base says the same. */
		if (change->kind == CHANGE_ZERO && sector->zeroed < change->end)
			continue;
		if (version < sector->cut)
			continue;
		if (sector->durable < version)
			sector->durable = version;
	}
}

/* What this life began with, and was perhaps not durable after a kill, now is. */
static void shown_is_durable(struct model *model)
{
	if (model->based == model->life)
		return;
	for_each_kept(model, s, 0, model->sectors)
	{
		struct model_sector *sector = model_sector_at(model, s);

		if (sector->durable > model->life)
			continue;
		sector->base = sector->shown;
		sector->durable = 0;
	}
	model->based = model->life;
}

/* All that had ended before @when is durable. */
static void durable_until(struct model *model, version_t when)
{
	shown_is_durable(model);
	while (model->next_durable < model->nended) {
		version_t version = model->ended[model->next_durable];

		if (model->change[version].end >= when)
			break;
		note_durable(model, version);
		model->next_durable++;
	}
}

static void note_done(struct model *model, version_t version, bool fua)
{
	const struct change *change = &model->change[version];
	uint64_t end = change->first_sector + change->sectors;

	model->ended[model->nended++] = version;
	for_each_kept(model, s, change->first_sector, end)
	{
		struct model_sector *sector = model_sector_at(model, s);

		if (sector->done < version)
			sector->done = version;
	}
	if (fua)
		note_durable(model, version);
}

void model_end(struct model *model, version_t version, bool ok, bool fua)
{
	uint32_t i = 0;

	while (model->flying[i] != version)
		i++;
	model->flying[i] = model->flying[--model->nflying];

	/* The tick may move the array. */
	version_t now = model_tick(model, CHANGE_NONE);
	struct change *change = &model->change[version];

	change->end = now;
	change->acknowledged = ok && !change->optional;
	model_note_zeroed(model, change);
	if (!change->acknowledged)
		return;
	if (change->kind == CHANGE_FLUSH)
		durable_until(model, version);
	else
		note_done(model, version, fua);
}

void model_closed(struct model *model)
{
	model->changes++;
	durable_until(model, model->clock);
}
