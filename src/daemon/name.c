/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names of devices.  They become file names, names of links and words of commands. */
#include "name.h"

#include <ctype.h>
#include <stdio.h>

static bool allowed(char c, bool first)
{
	if (isalnum((unsigned char)c) || c == '_')
		return (unsigned char)c < 0x80;
	return !first && (c == '.' || c == '-');
}

bool name_valid(const char *name)
{
	size_t len = strlen(name);

	if (len == 0 || len > NAME_LENGTH)
		return false;
	for (size_t i = 0; i < len; i++)
		if (!allowed(name[i], i == 0))
			return false;
	return true;
}

/* Where the ending -partN begins, or 0. */
static size_t part_ending(const char *name)
{
	static const char part[] = "-part";
	size_t len = strlen(name), digits = 0, ending;

	while (digits < len && isdigit((unsigned char)name[len - 1 - digits]))
		digits++;
	ending = digits + strlen(part);
	if (!digits || len <= ending || strncmp(name + len - ending, part, strlen(part)) != 0)
		return 0;
	return len - ending;
}

bool name_is_partitions(const char *name)
{
	return part_ending(name) > 0;
}

static size_t without_ending(const char *file)
{
	static const char *const endings[] = { ".qcow2", ".img" };
	size_t len = strlen(file);

	for (size_t i = 0; i < ARRAY_SIZE(endings); i++) {
		size_t ending = strlen(endings[i]);

		if (len > ending && strcmp(file + len - ending, endings[i]) == 0)
			return len - ending;
	}
	return len;
}

void name_of_image(char name[NAME_LENGTH + 1], const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *file = slash ? slash + 1 : path;
	size_t len = (size_t)min_u64(without_ending(file), NAME_LENGTH);
	size_t ending;

	for (size_t i = 0; i < len; i++)
		name[i] = allowed(file[i], i == 0) ? file[i] : '_';
	name[len] = '\0';
	ending = part_ending(name);
	if (ending)
		name[ending] = '_';
	if (len == 0)
		snprintf(name, NAME_LENGTH + 1, "disk");
}

void name_alternative(char name[NAME_LENGTH + 1], const char *base, unsigned nth)
{
	char suffix[16];
	int len = snprintf(suffix, sizeof(suffix), "-%u", nth);

	snprintf(name, NAME_LENGTH + 1, "%.*s%s", NAME_LENGTH - len, base, suffix);
}
