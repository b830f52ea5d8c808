/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Builds the image that a shape describes. */
#ifndef MAKE_H
#define MAKE_H

#include "below.h"
#include "disk.h"
#include "model.h"
#include "shape.h"

/* Fill @disk and its external @data file, durably, and what lies @below, and tell @model what the guest's disk holds. */
void make_image(const struct shape *shape, struct disk *disk, struct disk *data,
		struct below *below, struct model *model, struct rng *rng);

#endif
