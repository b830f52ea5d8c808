/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Planted bugs: those that the engine's sources name, and every barrier that plant.py finds there. */
#ifndef MUTANTS_H
#define MUTANTS_H

#include "crew.h"

/* False in a program without them. */
extern const bool mutants_are_there;

/* Plant one, by name or number; false when there is none. */
bool mutants_plant(const char *name);

/* Pull it out again, and leave all else as it is: who besieges a barrier does so when it is there. */
void mutants_spare(void);

/* They are numbered from 1 on. */
unsigned mutants_count(void);

/* A name that it keeps while its place in the sources does; MUTANT_NAME_BYTES. */
void mutant_describe(unsigned number, char *text);

#define MUTANT_NAMED "named" /* the kind of those in image.h */
const char *mutant_kind(unsigned number);

/* Plant it, and look for a seed that only it makes fail: first the one that the hints know. */
bool mutant_find(const struct crew_options *crew, unsigned number, const char *name,
		 struct finding *finding);

/*
 * Plant one after the other and print what finds it: the number of those that nothing finds within
 * the budget.
 */
unsigned mutants_find_all(const struct crew_options *crew);

#endif
