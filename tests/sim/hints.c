/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files about mutants are small, and read anew for each question. */
#include "hints.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_BYTES (MUTANT_NAME_BYTES + 32)

static bool next_line(FILE *file, char *line)
{
	if (!fgets(line, LINE_BYTES, file))
		return false;
	line[strcspn(line, "\n")] = '\0';
	return true;
}

uint64_t hint_for(const char *path, const char *name)
{
	FILE *file = path ? fopen(path, "re") : NULL;
	char line[LINE_BYTES];
	uint64_t seed = 0;

	while (file && !seed && next_line(file, line)) {
		char *end;
		uint64_t number = strtoull(line, &end, 10);

		if (*end == ' ' && strcmp(end + 1, name) == 0)
			seed = number;
	}
	if (file)
		fclose(file);
	return seed;
}

static bool is_name(const char *line)
{
	return line[0] && line[0] != '\t' && line[0] != '#';
}

bool exception_for(const char *path, const char *name, char *why, size_t len)
{
	FILE *file = path ? fopen(path, "re") : NULL;
	char line[LINE_BYTES];
	bool found = false, within = false;

	why[0] = '\0';
	while (file && next_line(file, line)) {
		if (is_name(line))
			within = strcmp(line, name) == 0;
		found |= within;
		if (within && line[0] == '\t')
			snprintf(why + strlen(why), len - strlen(why), "%s%s", why[0] ? " " : "",
				 line + 1);
	}
	if (file)
		fclose(file);
	return found;
}

const char *exception_unknown(const char *path, bool (*is_one)(const char *name))
{
	static char line[LINE_BYTES];
	FILE *file = path ? fopen(path, "re") : NULL;
	bool unknown = false;

	while (file && !unknown && next_line(file, line))
		unknown = is_name(line) && !is_one(line);
	if (file)
		fclose(file);
	return unknown ? line : NULL;
}
