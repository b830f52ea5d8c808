/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Images on which free space is far away, or behind the end of the file; in a few seeds, with chance of their own. */
#ifndef SPACE_H
#define SPACE_H

#include "config.h"

void space_draw(struct config *config, uint64_t seed);

#endif
