/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The files of a chain. */
#include "below.h"

static const char *const names[MAX_LAYERS] = { "below0", "below1", "below2" };

void below_init(struct below *below)
{
	below->layers = 0;
	for (unsigned i = 0; i < MAX_LAYERS; i++)
		sparse_init(&below->file[i]);
	sparse_init(&below->content);
}

const char *below_name(unsigned layer)
{
	return names[layer];
}

unsigned below_find(const struct below *below, const char *name)
{
	for (unsigned i = 0; i < below->layers; i++)
		if (strcmp(name, names[i]) == 0)
			return i;
	return MAX_LAYERS;
}
