/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Private to the model: how its files find a sector's versions. */
#ifndef VERSIONS_H
#define VERSIONS_H

#include "model.h"

/* The clock ticks; this moment is the start of a @kind. */
version_t model_tick(struct model *model, enum change_kind kind);

/* Zeros may have come from this change until now. */
void model_note_zeroed(struct model *model, const struct change *change);

/* NULL: zeros ever since. */
static inline struct model_sector *model_sector_at(const struct model *model, uint64_t sector)
{
	struct model_sector *page = model->page[sector / MODEL_PAGE_SECTORS];

	return page ? &page[sector % MODEL_PAGE_SECTORS] : NULL;
}

/* The next sector from @sector on that is kept, or @end. */
static inline uint64_t next_kept(const struct model *model, uint64_t sector, uint64_t end)
{
	while (sector < end && !model->page[sector / MODEL_PAGE_SECTORS])
		sector = round_down(sector, MODEL_PAGE_SECTORS) + MODEL_PAGE_SECTORS;
	return min_u64(sector, end);
}

#define for_each_kept(model, s, first, end) \
	for (uint64_t s = next_kept(model, first, end); s < (end); s = next_kept(model, s + 1, end))

#endif
