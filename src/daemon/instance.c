/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Paths in the names of units: systemd.unit(5), string escaping for inclusion in unit names. */
#include "instance.h"

#include <ctype.h>
#include <stdlib.h>

/* The byte that stands at @at, *@len characters of it; 0 when it is none. */
static char take_byte(const char *at, size_t *len)
{
	char digits[3] = "";

	*len = 1;
	if (at[0] == '-')
		return '/';
	if (at[0] != '\\')
		return at[0];
	if (at[1] != 'x' || !isxdigit((unsigned char)at[2]) || !isxdigit((unsigned char)at[3]))
		return '\0';
	*len = 4;
	memcpy(digits, at + 2, 2);
	return (char)strtoul(digits, NULL, 16);
}

bool instance_path(char path[PATH_MAX], const char *instance)
{
	size_t used = 0, len;

	path[used++] = '/';
	for (; *instance; instance += len) {
		char byte = take_byte(instance, &len);

		if (byte == '\0' || used == PATH_MAX - 1)
			return false;
		path[used++] = byte;
	}
	path[used] = '\0';
	return used > 1;
}
