/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The COPIED flags of the active tables: set if and only if the refcount is 1. */
#ifndef CHECK_COPIED_H
#define CHECK_COPIED_H

#include "state.h"

/* Count wrong flags, by the refcounts that the image has.  0, or -errno with the sentence. */
int copied_check(struct check *check);

/*
 * Put the flags right, by the references that were counted; for after a repair of the refcounts.
 * Leaves out tables that cannot be written.  0, or -errno with the sentence.
 */
int copied_fix(struct check *check);

#endif
