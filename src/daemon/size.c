/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Numbers for people. */
#include "size.h"

#include <stdio.h>

char *size_text(char text[SIZE_TEXT], uint64_t bytes)
{
	static const char *const unit[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double value = (double)bytes;
	size_t i = 0;

	for (; value >= 999.5 && i + 1 < ARRAY_SIZE(unit); i++)
		value /= 1024;
	snprintf(text, SIZE_TEXT, "%.*f %s",
		 i == 0 || value >= 99.95 ? 0 :
		 value >= 9.995		  ? 1 :
					    2,
		 value, unit[i]);
	return text;
}

char *duration_text(char text[SIZE_TEXT], uint64_t seconds)
{
	unsigned long long s = seconds;

	if (s < 60)
		snprintf(text, SIZE_TEXT, "%llu s", s);
	else if (s < 3600)
		snprintf(text, SIZE_TEXT, "%llu min %llu s", s / 60, s % 60);
	else if (s < 86400)
		snprintf(text, SIZE_TEXT, "%llu h %llu min", s / 3600, s % 3600 / 60);
	else
		snprintf(text, SIZE_TEXT, "%llu d %llu h", s / 86400, s % 86400 / 3600);
	return text;
}
