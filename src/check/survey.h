/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One round of the check: who refers to what, and what is wrong with it. */
#ifndef CHECK_SURVEY_H
#define CHECK_SURVEY_H

#include "state.h"

/*
 * Read the header, count all references, compare them with the refcounts, check the COPIED flags.
 * Fills @check anew, whose file, options, result and why are set; changes no file.  0, or -errno
 * with the sentence, for check_image() to return.
 */
int survey(struct check *check);

/* Forget what survey() has learnt. */
void survey_release(struct check *check);

#endif
