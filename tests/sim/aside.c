/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Space that the host has set aside, as stretches of the file. */
#include "aside.h"

#include "memory.h"

static void append(struct aside *aside, struct stretch stretch)
{
	if (stretch.at >= stretch.end)
		return;
	for (uint32_t i = 0; i < aside->stretches; i++) {
		struct stretch *other = &aside->stretch[i];

		if (other->end == stretch.at && other->owed == stretch.owed) {
			other->end = stretch.end;
			return;
		}
	}
	if (aside->stretches == aside->room) {
		aside->room = aside->room ? 2 * aside->room : 64;
		aside->stretch = xrealloc(aside->stretch, aside->room * sizeof(*aside->stretch));
	}
	aside->stretch[aside->stretches++] = stretch;
}

void aside_remove(struct aside *aside, uint64_t at, uint64_t end)
{
	for (uint32_t i = aside->stretches; i-- > 0;) {
		struct stretch old = aside->stretch[i];

		if (old.end <= at || end <= old.at)
			continue;
		aside->stretch[i] = aside->stretch[--aside->stretches];
		append(aside, (struct stretch){ old.at, at, old.owed });
		append(aside, (struct stretch){ end, old.end, old.owed });
	}
}

void aside_add(struct aside *aside, uint64_t at, uint64_t end, bool owed)
{
	aside_remove(aside, at, end);
	append(aside, (struct stretch){ at, end, owed });
}

void aside_settle(struct aside *aside, uint64_t at, uint64_t end)
{
	for (uint32_t i = 0; i < aside->stretches; i++)
		if (aside->stretch[i].at < end && at < aside->stretch[i].end)
			aside->stretch[i].owed = false;
}

bool aside_is_owed(const struct aside *aside)
{
	for (uint32_t i = 0; i < aside->stretches; i++)
		if (aside->stretch[i].owed)
			return true;
	return false;
}

void aside_forget(struct aside *aside)
{
	aside->stretches = 0;
}
