/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A look at every L2 table at open, for what the header does not tell. */
#ifndef SURVEY_H
#define SURVEY_H

#include "engine.h"

/* Refuse an image that has compressed clusters: -ENOTSUP with the sentence.  Blocking. */
int survey_l2_tables(struct image *image, struct why *why);

#endif
