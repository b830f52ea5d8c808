/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Options by table: what a row says is parsed, and printed as help. */
#include "rows.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

/* --- values -------------------------------------------------------------------------------------- */

/* The factor of a suffix, or 0. */
static uint64_t suffix_factor(const char *suffix)
{
	if (suffix[0] == '\0')
		return 1;
	if (suffix[1] != '\0')
		return 0;
	switch (toupper((unsigned char)suffix[0])) {
	case 'K':
		return KIB;
	case 'M':
		return MIB;
	case 'G':
		return GIB;
	case 'T':
		return KIB * GIB;
	default:
		return 0;
	}
}

static bool parse_number(const char *text, bool suffixes, uint64_t *value)
{
	unsigned long long number;
	uint64_t factor;
	char *end;

	if (!isdigit((unsigned char)text[0]))
		return false;
	errno = 0;
	number = strtoull(text, &end, 10);
	factor = suffixes ? suffix_factor(end) : *end == '\0';
	if (errno || factor == 0 || number > UINT64_MAX / factor)
		return false;
	*value = number * factor;
	return true;
}

bool rows_size(const char *text, uint64_t *bytes)
{
	return parse_number(text, true, bytes);
}

static int parse_limited(const struct option_row *row, const char *text, uint64_t *value,
			 struct why *why)
{
	if (!parse_number(text, row->kind == SIZE, value))
		return why_set(why, -EINVAL, "--%s %s: not a %s", row->name, text,
			       row->kind == SIZE ? "size like 65536, 64k or 1M" : "number");
	if (*value < row->least || *value > row->most)
		return why_set(why, -EINVAL, "--%s %s: must be from %llu to %llu", row->name, text,
			       (unsigned long long)row->least, (unsigned long long)row->most);
	if (row->multiple && *value % row->multiple != 0)
		return why_set(why, -EINVAL, "--%s %s: must be a multiple of %llu", row->name, text,
			       (unsigned long long)row->multiple);
	return 0;
}

/* The position of @text among the alternatives that stand between bars. */
static int parse_choice(const struct option_row *row, const char *text, unsigned *choice,
			struct why *why)
{
	const char *at = row->argument;

	for (*choice = 0;; ++*choice) {
		size_t len = strcspn(at, "|");

		if (strlen(text) == len && memcmp(text, at, len) == 0)
			return 0;
		if (at[len] == '\0')
			return why_set(why, -EINVAL, "--%s %s: must be one of %s", row->name, text,
				       row->argument);
		at += len + 1;
	}
}

static int parse_folder(const struct option_row *row, const char *text, struct allow_paths *folders,
			struct why *why)
{
	char resolved[PATH_MAX];

	if (folders->count == ALLOW_PATHS_MAX)
		return why_set(why, -EINVAL, "--%s: more than %d times", row->name,
			       ALLOW_PATHS_MAX);
	if (!realpath(text, resolved))
		return why_set(why, -errno, "--%s %s: %m", row->name, text);
	folders->path[folders->count++] = text;
	return 0;
}

static int parse_row(void *options, const struct option_row *row, const char *text, struct why *why)
{
	void *field = (char *)options + row->at;
	unsigned choice;

	switch (row->kind) {
	case FLAG:
	case FLAG_OF_LINE:
		*(bool *)field = true;
		return 0;
	case TEXT:
	case TEXT_OF_LINE:
		*(const char **)field = text;
		return 0;
	case NUMBER:
	case SIZE:
		return parse_limited(row, text, field, why);
	case CHOICE:
		return parse_choice(row, text, field, why);
	case WORD:
		*(const char **)field = text;
		return parse_choice(row, text, &choice, why);
	case FOLDERS:
		return parse_folder(row, text, field, why);
	}
	return 0;
}

static const struct option_row *find_row(const struct option_rows *rows, const char *name,
					 size_t len)
{
	for (size_t r = 0; r < rows->rows; r++)
		if (strlen(rows->row[r].name) == len && memcmp(rows->row[r].name, name, len) == 0)
			return &rows->row[r];
	return NULL;
}

int rows_parse(const struct option_rows *rows, void *options, char **argv, struct why *why)
{
	const char *name = argv[0] + 2, *equals = strchr(name, '=');
	size_t len = equals ? (size_t)(equals - name) : strlen(name);
	const struct option_row *row = find_row(rows, name, len);
	const char *value = equals ? equals + 1 : argv[1];
	int err;

	if (!row)
		return why_set(why, -EINVAL, "--%.*s: no such option", (int)len, name);
	if (!row->argument && equals)
		return why_set(why, -EINVAL, "--%s: takes no argument", row->name);
	if (row->argument && !value)
		return why_set(why, -EINVAL, "--%s: %s is missing", row->name, row->argument);
	err = parse_row(options, row, value, why);
	if (err)
		return err;
	return row->argument && !equals ? 2 : 1;
}

static int set_flag(bool *flag, const char *name, const char *value, struct why *why)
{
	*flag = strcmp(value, "yes") == 0;
	if (*flag || strcmp(value, "no") == 0)
		return 0;
	return why_set(why, -EINVAL, "%s = %s: must be yes or no", name, value);
}

int rows_set(const struct option_rows *rows, void *options, const char *name, const char *value,
	     struct why *why)
{
	const struct option_row *row = find_row(rows, name, strlen(name));

	if (!row)
		return why_set(why, -EINVAL, "%s: no such option", name);
	if (row->kind == FLAG_OF_LINE || row->kind == TEXT_OF_LINE)
		return why_set(why, -EINVAL, "%s: is for the command line only", name);
	if (row->kind == FLAG)
		return set_flag((bool *)((char *)options + row->at), name, value, why);
	return parse_row(options, row, value, why);
}

void rows_help(const struct option_rows *rows)
{
	for (size_t r = 0; r < rows->rows; r++) {
		const struct option_row *row = &rows->row[r];
		char left[64];

		snprintf(left, sizeof(left), "--%s%s%s", row->name, row->argument ? " " : "",
			 row->argument ? row->argument : "");
		if (strlen(left) > 22)
			printf("  %s\n%26s", left, "");
		else
			printf("  %-22s  ", left);
		for (const char *c = row->help; *c; c++) {
			putchar(*c);
			if (*c == '\n')
				printf("%26s", "");
		}
		putchar('\n');
	}
}
