/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reports: what a daemon says about itself, as lines `key value`.
 *
 * A key is a path of words with dots between them, words of digits number the elements of a list.
 * A value is JSON on one line: a number, true, false, a string, or a list of these.  So a report
 * is a JSON document, taken apart, that needs no parser.  One thread at a time.
 */
#ifndef REPORT_H
#define REPORT_H

#include "base.h"

#include <stdio.h>

#define REPORT_LINES_MAX 65536u

/* --- writing ------------------------------------------------------------------------------------- */

void report_text(FILE *out, const char *key, const char *value);
void report_number(FILE *out, const char *key, uint64_t value);
void report_flag(FILE *out, const char *key, bool value);

/* --- reading ------------------------------------------------------------------------------------- */

struct report_line {
	const char *key;
	const char *value;
};

struct report {
	char *text; /* keys and values are pieces of it */
	struct report_line *line;
	size_t lines;
};

/*
 * Take a report apart; it owns @text, which comes from malloc(3), from now on, also after an
 * error.  -EPROTO for what is no report, -ENOMEM.
 */
int report_parse(struct report *report, char *text);
void report_free(struct report *report);

/* A value as it came, or NULL. */
const char *report_find(const struct report *report, const char *key);

/* A number; 0 when it is not there or something else. */
uint64_t report_get(const struct report *report, const char *key);

bool report_is(const struct report *report, const char *key);

/* A string without its quotes, cut to @size; "" when it is not there.  Returns @text. */
char *report_get_text(const struct report *report, const char *key, char *text, size_t size);

/* The report as one JSON object, indented by @indent steps from its second line on. */
void report_print_json(const struct report *report, FILE *out, unsigned indent);

#endif
