/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Planted bugs: those that the engine's sources name, and every barrier that plant.py finds there. */
#ifndef MUTANTS_H
#define MUTANTS_H

#include "crew.h"

/* False in a program without them. */
extern const bool mutants_are_there;

/* Plant one, by name or number; false when there is none. */
bool mutants_plant(const char *name);

/*
 * Plant one after the other and print what finds it: the number of those that nothing finds within
 * the budget.
 */
unsigned mutants_find_all(const struct crew_options *crew);

#endif
