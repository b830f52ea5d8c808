/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What becomes of one operation when the power fails, or a sync does. */
#ifndef FATE_H
#define FATE_H

#include "disk.h"

/* How likely an operation, or a sector of it, survives. */
struct fate {
	uint32_t keep_percent;
	bool tear;
	bool grow; /* the size that it made survives with it */
	struct rng *rng;
};

/* Do all of it. */
void hostop_apply(struct sparse *bytes, const struct hostop *op);

/* Do what survives of it. */
void hostop_apply_some(struct sparse *bytes, const struct hostop *op, struct fate fate);

#endif
