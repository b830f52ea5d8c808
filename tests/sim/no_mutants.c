/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The simulator without planted bugs. */
#include "mutants.h"

#include <stdio.h>

const bool mutants_are_there = false;

bool mutants_plant(const char *name)
{
	(void)name;
	fprintf(stderr, "this program has no mutants; use the one of that name\n");
	return false;
}

void mutants_spare(void)
{
}

unsigned mutants_find_all(const struct crew_options *crew)
{
	(void)crew;
	return 1;
}
