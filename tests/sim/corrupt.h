/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lives in which the engine finds out that the image is corrupt. */
#ifndef CORRUPT_H
#define CORRUPT_H

#include "stage.h"

/* A self-check of the engine fails now, on one of its lanes; and the process may die of something else. */
void corrupt_now(struct stage *stage);

/* The engine is at rest: writes fail, and version 3 says so for ever. */
void corrupt_check(struct stage *stage);

/* Repaired: what comes next may write again.  Nothing happens when there is no mark. */
void corrupt_repair(struct stage *stage);

#endif
