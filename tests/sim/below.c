/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The files of a chain. */
#include "below.h"

static const char *const names[MAX_LAYERS] = { "below0", "below1", "below2" };
static const char *const data_names[MAX_LAYERS + 1] = { "data0", "data1", "data2", "data" };

void below_init(struct below *below)
{
	below->layers = 0;
	for (unsigned i = 0; i < MAX_LAYERS; i++)
		sparse_init(&below->file[i]);
	for (unsigned i = 0; i < MAX_LAYERS; i++)
		sparse_init(&below->data[i]);
	sparse_init(&below->content);
}

void below_reset(struct below *below)
{
	below->layers = 0;
	for (unsigned i = 0; i < MAX_LAYERS; i++) {
		sparse_reset(&below->file[i]);
		sparse_reset(&below->data[i]);
	}
	sparse_reset(&below->content);
}

const char *below_name(unsigned layer)
{
	return names[layer];
}

const char *below_data_name(unsigned layer)
{
	return data_names[layer];
}

unsigned below_find(const struct below *below, const char *name)
{
	for (unsigned i = 0; i < below->layers; i++)
		if (strcmp(name, names[i]) == 0)
			return i;
	return MAX_LAYERS;
}
