/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where can a repair put something new?  Where nobody refers to, whatever the refcounts say. */
#ifndef CHECK_SPACE_H
#define CHECK_SPACE_H

#include "state.h"

/*
 * Find @clusters neighbouring host clusters that are not counted, count them as a table, and
 * return the first in @first.  Prefers holes to the end of the file.  0, or -errno with the
 * sentence.
 */
int space_take(struct check *check, uint64_t clusters, uint64_t *first);

#endif
