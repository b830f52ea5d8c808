/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Is every barrier needed, and would its loss be seen?  One bug after the other is planted: those that
 * image.h names first, then each barrier that plant.py has found is left out.
 */
#include "mutants.h"

#include "hints.h"
#include "image.h"
#include "planted.h"
#include "siege.h"

#include <stdio.h>
#include <stdlib.h>

#define MUTANT_NAME(name) [MUTANT_##name] = #name,

static const char *const mutant_names[] = { MUTANT_LIST(MUTANT_NAME) };

const bool mutants_are_there = true;
unsigned planted_watched;

static bool is_out; /* the barrier at hand */

bool planted_passed(void)
{
	siege_passed();
	return is_out;
}

/* They are numbered: those with names from 1 on, then the sites. */
unsigned mutants_count(void)
{
	return MUTANT_COUNT - 1 + planted_count;
}

static void plant(unsigned number)
{
	const struct planted_site *site;

	is_out = number >= MUTANT_COUNT;
	mutant_planted = is_out ? MUTANT_NONE : (enum mutant)number;
	planted_watched = is_out ? number - MUTANT_COUNT + 1 : 0;
	site = is_out ? &planted_sites[number - MUTANT_COUNT] : NULL;
	siege_lay(site ? site->kind : MUTANT_NAMED, site ? site->where : mutant_names[number]);
}

void mutants_spare(void)
{
	is_out = false;
	mutant_planted = MUTANT_NONE;
}

void mutant_describe(unsigned number, char *text)
{
	const struct planted_site *site = &planted_sites[number - MUTANT_COUNT];

	if (number < MUTANT_COUNT)
		snprintf(text, MUTANT_NAME_BYTES, "%s", mutant_names[number]);
	else
		snprintf(text, MUTANT_NAME_BYTES, "%s %s: %s", site->kind, site->where, site->what);
}

const char *mutant_kind(unsigned number)
{
	return number < MUTANT_COUNT ? MUTANT_NAMED : planted_sites[number - MUTANT_COUNT].kind;
}

bool mutants_plant(const char *name)
{
	unsigned long number = strtoul(name, NULL, 10);
	char text[MUTANT_NAME_BYTES];

	/* No bug: for the kill points, which only these builds have. */
	if (strcmp(name, "NONE") == 0)
		return true;
	for (unsigned i = 1; i <= mutants_count(); i++) {
		mutant_describe(i, text);
		if (strcmp(name, text) == 0)
			number = i;
	}
	if (number == 0 || number > mutants_count())
		return false;
	plant((unsigned)number);
	return true;
}

/* --- finding ------------------------------------------------------------------------------------- */

/* Run one seed. */
static bool try_seed(const struct crew_options *crew, uint64_t seed, struct finding *finding)
{
	struct crew_options one = *crew;

	one.first = seed;
	one.seeds = one.jobs = 1;
	one.quiet = true;
	crew_run(&one, finding);
	return finding->found;
}

/* Does a seed find something that is no mutant's doing? */
static bool fails_anyway(const struct crew_options *crew, uint64_t seed, unsigned number)
{
	struct finding finding;

	mutants_spare();
	try_seed(crew, seed, &finding);
	plant(number);
	return finding.found;
}

/* The first seed that only the planted bug makes fail; false when the budget is used up before. */
static bool search(const struct crew_options *crew, unsigned number, struct finding *finding)
{
	struct crew_options left = *crew;
	uint64_t spent = 0;

	left.quiet = true;
	for (;;) {
		crew_run(&left, finding);
		spent += finding->milliseconds;
		finding->milliseconds = spent;
		if (!finding->found)
			return false;
		if (!fails_anyway(crew, finding->seed, number))
			return true;
		left.first = finding->seed + 1;
		if (left.seconds && spent >= left.seconds * 1000)
			return false;
	}
}

bool mutant_find(const struct crew_options *crew, unsigned number, const char *name,
		 struct finding *finding)
{
	uint64_t hint = hint_for(crew->hints, name);

	plant(number);
	if (hint && try_seed(crew, hint, finding) && !fails_anyway(crew, hint, number))
		return true;
	return search(crew, number, finding);
}
