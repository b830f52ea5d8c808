/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What lies below an image: the files of its chain, and what all of them together say. */
#ifndef BELOW_H
#define BELOW_H

#include "sparse.h"

#define MAX_LAYERS 3

struct below {
	unsigned layers;
	struct sparse file[MAX_LAYERS]; /* the first one is right below the image */
	struct sparse data[MAX_LAYERS]; /* their external data files */
	struct sparse content; /* the guest's bytes, as far as they come from these */
};

void below_init(struct below *below);

/* Nothing below; memory is given back. */
void below_reset(struct below *below);

/* The name that the layer above writes down. */
const char *below_name(unsigned layer);

/* The name of its data file; MAX_LAYERS: of the image's. */
const char *below_data_name(unsigned layer);

/* The layer of that name; MAX_LAYERS: none. */
unsigned below_find(const struct below *below, const char *name);

#endif
